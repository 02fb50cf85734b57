"""TLS as a machine, without sockets: however its bytes are cut, and what is none."""

import itertools
import os
import ssl

import pytest
from certificates import Authority

from mycelium.bus.security.channel import Channel
from mycelium.bus.security.contexts import bridge_context, client_context
from mycelium.bus.security.settings import Security
from mycelium.bus.security.wording import stranger


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    ours = Authority(folder)
    files, card = ours.issue("localhost"), ours.issue("ann.example", file="ann")
    return (
        bridge_context(Security(tls_cert=files.cert, tls_key=files.key, tls_ca=ours.ca)),
        client_context(ours.ca, card.cert, card.key),
    )


def talk(near, far, data):
    """Hand bytes from one end to the other in pieces, until nobody has anything to say; what came through."""
    plain = b""
    for size in itertools.cycle((1, 5, 16, 1000, 70_000)):
        if not data:
            return plain
        piece, data = data[:size], data[size:]
        plain += far.receive_data(piece)
        if answer := far.take_output():
            assert talk(far, near, answer) == b""
            data += near.take_output()
    return plain


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_channel_carries_what_is_said_however_it_is_cut(pair, version):
    bridge, client = Channel(pair[0]), Channel(pair[1], "localhost")
    pair[1].maximum_version = version
    client.start()
    talk(client, bridge, client.take_output())
    assert client.is_secure
    assert bridge.is_secure
    assert bridge.certificate.name == "ann.example"
    for size in (1, 16_384, 16_385, 300_000):
        said = os.urandom(size)
        assert talk(client, bridge, client.send(said)) == said
        assert talk(bridge, client, bridge.send(said)) == said
    assert talk(client, bridge, client.close()) == b""
    assert bridge.has_ended


@pytest.mark.parametrize(
    ("first", "secure", "said"),
    [
        (b"\x16\x03\x01\x02\x00", False, "what came is TLS; connect by tcp://"),
        (b"\x16\x03\x01\x02\x00", True, None),
        (b"GET / HTTP/1.1\r\n", False, "what came is HTTP"),
        (b"GET / HTTP/1.1\r\n", True, "this port speaks TLS, and what came is HTTP; connect by tls://"),
        (b"SSH-2.0-x", False, "what came is SSH"),
        (b"\x20\x00\x00\x00\x01\x00", False, None),
        (b"\x20\x00\x00\x00\x01\x00", True, "what came is plain; connect by tls://"),
        (b"\x16\x03\x04\x02\x00", False, "what came is TLS; connect by tcp://"),
        (b"\x16\x03\x00\x00\x01\x00", False, None),
    ],
)
def test_p23_what_else_is_spoken_is_known_by_its_first_bytes(first, secure, said):
    found = stranger(first, secure=secure)
    assert found is None if said is None else said in found
