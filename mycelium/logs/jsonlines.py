"""A log line as one JSON object."""

import json
import logging
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, final

from mycelium._version import __version__
from mycelium.logs.fields import FIELDS, OF_RECORDS
from mycelium.schema.printable import printable

__all__ = ["JsonFormatter", "current_trace", "level_name"]

_LEVELS: Final = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "event", "taskName"}
"""What every record has; the rest somebody has put there with `extra`."""
_EMPTY: Final[tuple[Any, ...]] = (None, "", [], ())
_NO_TRACE: Final[Mapping[str, str]] = MappingProxyType({})


@final
class JsonFormatter(logging.Formatter):
    """Makes each record one line of JSON, with the fields of `FIELDS` in their order, but for those that are empty.

    What an application has given its own records with `extra` comes behind them. In all text what could move a cursor
    or end a line is escaped.

    Args:
        service: What the process is called; $OTEL_SERVICE_NAME says it first.
        version: Of that; by default Mycelium's.
        node: The machine; by default its host name.
    """

    def __init__(self, *, service: str | None = None, version: str = __version__, node: str | None = None) -> None:
        super().__init__()
        self._process: dict[str, Any] = {
            "service": os.environ.get("OTEL_SERVICE_NAME") or service,
            "version": version,
            "node": platform.node() if node is None else node,
        }

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        values = {**self._process, **_facts(record), **_fields(record), **_cause(self, record)}
        if "trace_id" not in values:
            values |= current_trace()
        line = {name: _shown(values[name]) for name in FIELDS if values.get(name) not in _EMPTY}
        line |= {name: _shown(value) for name, value in _extras(record)}
        return json.dumps(line, ensure_ascii=False, default=_shown)


def level_name(level: int) -> str:
    """The word for a level; one of an application's own is what it is above."""
    return next((name for least, name in _LEVELS if level >= least), "debug")


def current_trace() -> Mapping[str, str]:
    """The fields of the span that is current, if anything here traces."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return _NO_TRACE
    context = api.get_current_span().get_span_context()
    if not context.is_valid:
        return _NO_TRACE
    trace_id, span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return {"trace_id": trace_id, "span_id": span_id, "trace_flags": f"{int(context.trace_flags):02x}"}


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
    return {
        "timestamp": moment.replace("+00:00", "Z"),
        "level": level_name(record.levelno),
        "event": getattr(record, "event", None),
        "message": record.getMessage(),
        "logger": record.name,
        "pid": record.process,
    }


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name in OF_RECORDS if (value := getattr(record, name, None)) is not None}


def _cause(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    """The exception of a record, its stack as one string."""
    if not record.exc_info or record.exc_info[1] is None:
        return {"stacktrace": record.exc_text or record.stack_info} if record.exc_text or record.stack_info else {}
    error = record.exc_info[1]
    stack = formatter.formatException(record.exc_info)
    return {"error_type": type(error).__qualname__, "error": str(error), "stacktrace": stack}


def _extras(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    for name, value in vars(record).items():
        if name not in _STANDARD and name not in FIELDS:
            yield name, value


def _shown(value: Any) -> Any:
    """A value as JSON has it; in text nothing is left that could do something to a terminal."""
    match value:
        case str():
            return "\n".join(map(printable, value.split("\n")))
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {str(_shown(str(name))): _shown(one) for name, one in value.items()}
        case list() | tuple():
            return [_shown(one) for one in value]
    return _shown(str(value))
