"""Logs: one structured line for each thing that happens, over the standard library's logging.

Mycelium logs to loggers below `mycelium`, and configures none: an application's own handlers get everything, with the
fields of a line as attributes of its record. `configure` is for programs that want Mycelium's own form.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mycelium.logs.console import ConsoleFormatter
    from mycelium.logs.fields import FIELDS
    from mycelium.logs.jsonlines import JsonFormatter
    from mycelium.logs.lines import Line
    from mycelium.logs.setup import configure
    from mycelium.logs.writer import Writer

_HOMES = {
    "ConsoleFormatter": "console",
    "FIELDS": "fields",
    "JsonFormatter": "jsonlines",
    "Line": "lines",
    "Writer": "writer",
    "configure": "setup",
}

__all__ = ["FIELDS", "ConsoleFormatter", "JsonFormatter", "Line", "Writer", "configure"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mycelium.logs' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"mycelium.logs.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
