"""The rule `monotonic`: a value never decreases within one publisher. It needs a memory, so it is not the codec's."""

from collections.abc import Mapping
from typing import Any, final

from mycelium.schema.classes import Message
from mycelium.schema.errors import REDACTED, RuleError
from mycelium.schema.model import Schema
from mycelium.schema.rules import is_monotonic

__all__ = ["MonotonicGuard", "monotonic_fields"]


def monotonic_fields(schema: Schema) -> dict[int, tuple[str, ...]]:
    """Type id to the names of the fields that must not decrease, for messages that have such fields."""
    fields = {
        one.type_id: tuple(each.name for each in one.fields if is_monotonic(each)) for one in schema.messages.values()
    }
    return {type_id: names for type_id, names in fields.items() if names}


@final
class MonotonicGuard:
    """Remembers the last value of each monotonic field of one publisher.

    Attributes:
        fields: What `monotonic_fields` gives; replaced when the contract changes, while what is remembered stays.
    """

    def __init__(self, fields: Mapping[int, tuple[str, ...]]) -> None:
        self.fields = fields
        self._last: dict[tuple[int, str], Any] = {}

    def __repr__(self) -> str:
        return f"<MonotonicGuard of {len(self.fields)} types>"

    def check(self, message: Message) -> None:
        """Compare a message with those before it, and remember it if it may be published. None is skipped.

        Raises:
            RuleError: A value is smaller than the one before, or NaN, which is neither smaller nor greater.
        """
        type_id = message.TYPE_ID
        names = self.fields.get(type_id)
        if names is None:
            return
        values = {name: value for name in names if (value := getattr(message, name)) is not None}
        for name, value in values.items():
            last = self._last.get((type_id, name), value)
            if not value >= last:
                raise self._broken(message, name, last, value)
        for name, value in values.items():
            self._last[type_id, name] = value

    def _broken(self, message: Message, name: str, last: object, value: object) -> RuleError:
        model = message.__mycelium__.message
        if model.redacted:
            return RuleError(model.name, name, "monotonic", "at least the one before", REDACTED)
        return RuleError(model.name, name, "monotonic", f"at least {last!r}", value)
