"""How the classes of one schema become those of the next: what user code imported stays, and is brought up to date.

Messages that were made before an edit live on in queues, sets and handlers. They read a new field as its default, and a
field that was renamed under either name; messages that are made after it read a field that is gone as None or the
default that it had.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import wraps
from typing import Any, Final, final

from mycelium.schema.classes import Message
from mycelium.schema.model import MISSING, EnumDef, Field, Schema, messages_in
from mycelium.schema.model import Message as MessageModel

__all__ = [
    "Reader",
    "changed_messages",
    "extend_enum",
    "former_names",
    "ordered_fields",
    "readers_of",
    "refit",
    "synonyms_of",
    "with_former_names",
]

DefaultOf = Callable[[Field], Callable[[], object]]
_REPLACED: Final = (
    "__annotations__",
    "__attrs_attrs__",
    "__attrs_props__",
    "__doc__",
    "__eq__",
    "__init__",
    "__match_args__",
    "__name__",
    "__qualname__",
    "TYPE_ID",
    "TOPIC",
)
"""What a class of a new contract says differently; its hash is still over the fields that it had first."""


def changed_messages(previous: Schema, current: Schema) -> set[str]:
    """Names of the messages of `current` that need another codec: new and edited ones, and all that hold such a one."""
    changed = {name for name, one in current.messages.items() if previous.messages.get(name) != one}
    holders = {
        name: {inner for one in message.fields for inner in messages_in(one.type)}
        for name, message in current.messages.items()
    }
    while more := {name for name, held in holders.items() if name not in changed and held & changed}:
        changed |= more
    return changed


def ordered_fields(previous: MessageModel, current: MessageModel) -> tuple[Field, ...]:
    """The fields of `current` in the order of positional arguments: known ones keep their place, new ones follow."""
    place = {one.name: number for number, one in enumerate(previous.fields)}
    behind = len(place)

    def order(one: Field) -> int:
        known = place.get(one.name)
        return place.get(one.renamed_from or "", behind) if known is None else known

    return tuple(sorted(current.fields, key=order))


def synonyms_of(message: MessageModel, known: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """For each field that was renamed the names that it had and has, the newest last."""
    synonyms = {name: names for name, names in known.items() if name in message.by_name}
    for one in message.fields:
        if one.renamed_from is not None and one.renamed_from not in message.by_name:
            before = known.get(one.renamed_from, (one.renamed_from,))
            synonyms[one.name] = known.get(one.name) or (*before, one.name)
    return synonyms


def former_names(synonyms: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Each name that a field had, with the one that it has."""
    return {old: new for new, names in synonyms.items() for old in names if old != new}


def with_former_names(init: Callable[..., None], former: Mapping[str, str]) -> Callable[..., None]:
    """A constructor that takes renamed fields by the names that running code knows, too."""

    @wraps(init)
    def __init__(self: Message, *args: Any, **kwargs: Any) -> None:  # noqa: N807  it is to be that method
        init(self, *args, **{former.get(name, name): value for name, value in kwargs.items()})

    return __init__


def refit(cls: type[Message], made: type[Message], readers: Mapping[str, "Reader"]) -> None:
    """Bring a class up to date in place.

    Args:
        cls: The class that user code has.
        made: A fresh class for the new contract, to take things from.
        readers: What `readers_of` says.
    """
    for name, reader in readers.items():
        setattr(cls, name, reader)
    for name in _REPLACED:
        if hasattr(made, name):
            setattr(cls, name, getattr(made, name))


def readers_of(
    previous: MessageModel, current: MessageModel, synonyms: Mapping[str, tuple[str, ...]], default_of: DefaultOf
) -> dict[str, "Reader"]:
    """For each field that some instances do not have, what they read in its place.

    Args:
        previous: What the class was made for, or last brought to.
        current: What it is to be.
        synonyms: What `synonyms_of` says.
        default_of: Makes the default of a field.
    """
    readers = {name: Reader(name, names, None) for names in synonyms.values() for name in names}
    for one in (*previous.fields, *current.fields):
        both = one.name in previous.by_name and one.name in current.by_name
        if not both and one.name not in readers and not one.required:
            readers[one.name] = Reader(one.name, (), default_of(one) if one.default is not MISSING else None)
    return readers


@final
class Reader:
    """What an instance without a field reads in its place; an instance that has the field never gets here.

    Attributes:
        name: The field.
        synonyms: Other names under which the instance may have it.
        make: Makes the default; None for None.
    """

    def __init__(self, name: str, synonyms: tuple[str, ...], make: Callable[[], object] | None) -> None:
        self.name = name
        self.synonyms = synonyms
        self.make = make

    def __get__(self, instance: Message | None, owner: type[Message]) -> Any:
        if instance is None:
            raise AttributeError(f"type object {owner.__name__!r} has no attribute {self.name!r}")
        values: dict[str, Any] = instance.__dict__
        for name in self.synonyms:
            if name in values:
                return values[name]
        # Kept, so that a list that was read once is the same list the next time.
        value = values[self.name] = None if self.make is None else self.make()
        return value


def extend_enum(cls: type[IntEnum], enum: EnumDef) -> None:
    """Give an enum class the members that it does not have; a member that is gone stays for the code that names it."""
    for name, number in enum.members.items():
        if name not in cls.__members__:
            _add_member(cls, name, number)


def _add_member(cls: type[IntEnum], name: str, number: int) -> None:
    """A member as the metaclass would have made it; a number that has a member gets another name for that one."""
    member = cls._value2member_map_.get(number)
    if member is None:
        member = int.__new__(cls, number)
        member._name_, member._value_ = name, number
        setattr(member, "_sort_order_", len(cls._member_names_))  # noqa: B010  typeshed does not know it
        cls._value2member_map_[number] = member
        cls._member_names_.append(name)
    type.__setattr__(cls, name, member)  # EnumType's own __setattr__ is for people
    cls._member_map_[name] = member
