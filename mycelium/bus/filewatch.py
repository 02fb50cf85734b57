"""Files that are followed through every way in which editors, git and Kubernetes replace one."""

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Final

from mycelium.bus.aside import aside
from mycelium.errors import MyceliumError
from mycelium.logs.lines import Line
from mycelium.logs.log import Log

__all__ = ["hints", "settled"]

_log = Log("mycelium.reload")
_POLL_SECONDS: Final = 2.0
"""Contents are compared that often, whatever the file system says."""
_SETTLE_SECONDS: Final = 0.2
"""A file that is still changing is not read: two looks that far apart must agree."""
_DEBOUNCE_MS: Final = 200
_MOST_LINKS: Final = 40
"""As many links as the kernel follows."""
_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE)
_Look = tuple[tuple[int, int, int], bytes] | None


async def settled(paths: Sequence[Path], read: Callable[[Path], bytes]) -> list[bytes | None]:
    """What files hold once all of them have stopped changing; None for those that are gone, or that `read` refuses.

    Where no more files can be opened nobody knows, and it is looked again until some can.
    """
    before = await _seen(paths, read)
    while any(before):
        await asyncio.sleep(_SETTLE_SECONDS)
        now = await _seen(paths, read)
        if now == before:
            break
        before = now
    return [None if look is None else look[1] for look in before]


async def hints(paths: Sequence[Path]) -> AsyncGenerator[None, None]:
    """One of the files may have changed: the file system says so, or it is time to look anyway."""
    while True:
        folders = await aside(_folders_of_all, paths)
        yield  # for what happened while nobody watched
        try:
            async with contextlib.aclosing(_watch(folders)) as changes:
                async for _ in changes:
                    yield
                    if await aside(_folders_of_all, paths) != folders:
                        break  # a link on the way points elsewhere now
        except (OSError, RuntimeError) as error:
            _tell_unwatched(paths, error)
            await asyncio.sleep(_POLL_SECONDS)


def _watch(folders: Sequence[Path]) -> AsyncGenerator[object, None]:
    from watchfiles import awatch

    return awatch(
        *folders,
        watch_filter=None,
        debounce=_DEBOUNCE_MS,
        rust_timeout=int(_POLL_SECONDS * 1000),
        yield_on_timeout=True,
        recursive=False,
    )


async def _seen(paths: Sequence[Path], read: Callable[[Path], bytes]) -> list[_Look]:
    is_told = False
    while True:
        try:
            return await aside(_look_at_all, paths, read)
        except OSError as error:
            if not is_told:
                _tell_unwatched(paths, error)
                is_told = True
        await asyncio.sleep(_POLL_SECONDS)


def _tell_unwatched(paths: Sequence[Path], error: Exception) -> None:
    named = ", ".join(map(str, paths))
    _log(Line.SCHEMA_UNWATCHED, source=named, backoff_s=_POLL_SECONDS, error=str(error))


def _look_at_all(paths: Sequence[Path], read: Callable[[Path], bytes]) -> list[_Look]:
    return [_look(path, read) for path in paths]


def _look(path: Path, read: Callable[[Path], bytes]) -> _Look:
    """Size, mtime and inode of a file, and what it holds; None where it is not there.

    Raises:
        OSError: No more files can be opened, so nobody knows.
    """
    try:
        state = path.stat()
        return (state.st_size, state.st_mtime_ns, state.st_ino), read(path)
    except (OSError, MyceliumError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
            raise cause from None
        return None


def _folders_of_all(paths: Sequence[Path]) -> list[Path]:
    return list(dict.fromkeys(folder for path in paths for folder in _folders(path)))


def _folders(path: Path) -> list[Path]:
    """The folders in which the file, or a link on the way to it, may be replaced."""
    folders: dict[Path, None] = {}
    step = Path(os.path.abspath(path))  # noqa: PTH100  resolve() would follow the links that are looked for
    for _ in range(_MOST_LINKS):
        folders.update(dict.fromkeys(folder for folder in _links_and_parent(step) if folder.is_dir()))
        if not step.is_symlink():
            break
        step = step.parent / step.readlink()
    return list(folders)


def _links_and_parent(path: Path) -> list[Path]:
    """The parent of a path, and of every link among the folders above it."""
    return [path.parent, *(folder.parent for folder in path.parents if folder.is_symlink())]
