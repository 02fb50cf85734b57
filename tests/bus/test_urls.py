"""Addresses: how they are read and shown, and which are none."""

import pytest

from mycelium.bus.errors import UsageError
from mycelium.bus.urls import Address, default_url, parse_url


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("localhost:7777", Address("tcp", "localhost", 7777), "tcp://localhost:7777"),
        ("localhost", Address("tcp", "localhost", 7777), "tcp://localhost:7777"),
        ("tcp://127.0.0.1:0", Address("tcp", "127.0.0.1", 0), "tcp://127.0.0.1:0"),
        ("tcp://[::1]:9", Address("tcp", "::1", 9), "tcp://[::1]:9"),
        ("tcp://host/", Address("tcp", "host", 7777), "tcp://host:7777"),
        ("unix:///run/bus.sock", Address("unix", path="/run/bus.sock"), "unix:///run/bus.sock"),
    ],
)
def test_addresses_are_read_and_shown(url, address, shown):
    assert parse_url(url) == address
    assert str(address) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        ":7777",
        "tcp://",
        "tcp://host:99999",
        "tcp://host:port",
        "tcp://[::1",
        "tcp://user@host",
        "tcp://host/path",
        "tcp://host?x=1",
        "http://host",
        "tls://user:secret@host",
        "unix://relative",
        "unix://",
        "unix:///" + "x" * 107,
        "unix:///a\0b",
    ],
)
def test_other_addresses_are_refused_with_what_to_write(url):
    with pytest.raises(UsageError, match=r"write |use tcp|choose a shorter"):
        parse_url(url)


def test_the_default_url_is_the_environments(monkeypatch):
    monkeypatch.delenv("MYCELIUM_URL", raising=False)
    assert default_url() == "tcp://localhost:7777"
    monkeypatch.setenv("MYCELIUM_URL", "unix:///run/x.sock")
    assert default_url() == "unix:///run/x.sock"
