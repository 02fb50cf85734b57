"""Which messages must not be shown."""

from attrs import evolve

from mycelium.schema.model import Schema, messages_in

__all__ = ["holds_redacted", "may_be_logged", "unredacted"]


def holds_redacted(schema: Schema, name: str) -> bool:
    """Whether a message, or one nested in it, keeps its values out of sight."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        message = schema.messages[waiting.pop()]
        if message.redacted:
            return True
        seen.add(message.name)
        inner = {each for one in message.fields for each in messages_in(one.type)}
        waiting.extend(inner - seen)
    return False


def may_be_logged(schema: Schema, name: str) -> bool:
    """Whether the values of a message may be shown to somebody who has not asked for that message alone."""
    return schema.messages[name].log_payload is True and not holds_redacted(schema, name)


def unredacted(schema: Schema) -> Schema:
    """The same schema, with nothing kept out of sight: for somebody who asked to see it."""
    shown = {name: evolve(one, sensitivity=None, log_payload=None) for name, one in schema.messages.items()}
    return evolve(schema, messages=shown)
