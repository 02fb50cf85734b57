"""`mycelium serve` as a service of systemd, whose part a datagram socket plays."""

import contextlib
import os
import signal
import socket
import subprocess

import pytest
from processes import ROOT, SECONDS, environment, line_with, mycelium

from mycelium.cli.servicemanager import ServiceManager

CONTRACTS = (ROOT / "contracts.yaml").read_text()


class Manager:
    """What systemd has: a datagram socket, and what came in it."""

    def __init__(self, address):
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(address))
        self.socket.settimeout(SECONDS)

    def next(self):
        """The lines of the next datagram that is no keep-alive, as a dict."""
        while (text := self.socket.recv(4096).decode()) == "WATCHDOG=1":
            pass
        return dict(line.split("=", 1) for line in text.splitlines())

    def until(self, **wanted):
        """Datagrams up to the one that has these lines; that one."""
        while not (state := self.next()).items() >= wanted.items():
            pass
        return state


@pytest.fixture
def manager(tmp_path):
    made = Manager(tmp_path / "notify")
    with contextlib.closing(made.socket):
        yield made


@contextlib.contextmanager
def service(manager, folder, **variables):
    """A bridge as systemd starts one."""
    command = mycelium("serve", folder / "contracts.yaml", "--listen", "tcp://127.0.0.1:0", "--no-reload")
    told = environment(NOTIFY_SOCKET=str(manager.address), **variables)
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=told, cwd=folder, text=True, **quiet) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_service_says_when_it_is_ready_reloading_and_stopping(manager, tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text(CONTRACTS)
    with service(manager, tmp_path, WATCHDOG_USEC="200000") as bridge:
        ready = manager.next()
        assert ready["READY"] == "1"
        assert ready["STATUS"].startswith("tcp://127.0.0.1:")
        assert ready["STATUS"].endswith(", schema version 1")
        assert manager.socket.recv(4096) == b"WATCHDOG=1"
        file.write_text(CONTRACTS.replace("version: 1", "version: 2"))
        bridge.send_signal(signal.SIGHUP)
        reloading = manager.next()
        assert reloading["RELOADING"] == "1"
        assert int(reloading["MONOTONIC_USEC"]) > 0
        assert manager.until(READY="1")["STATUS"] == f"{file}: version 2 is in force"
        file.write_text("messages: [")
        bridge.send_signal(signal.SIGHUP)
        assert "is not applied (invalid); version 2 goes on" in manager.until(READY="1")["STATUS"]
        bridge.terminate()
        assert manager.until(STOPPING="1")["STATUS"].startswith("stopping: 0 connections")
        assert bridge.wait(SECONDS) == 0


def test_a_service_manager_that_is_gone_stops_no_bridge(manager, tmp_path):
    (tmp_path / "contracts.yaml").write_text(CONTRACTS)
    with service(manager, tmp_path) as bridge:
        assert manager.next()["READY"] == "1"
        manager.socket.close()
        manager.address.unlink()
        bridge.terminate()
        line_with(bridge, f"the service manager at {manager.address} is not told any more")
        assert bridge.wait(SECONDS) == 0


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_watchdog_is_answered_by_whom_it_asks(variables, seconds):
    shown = repr(ServiceManager(print, {"NOTIFY_SOCKET": "@nobody", **variables}))
    assert shown == f"<ServiceManager at @nobody, watchdog {seconds}>"


def test_a_name_with_an_at_sign_is_an_abstract_socket():
    name = f"mycelium-test-{os.getpid()}"
    manager = Manager(f"\0{name}")
    with contextlib.closing(manager.socket):
        ServiceManager(print, {"NOTIFY_SOCKET": f"@{name}"}).ready("here\nREADY=0")
        assert manager.next() == {"READY": "1", "STATUS": r"here\nREADY=0"}


def test_without_a_service_manager_nothing_is_sent_and_nothing_said(capsys):
    ServiceManager(print, {"WATCHDOG_USEC": "1"}).ready("here")
    assert capsys.readouterr() == ("", "")
