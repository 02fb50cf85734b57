"""Writes log lines in a thread of its own, so that whoever logs never waits for whoever reads."""

import contextlib
import logging
import os
import select
import threading
from queue import SimpleQueue
from typing import IO, Final, final

from mycelium.logs.lines import Line

__all__ = ["Writer"]

_MOST: Final = 10_000
_FLUSH_SECONDS: Final = 1.0
"""How long the end of a program waits for somebody to read its last lines."""


@final
class Writer(logging.Handler):
    """A handler for a stream whose reader may be slow, or stuck.

    A line is made where it is logged, which is where its trace is known, and waits for the thread. When too many wait
    the new ones are counted, and the next line that there is room for says how many. Whatever waits is written when the
    program ends, if somebody reads it within a second.

    Args:
        stream: Where the lines go.
        most: Lines that may wait.

    Attributes:
        dropped: Lines that nobody will ever read.
    """

    def __init__(self, stream: IO[str], most: int = _MOST) -> None:
        super().__init__()
        self.dropped = 0
        self._untold = 0
        self._stream = stream
        self._most = most
        self._file = _descriptor(stream)
        self._lines: SimpleQueue[str | threading.Event | None] = SimpleQueue()
        self._written = 0
        self._stuck_at: int | None = None
        """How many lines were written when somebody waited in vain for more."""
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        """Whose thread it is."""

    def __repr__(self) -> str:
        return f"<Writer, {self._lines.qsize()} lines waiting, {self.dropped} dropped>"

    def emit(self, record: logging.LogRecord) -> None:
        """Have a record written."""
        try:
            self.put(self.format(record))
        except Exception:  # noqa: BLE001  a line that cannot be made must not end who logs it
            self.handleError(record)

    def put(self, line: str) -> None:
        """Have a line, or several, written as they are."""
        with self.lock or contextlib.nullcontext():
            if self._process != os.getpid():  # what waited then is the parent's to write, and so was the thread
                self._process, self._thread, self._lines = os.getpid(), None, SimpleQueue()
            if self._lines.qsize() >= self._most:
                self.dropped += 1
                self._untold += 1
                return
            if self._untold:
                untold, self._untold = self._untold, 0
                self._put(self.format(_lost(untold)))
            self._put(line)

    def flush(self) -> None:
        """Wait until everything is written, but not for long, and not again for a reader that is stuck."""
        if self._thread is not None and self._process == os.getpid() and self._stuck_at != self._written:
            reached = threading.Event()
            self._lines.put(reached)
            self._stuck_at = None if reached.wait(_FLUSH_SECONDS) else self._written

    def close(self) -> None:
        """Write what there is, if somebody reads it, and let the thread end. May be called twice."""
        self.flush()
        thread, self._thread = self._thread, None
        if thread is not None and self._process == os.getpid():
            self._lines.put(None)
            if self._stuck_at is None:
                thread.join(_FLUSH_SECONDS)
        super().close()

    def _put(self, line: str) -> None:
        self._lines.put(line)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="mycelium log", daemon=True)
            with contextlib.suppress(RuntimeError):  # the interpreter ends, and starts nothing any more
                self._thread.start()

    # --- in the thread ---

    def _work(self) -> None:
        while (line := self._lines.get()) is not None:
            if isinstance(line, threading.Event):
                line.set()
                continue
            try:
                self._write(f"{line}\n")
                self._written += 1
            except (OSError, ValueError):  # nobody reads it any more, or the stream was closed
                self.dropped += 1

    def _write(self, text: str) -> None:
        if self._file is None:
            self._stream.write(text)
            self._stream.flush()
            return
        # Past the stream's own lock, which a thread that is stuck would hold when the interpreter ends.
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            try:
                data = data[os.write(self._file, data) :]
            except BlockingIOError:  # whoever made the pipe wants it so
                select.select([], [self._file], [])


def _descriptor(stream: IO[str]) -> int | None:
    """The file behind a stream; None for one that is in memory."""
    try:
        return stream.fileno()
    except (OSError, AttributeError):
        return None


def _lost(count: int) -> logging.LogRecord:
    """A record that says how many lines were lost."""
    line, fields = Line.LINES_LOST, {"suppressed": count}
    facts = {"name": "mycelium.logs", "levelno": line.level, "msg": line.text, "args": fields, "event": line.event}
    return logging.makeLogRecord(facts | fields)
