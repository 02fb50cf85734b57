"""The fields of a log line, in their order; names are promises."""

from typing import Final

__all__ = ["FIELDS", "OF_RECORDS"]

_OF_LINES: Final = ("timestamp", "level", "event", "message", "logger")
_OF_PROCESSES: Final = ("service", "version", "node", "pid")
OF_RECORDS: Final = (
    *("trace_id", "span_id", "trace_flags"),
    *("conn_id", "client_id", "client_name", "transport", "peer"),
    *("message_type", "type_id", "topic", "sequence", "size_bytes"),
    *("schema_version", "schema_digest", "generation", "old_digest", "new_digest", "compatibility", "issues"),
    *("queue_messages", "queue_capacity", "dropped", "subscribers"),
    *("duration_s", "attempt", "backoff_s"),
    *("reason", "error_type", "error", "stacktrace", "hint"),
    "suppressed",
)
"""Those that are attributes of a record of `logging`."""
FIELDS: Final = (*_OF_LINES, *_OF_PROCESSES, *OF_RECORDS)
"""All of them. One that is empty is left out."""
