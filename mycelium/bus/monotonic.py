"""The rule `monotonic`: a value never decreases within one publisher. It needs a memory, so it is not the codec's."""

from typing import final

from mycelium.schema.classes import Message
from mycelium.schema.errors import RuleError
from mycelium.schema.model import Message as MessageModel
from mycelium.schema.model import Schema

__all__ = ["MonotonicGuard", "monotonic_fields"]


def monotonic_fields(message: MessageModel) -> tuple[str, ...]:
    """Names of the fields that must not decrease."""
    return tuple(
        one.name for one in message.fields if any(rule.name == "monotonic" and rule.argument for rule in one.rules)
    )


@final
class MonotonicGuard:
    """Remembers the last value of each monotonic field of one publisher."""

    def __init__(self, schema: Schema) -> None:
        self.fields = {one.type_id: names for one in schema.messages.values() if (names := monotonic_fields(one))}
        """Type id to field names, for messages that have such fields."""
        self._last: dict[tuple[int, str], object] = {}

    def check(self, message: Message) -> None:
        """Compare a message with those before it, and remember it if it may be published. None is skipped.

        Raises:
            RuleError: A value is smaller than the one before.
        """
        type_id = message.TYPE_ID
        names = self.fields.get(type_id, ())
        values = {name: value for name in names if (value := getattr(message, name)) is not None}
        for name, value in values.items():
            last = self._last.get((type_id, name))
            if last is not None and value < last:
                model = message.__mycelium__.message
                raise RuleError(model.name, name, "monotonic", f"at least {last!r}", value)
        for name, value in values.items():
            self._last[type_id, name] = value
