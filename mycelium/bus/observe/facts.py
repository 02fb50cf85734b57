"""Attributes of spans that are the same for all messages of a class, made once."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, final

from mycelium.bus.observe import names
from mycelium.handle import Contracts
from mycelium.schema.model import Message as Model
from mycelium.schema.model import Schema

__all__ = ["Attributes", "Facts", "Place", "message_facts", "operation_facts"]

Attributes: TypeAlias = Mapping[str, Any]
Place: TypeAlias = Callable[[], Attributes]
"""Attributes of who publishes or subscribes, and where; the same object as long as they are the same."""
_NOTHING: Final[Attributes] = {}


@final
class Facts:
    """Of one operation of one client or bus.

    Args:
        operation: A key of `names.SPANS`.
        contracts: Gives its contracts.
        place: See `Place`.
        more: What else they all have.
    """

    def __init__(
        self, operation: str, contracts: Callable[[], Contracts], place: Place, more: Attributes = _NOTHING
    ) -> None:
        self._operation = {**operation_facts(operation), **more}
        self._contracts = contracts
        self._place = place
        self._of: dict[type, Attributes] = {}
        self._registry: object = None
        self._placed: object = None
        """The generation and the place that they are of."""

    def __repr__(self) -> str:
        return f"<Facts of {len(self._of)} classes>"

    def of(self, cls: type) -> Attributes:
        """The attributes of a class of messages, or of what is none."""
        contracts, place = self._contracts(), self._place()
        if contracts.registry is not self._registry or place is not self._placed:
            self._registry, self._placed = contracts.registry, place
            self._of.clear()
        found = self._of.get(cls)
        if found is None:
            entry = getattr(cls, "__mycelium__", None)
            of_type = {} if entry is None else message_facts(entry.message, contracts.schema)
            found = self._of[cls] = {**of_type, **self._operation, **place}
        return found


def message_facts(model: Model, schema: Schema) -> dict[str, Any]:
    """Attributes of a message's type."""
    return {
        names.SYSTEM: "mycelium",
        names.DESTINATION: model.name,
        names.MESSAGE_TYPE: model.name,
        names.TYPE_ID: model.type_id,
        names.SCHEMA_ID: schema.id,
        names.SCHEMA_VERSION: schema.version,
        names.SCHEMA_DIGEST: schema.digest,
    }


def operation_facts(operation: str) -> dict[str, Any]:
    """Attributes of what is done."""
    return {names.OPERATION: operation, names.OPERATION_TYPE: names.SPANS[operation].operation_type}
