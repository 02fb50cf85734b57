"""A log line as people read it in a terminal."""

import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Final, TypeAlias, final

from mycelium.logs.fields import OF_RECORDS
from mycelium.logs.jsonlines import level_name
from mycelium.schema.printable import printable

__all__ = ["ConsoleFormatter"]

_PLACE: Final = re.compile(r"%\((\w+)\)")
_HIDDEN: Final = frozenset(
    (
        *("client_name", "error_type", "issues", "span_id", "stacktrace", "suppressed", "trace_flags"),
        *("schema_digest", "old_digest", "new_digest"),
    )
)
"""Fields that only machines get: the text says it too, or nobody reads it here."""
_STYLES: Final = {"debug": "dim", "info": "green", "warning": "yellow", "error": "red", "critical": "bold red"}
_LEVEL_WIDTH: Final = 7
Paint: TypeAlias = Callable[[str, str], str]
"""Of a text and a style."""


@final
class ConsoleFormatter(logging.Formatter):
    """Makes records `HH:MM:SS.mmm  level  event  text  key=value`, with fields that the text does not say.

    A record that is none of Mycelium's has the name of its logger in place of an event. Coloured where a terminal reads
    it, unless $NO_COLOR is set.

    Args:
        stream: Where the lines go.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        super().__init__()
        self._paint = _painter(stream or sys.stderr)

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end; an exception's stack follows it."""
        moment = f"{time.strftime('%H:%M:%S', time.localtime(record.created))}.{int(record.msecs):03d}"
        level, event = level_name(record.levelno), getattr(record, "event", record.name)
        words = [printable(record.getMessage()), *_pairs(record)]
        line = f"{self._paint(moment, 'dim')}  {self._paint(level.ljust(_LEVEL_WIDTH), _STYLES[level])}"
        line = f"{line}  {self._paint(event, 'bold')}  {'  '.join(words)}"
        if record.exc_info and record.exc_info[1] is not None:
            stack = self.formatException(record.exc_info)
            line = "\n".join([line, *map(printable, stack.split("\n"))])
        return line


def _pairs(record: logging.LogRecord) -> Iterator[str]:
    """The fields that the text does not say."""
    said = set(_PLACE.findall(str(record.msg))) if isinstance(record.args, Mapping) else set()
    for name in OF_RECORDS:
        value = getattr(record, name, None)
        if value not in (None, "", [], ()) and name not in said and name not in _HIDDEN:
            yield f"{name}={printable(str(value))}"


def _painter(stream: IO[str]) -> Paint:
    """What colours a text, if the terminal behind a stream shows colours."""
    if not stream.isatty():
        return _plain
    try:
        from rich.console import Console
        from rich.style import Style
    except ImportError:  # a line without colours says the same
        return _plain
    console = Console(file=stream)
    if console.no_color or console.color_system is None:
        return _plain
    return lambda text, style: Style.parse(style).render(text)


def _plain(text: str, _: str) -> str:
    return text
