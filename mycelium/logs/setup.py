"""Logging for programs that want Mycelium's own form of it."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Final, Literal

from mycelium.logs.writer import Writer

__all__ = ["FORMATS", "LEVELS", "configure", "configured"]

FORMATS: Final = ("console", "json")
LEVELS: Final = ("debug", "info", "warning", "error", "critical")


def configure(
    format: Literal["console", "json"] | None = None,  # noqa: A002  it is what such options are called
    level: str = "info",
    *,
    stream: IO[str] | None = None,
    service: str | None = None,
    logger: str | None = None,
) -> Writer:
    """Have what is logged written, by a thread of its own, so that nobody who logs waits for who reads.

    To be called by a program once, at its start; no library should. What was configured before stays.

    Args:
        format: `json`: one object a line, with the fields of `FIELDS`; `console`: for people. None for `console` at a
            terminal, else `json`.
        level: The least that is written: `debug`, `info`, `warning`, `error` or `critical`.
        stream: Where to; None for standard error.
        service: What the process is called, unless $OTEL_SERVICE_NAME says it.
        logger: Whose records; None for the root logger, which gets those of everybody.

    Returns:
        The handler; it counts lines that nobody read.

    Raises:
        ValueError: There is no such format or level.
    """
    return _install(format, level, stream, service, logger)[0]


@contextmanager
def configured(
    format: Literal["console", "json"] | None = None,  # noqa: A002
    level: str = "info",
    *,
    stream: IO[str] | None = None,
    service: str | None = None,
    logger: str | None = None,
) -> Iterator[Writer]:
    """What `configure` does, for the time of a block; see there for arguments and errors."""
    writer, undo = _install(format, level, stream, service, logger)
    try:
        yield writer
    finally:
        undo()


def _install(
    form: str | None, level: str, stream: IO[str] | None, service: str | None, logger: str | None, /
) -> tuple[Writer, Callable[[], None]]:
    """Do it; and what takes it back."""
    stream = stream or sys.stderr
    form = form or ("console" if stream.isatty() else "json")
    if form not in FORMATS:
        raise ValueError(f"no log format {form!r}; there are {', '.join(FORMATS)}")
    if level not in LEVELS:
        raise ValueError(f"no log level {level!r}; there are {', '.join(LEVELS)}")
    writer = Writer(stream)
    writer.setFormatter(_formatter(form, stream, service))
    chosen, hook = logging.getLogger(logger), sys.excepthook
    before = chosen.level
    chosen.addHandler(writer)
    chosen.setLevel(level.upper())
    _flush_before_tracebacks(writer)

    def undo() -> None:
        chosen.removeHandler(writer)
        chosen.setLevel(before)
        sys.excepthook = hook
        writer.close()

    return writer, undo


def _flush_before_tracebacks(writer: Writer) -> None:
    """What was logged before a crash is written before Python tells of it, not somewhere inside."""
    usual = sys.excepthook

    def flush_and_tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        writer.flush()
        usual(kind, error, trace)

    sys.excepthook = flush_and_tell


def _formatter(chosen: str, stream: IO[str], service: str | None) -> logging.Formatter:
    if chosen == "json":
        from mycelium.logs.jsonlines import JsonFormatter

        return JsonFormatter(service=service)
    from mycelium.logs.console import ConsoleFormatter

    return ConsoleFormatter(stream)
