"""How Mycelium says something: a line of the table, with its fields, to a logger of the standard library."""

import logging
from typing import Any, Final, final

from mycelium.logs.fields import OF_RECORDS
from mycelium.logs.lines import Line
from mycelium.wire.tracecontext import TraceContext

__all__ = ["Log"]

_KNOWN: Final = frozenset(OF_RECORDS)
_SUPPRESSED: Final = " (and %(suppressed)d more before)"


@final
class Log:
    """A logger of the standard library, for lines of the table.

    A record's message is the words of its line; the id is its attribute `event`, and the fields are attributes of
    their names.

    Args:
        name: Of the logger.
    """

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def __repr__(self) -> str:
        return f"<Log {self._logger.name}>"

    def hears(self, level: int) -> bool:
        """Whether somebody wants lines of a level of `logging`."""
        return self._logger.isEnabledFor(level)

    def __call__(
        self,
        line: Line,
        /,
        *,
        caused_by: BaseException | None = None,
        trace: bytes | None = None,
        suppressed: int = 0,
        **values: Any,
    ) -> None:
        """Say it, if somebody wants to hear it.

        Args:
            line: What.
            caused_by: An exception whose stack is told too.
            trace: The trace context of the message that it is about.
            suppressed: How many like it were held back before.
            values: Fields, and what else its words ask for.
        """
        logger = self._logger
        if not logger.isEnabledFor(line.level):
            return
        text = line.text
        if suppressed:
            text += _SUPPRESSED
            values["suppressed"] = suppressed
        if trace is not None and (context := TraceContext.from_bytes(trace)) is not None:
            values |= context.to_fields()
        extra = {name: value for name, value in values.items() if name in _KNOWN}
        # A mapping is one argument, by whose names `%` fills in the words.
        logger.log(
            line.level,
            text,
            *([values] if values else []),
            exc_info=caused_by,
            extra={"event": line.event, **extra},
            stacklevel=2,
        )
