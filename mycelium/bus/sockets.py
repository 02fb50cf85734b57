"""Listening sockets, opened so that nobody else's is harmed.

A Unix socket is bound under umask 0177, opened to more only if that is asked for, and guarded by a lock file beside it:
an existing socket is removed only if the lock is ours and nobody answers there; other kinds of file are never removed
(reliability: "Unix").
"""

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, final

from mycelium.bus.errors import BindError
from mycelium.bus.security.settings import SOCKET_MODE
from mycelium.bus.urls import Address

__all__ = ["UnixListener", "open_tcp"]

_BACKLOG: Final = 1024
_PROBE_SECONDS: Final = 1.0


def open_tcp(address: Address, backlog: int = _BACKLOG) -> list[socket.socket]:
    """Bound sockets for every address that the host stands for; for port 0 one socket, so that there is one port.

    Args:
        address: Host and port.
        backlog: Connections that may wait in the kernel.

    Raises:
        BindError: The host is unknown, or the port is taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise BindError(str(address), reason, "give a host of this machine") from error
    unique = list(dict.fromkeys((family, place) for family, _, _, _, place in found))
    opened: list[socket.socket] = []
    failed: OSError | None = None
    for family, place in unique[:1] if address.port == 0 else unique:
        try:
            opened.append(_bind_tcp(family, place, backlog))
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                _close(opened)
                raise BindError(
                    str(address), _reason(error), _REMEDIES.get(error.errno or 0, "choose another")
                ) from error
            failed = error  # localhost may stand for ::1 on a machine without IPv6
    if not opened:
        raise BindError(str(address), _reason(failed), "give an address of this machine") from failed
    return opened


_REMEDIES: Final = {
    errno.EADDRINUSE: "stop what listens there, or listen on another port (0: any that is free)",
    errno.EACCES: "choose a port from 1024 on",
}


def _bind_tcp(family: int, place: tuple[object, ...], backlog: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.settimeout(0)
        made.bind(place)
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return made


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()


def _reason(error: OSError | None) -> str:
    return "no address" if error is None else (os.strerror(error.errno) if error.errno else str(error)).lower()


@final
class UnixListener:
    """A Unix socket that listens, and the lock that says whose it is.

    Args:
        address: Its path.
        backlog: Connections that may wait in the kernel.
        mode: Permissions of its file; it is never open to more than them, not even for a moment.
        group: Id of the group that the file belongs to; None for the one that it gets.

    Raises:
        BindError: Another process serves there, or something that is no socket has that name.
    """

    def __init__(
        self, address: Address, backlog: int = _BACKLOG, mode: int = SOCKET_MODE, group: int | None = None
    ) -> None:
        self.address = address
        self._backlog = backlog
        self._mode = mode
        self._group = group
        self._path = Path(address.path)
        self._lock = self._take_lock()
        try:
            self._remove_stale()
            self.socket = self._bind()
        except BaseException:
            self._release()
            raise

    def close(self) -> None:
        """Remove the socket file, if it is still this one, and give the lock back.

        To be called while the socket is open, which keeps its inode's number from being given to another file; the
        socket itself is its server's to close.
        """
        with contextlib.suppress(FileNotFoundError):
            there = self._path.lstat()
            if stat.S_ISSOCK(there.st_mode) and os.path.samestat(there, self._file):
                self._path.unlink()
        self._release()

    @property
    def _lock_path(self) -> Path:
        return self._path.with_name(self._path.name + ".lock")

    def _take_lock(self) -> int:
        try:
            self._make_folders()
            self._check_folder()
            lock = os.open(self._lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise BindError(str(self.address), _reason(error), "choose a path that can be written") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise BindError(
                str(self.address), "another bridge serves there", "stop it, or choose another path"
            ) from error
        return lock

    def _make_folders(self) -> None:
        """Make what is missing of the path, each folder for this user alone, whatever the umask is."""
        missing = [each for each in self._path.parents if not each.exists()]
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)

    def _check_folder(self) -> None:
        """See that nobody else can put a socket of his own in the place of this one."""
        folder = self._path.parent
        state = folder.stat()
        if state.st_uid not in (0, os.geteuid()):
            reason = f"user id {state.st_uid}, whom {folder} belongs to, may replace files in it"
            raise BindError(str(self.address), reason, "choose a folder of your own")
        if state.st_mode & stat.S_ISVTX:
            return
        may_group = state.st_mode & stat.S_IWGRP and state.st_gid != self._group and not _is_private(state.st_gid)
        if may_group or state.st_mode & stat.S_IWOTH:
            who = "anybody" if state.st_mode & stat.S_IWOTH else f"group id {state.st_gid}"
            reason = f"{who} may replace files in {folder}"
            raise BindError(str(self.address), reason, "set the folder's sticky bit, or choose one of your own")

    def _remove_stale(self) -> None:
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise BindError(str(self.address), "there is a file of that name that is no socket", "choose another path")
        if self._answers():
            raise BindError(str(self.address), "another process serves there", "stop it, or choose another path")
        self._path.unlink()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PROBE_SECONDS)
            try:
                probe.connect(str(self._path))
            except (ConnectionRefusedError, FileNotFoundError):
                return False
            except OSError:
                return True  # full, or not ours to ask: not known to be dead, so not ours to remove
            return True

    def _bind(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(0)
            with _umask(0o177):
                made.bind(str(self._path))
            self._file = self._path.lstat()
            self._open_to_group()
            made.listen(self._backlog)
        except OSError as error:
            made.close()
            raise BindError(str(self.address), _reason(error), "choose another path") from error
        return made

    def _open_to_group(self) -> None:
        """Give the file its group before anybody of it may use the file."""
        if self._group is not None:
            try:
                os.chown(self._path, -1, self._group)
            except PermissionError as error:
                self._path.unlink()
                remedy = "run the bridge as a member of it"
                raise BindError(
                    str(self.address), f"the file cannot be given to group {self._group}", remedy
                ) from error
        if self._mode != SOCKET_MODE:
            self._path.chmod(self._mode)

    def _release(self) -> None:
        # The file stays: to remove it would let two processes lock two files of one name.
        os.close(self._lock)


def _is_private(group: int) -> bool:
    """Whether a group is root's, or the one of this user alone that many systems give each user, named like him."""
    try:
        return group == 0 or grp.getgrgid(group).gr_name == pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
