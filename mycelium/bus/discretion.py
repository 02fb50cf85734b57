"""What a log may have of an exception that a handler has raised: its text may show what the message says."""

import traceback
from typing import Any

from mycelium.schema.classes import Message
from mycelium.schema.redaction import holds_redacted

__all__ = ["may_be_told", "where_of"]


def may_be_told(message: Message) -> bool:
    """Whether logs may have the text of what a handler of this message raises, which may show its values."""
    entry: Any = message.__mycelium__  # of a registry
    model, schema = entry.message, entry.lineage.current.schema
    if model.name not in schema.messages:  # a forced reload has taken it
        return False
    return not (model.redacted or holds_redacted(schema, model.name))


def where_of(error: BaseException) -> str:
    """What was raised, and where; not its text, which may show what is to be kept out of sight."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name}, line {frames[-1].lineno} of {frames[-1].filename}" if frames else ""
    return f"{type(error).__name__}{place}; its text may show what the contract keeps out of sight"
