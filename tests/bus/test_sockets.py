"""Listening: stale sockets are replaced and live ones never, odd paths, ports in use, and file modes."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

import mycelium
from mycelium import BindError, UsageError
from mycelium.bus.sockets import UnixListener, open_tcp
from mycelium.bus.urls import Address
from peers import peer_at, serving


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bus.sock"


def mode_of(path):
    return stat.S_IMODE(path.lstat().st_mode)


def listening(path):
    """A listener; its socket is closed as its server would."""
    listener = UnixListener(Address("unix", path=str(path)))
    listener.socket.close()
    return listener


async def refused(contracts, url):
    """Why a bridge does not start there."""
    bridge = mycelium.MessageBus(contracts).serve(url)
    with pytest.raises(BindError) as caught:
        await bridge.start()
    assert bridge.urls == []
    return str(caught.value)


# --- ports ---


async def test_a_port_in_use_is_one_clear_line(contracts):
    async with serving(contracts) as (_, bridge), peer_at(bridge.urls[0]) as peer:
        url = bridge.urls[0]
        assert await refused(contracts, url) == (
            f"cannot listen on {url}: address already in use; "
            "stop what listens there, or listen on another port (0: any that is free)"
        )
        await peer.barrier()


async def test_port_0_is_any_free_port_and_localhost_works(contracts):
    async with serving(contracts, "tcp://localhost:0") as (_, bridge):
        assert not bridge.urls[0].endswith(":0")
        async with peer_at(bridge.urls[0]) as peer:
            await peer.barrier()


def test_a_host_with_several_addresses_is_listened_on_at_each_of_them():
    (probe,) = open_tcp(Address("tcp", "127.0.0.1", 0))
    port = probe.getsockname()[1]
    probe.close()
    opened = open_tcp(Address("tcp", "localhost", port))
    assert {each.getsockname()[1] for each in opened} == {port}
    for each in opened:
        each.close()


@pytest.mark.parametrize("host", ["203.0.113.1", "no.such.host.invalid", "a" * 70])
async def test_an_address_that_is_not_this_machines_is_refused(contracts, host):
    assert (await refused(contracts, f"tcp://{host}:7777")).startswith(f"cannot listen on tcp://{host}:7777: ")


async def test_of_several_listeners_all_are_opened_or_none(contracts, path):
    async with serving(contracts) as (_, bridge):
        both = mycelium.MessageBus(contracts).serve(f"unix://{path}", bridge.urls[0])
        with pytest.raises(BindError):
            await both.start()
        assert not path.exists()
        async with serving(contracts, f"unix://{path}"):
            pass


async def test_a_bridge_serves_once_at_a_time_and_again_after_it_was_closed(contracts, path):
    bus = mycelium.MessageBus(contracts)
    with pytest.raises(UsageError, match="needs an address"):
        bus.serve()
    bridge = bus.serve(f"unix://{path}", "tcp://127.0.0.1:0")
    for _ in range(2):
        async with bridge:
            assert len(bridge.urls) == 2
            for url in bridge.urls:
                async with peer_at(url) as peer:
                    await peer.barrier()
            with pytest.raises(UsageError, match="serving already"):
                await bridge.start()
    assert not path.exists()


# --- Unix sockets ---


def test_p26_the_socket_is_for_its_owner_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        listener = listening(tmp_path / "made" / "deeper" / "bus.sock")
        path = tmp_path / "made" / "deeper" / "bus.sock"
        assert mode_of(path) == 0o600
        assert [mode_of(folder) for folder in (path.parent, path.parent.parent)] == [0o700, 0o700]
        assert mode_of(path.with_name("bus.sock.lock")) == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    listener.close()
    assert not path.exists()


def test_a_folder_that_exists_is_left_alone_and_a_world_writable_one_refused(tmp_path):
    tmp_path.chmod(0o755)
    listening(tmp_path / "bus.sock").close()
    assert mode_of(tmp_path) == 0o755
    tmp_path.chmod(0o777)
    with pytest.raises(BindError, match="anybody may replace files in .*; set the folder's sticky bit"):
        listening(tmp_path / "bus.sock")
    tmp_path.chmod(0o1777)
    listening(tmp_path / "bus.sock").close()


@pytest.mark.skipif(os.getuid() != 0, reason="gives a folder to others")
def test_a_folder_where_another_user_or_group_may_replace_the_socket_is_refused(tmp_path):
    url = Address("unix", path=str(tmp_path / "bus.sock"))
    os.chown(tmp_path, 65534, -1)
    with pytest.raises(BindError, match="user id 65534, whom .* belongs to, may replace files"):
        UnixListener(url)
    os.chown(tmp_path, 0, 65533)
    tmp_path.chmod(0o770)
    with pytest.raises(BindError, match="group id 65533 may replace files"):
        UnixListener(url)
    for group, mode in ((65533, 0o770), (None, 0o1770), (None, 0o750)):
        tmp_path.chmod(mode)
        listener = UnixListener(url, group=group)
        listener.close()
        listener.socket.close()
    os.chown(tmp_path, 0, 0)
    tmp_path.chmod(0o770)
    listening(tmp_path / "bus.sock").close()


def test_p39_a_socket_that_a_killed_process_left_is_replaced(path):
    code = (
        "import sys, time; from mycelium.bus.sockets import UnixListener; from mycelium.bus.urls import Address; "
        "listener = UnixListener(Address('unix', path=sys.argv[1])); print('there', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "there\n"
        with pytest.raises(BindError, match="another bridge serves there"):
            listening(path)
        process.send_signal(signal.SIGKILL)
    stale = path.lstat().st_ino
    listener = listening(path)
    assert path.lstat().st_ino != stale or time.time() - path.lstat().st_ctime < 5
    listener.close()
    assert not path.exists()


async def test_p40_a_second_bridge_on_the_same_path_refuses_and_the_first_is_untouched(contracts, path):
    async with serving(contracts, f"unix://{path}") as (_, bridge), peer_at(bridge.urls[0]) as peer:
        inode = path.lstat().st_ino
        assert await refused(contracts, f"unix://{path}") == (
            f"cannot listen on unix://{path}: another bridge serves there; stop it, or choose another path"
        )
        assert path.lstat().st_ino == inode
        await peer.barrier()


async def test_p40_a_live_socket_of_something_else_is_never_removed(contracts, path):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert "another process serves there" in await refused(contracts, f"unix://{path}")
        assert stat.S_ISSOCK(path.lstat().st_mode)


@pytest.mark.parametrize("kind", ["regular file", "directory", "dangling link", "link to a socket", "fifo"])
async def test_p41_what_is_no_socket_is_never_removed(contracts, path, kind):
    match kind:
        case "regular file":
            path.write_text("precious")
        case "directory":
            path.mkdir()
        case "dangling link":
            path.symlink_to(path.with_name("nowhere"))
        case "link to a socket":
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(str(path.with_name("other.sock")))
            path.symlink_to(path.with_name("other.sock"))
        case "fifo":
            os.mkfifo(path)
    before = path.lstat()
    assert "there is a file of that name that is no socket; choose another path" in await refused(
        contracts, f"unix://{path}"
    )
    assert path.lstat() == before


def test_p41_a_path_of_two_hundred_characters_is_refused_before_anything_is_made(contracts, tmp_path):
    with pytest.raises(UsageError, match="at most 107 bytes and no NUL; choose a shorter one"):
        mycelium.MessageBus(contracts).serve(f"unix://{tmp_path}/{'x' * 200}")


async def test_p41_a_path_that_cannot_be_written_is_refused(contracts, tmp_path):
    (tmp_path / "file").write_text("")
    reason = await refused(contracts, f"unix://{tmp_path}/file/bus.sock")
    assert "not a directory; choose a path that can be written" in reason


def test_a_lock_file_that_is_a_link_is_not_followed(path):
    path.with_name("bus.sock.lock").symlink_to(path.with_name("elsewhere"))
    with pytest.raises(BindError, match="choose a path that can be written"):
        listening(path)
    assert not path.with_name("elsewhere").exists()


def test_closing_removes_only_its_own_socket(path):
    listener = listening(path)
    path.unlink()
    path.write_text("somebody else's")
    listener.close()
    assert path.read_text() == "somebody else's"


def test_a_refused_listener_leaves_no_lock_behind(path):
    path.write_text("")
    with pytest.raises(BindError):
        listening(path)
    path.unlink()
    listening(path).close()
