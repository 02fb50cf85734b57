"""A whole terminal for a live view: a screen of its own, keys as they are pressed, and in the end all is as before."""

import asyncio
import os
import signal
import sys
import termios
import tty
from types import TracebackType
from typing import Any, Final, Self, final

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

__all__ = ["Terminal"]

_QUIT: Final = frozenset(b"qQ")


@final
class Terminal:
    """A live view that fills the terminal inside the block; Ctrl-Z and `fg` work as everywhere.

    Attributes:
        quit: Set when q was pressed, or the process is to end.
    """

    def __init__(self) -> None:
        self.quit = asyncio.Event()
        self._live = Live(
            Text(),
            console=Console(highlight=False),
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._keyboard = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._modes: list[Any] = []

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._take()
        if self._keyboard is not None:
            loop.add_reader(self._keyboard, self._read_keys)
        loop.add_signal_handler(signal.SIGWINCH, self._live.refresh)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        loop.add_signal_handler(signal.SIGTERM, self.quit.set)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGWINCH, signal.SIGTSTP, signal.SIGTERM):
            loop.remove_signal_handler(number)
        if self._keyboard is not None:
            loop.remove_reader(self._keyboard)
        self._give_back()

    def show(self, view: RenderableType) -> None:
        """Fill the screen with something else."""
        self._live.update(view, refresh=True)

    def _take(self) -> None:
        if self._keyboard is not None:
            self._modes = termios.tcgetattr(self._keyboard)
            tty.setcbreak(self._keyboard)  # keys come as they are pressed, and are not shown
        self._live.start()

    def _give_back(self) -> None:
        self._live.stop()
        if self._keyboard is not None:
            termios.tcsetattr(self._keyboard, termios.TCSADRAIN, self._modes)

    def _suspend(self) -> None:
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)  # goes on here after `fg`
        self._take()
        self._live.refresh()

    def _read_keys(self) -> None:
        assert self._keyboard is not None  # noqa: S101  that is why this is called
        keys = os.read(self._keyboard, 64)
        if not keys or _QUIT & set(keys):  # nothing: the terminal is gone
            self.quit.set()
