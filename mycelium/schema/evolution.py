"""How the classes of one schema become those of the next: what user code imported stays, and is brought up to date.

Messages that were made before an edit live on in queues, sets and handlers. They read a new field as its default, and a
field that was renamed under either name; messages that are made after it read a field that is gone as None or the
default that it had.
"""

import contextlib
from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import wraps
from typing import Any, Final, final

from mycelium.schema.classes import SPARE, Message
from mycelium.schema.model import MISSING, EnumDef, Field, Schema, messages_in
from mycelium.schema.model import Message as MessageModel

__all__ = [
    "Later",
    "absent_fields",
    "changed_messages",
    "extend_enum",
    "former_names",
    "ordered_fields",
    "refit",
    "settle",
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
    "__match_args__",
    "__name__",
    "__new__",
    "__qualname__",
    "TYPE_ID",
    "TOPIC",
)
"""What a class of a new contract says differently; its hash is still over the fields that it had first."""
_FROM_CODEC: Final = ("to_bytes", "from_bytes")
"""What `Entry.equip` put there; without it the class asks the entry in force."""


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


def with_former_names(make: Callable[..., Message], former: Mapping[str, str]) -> Callable[..., Any]:
    """A constructor that takes renamed fields by the names that running code knows, too."""

    @wraps(make)
    def __new__(cls: type[Message], /, *args: Any, **kwargs: Any) -> Message:  # noqa: N807  it is to be that method
        return make(cls, *args, **{former.get(name, name): value for name, value in kwargs.items()})

    return __new__


def settle(draft: type[Message], previous: MessageModel, current: MessageModel) -> None:
    """Give every field a place of its own in the instances of a class that is there.

    A known field keeps its place, and a renamed one has it under its new name as well, so that instances made before
    and after the edit read the same. A new field gets a spare slot.

    Args:
        draft: The draft of the class.
        previous: What the class was made for, or last brought to.
        current: What it is to be.
    """
    places = vars(draft)
    for one in current.fields:
        old = one.renamed_from or ""
        if old in previous.by_name and old not in current.by_name and one.name not in previous.by_name:
            setattr(draft, one.name, places[old])
    taken: set[int] = set()
    for one in sorted(current.fields, key=lambda one: one.name not in previous.by_name):
        if one.name not in places or id(places[one.name]) in taken:
            setattr(draft, one.name, _free_place(draft, one.name))
        taken.add(id(places[one.name]))


def _free_place(draft: type[Message], name: str) -> Any:
    in_use = set(map(id, vars(draft).values()))
    spare = (vars(Message)[each] for each in SPARE)
    return next((place for place in spare if id(place) not in in_use), None) or Later(name)


def refit(cls: type[Message], made: type[Message], absent: Mapping[str, Callable[[], object] | None]) -> None:
    """Bring a class up to date in place.

    Args:
        cls: The class that user code has.
        made: A fresh class for the new contract, to take things from.
        absent: What `absent_fields` says.
    """
    for name in _FROM_CODEC:
        if name in vars(cls):
            delattr(cls, name)
    for name in _REPLACED:
        if hasattr(made, name):
            setattr(cls, name, getattr(made, name))
    cls.__absent__ = {**cls.__absent__, **absent}
    cls.__getattr__ = _read_absent  # type: ignore[attr-defined]  # called for what is not there


def absent_fields(
    previous: MessageModel, current: MessageModel, default_of: DefaultOf
) -> dict[str, Callable[[], object] | None]:
    """The fields that some instances do not have and need not have, and what makes the value that they read.

    Args:
        previous: What the class was made for, or last brought to.
        current: What it is to be.
        default_of: Makes the default of a field.
    """
    return {
        one.name: default_of(one) if one.default is not MISSING else None
        for one in (*previous.fields, *current.fields)
        if not one.required and not (one.name in previous.by_name and one.name in current.by_name)
    }


def _read_absent(self: Message, name: str) -> Any:
    """The value of a field that an instance does not have."""
    cls = type(self)
    if name not in cls.__absent__:
        raise AttributeError(f"{cls.__name__!r} object has no attribute {name!r}")
    make = cls.__absent__[name]
    value = None if make is None else make()
    vars(cls.__draft__)[name].__set__(self, value)  # so that a list that was read once is the same list the next time
    return value


@final
class Later:
    """The place of a field that was added when all spare slots were taken: slower, but there is always room.

    Attributes:
        name: The field.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Message | None, owner: type[Message]) -> Any:
        if instance is not None:
            with contextlib.suppress(AttributeError, KeyError):
                return instance.__later__[self.name]
        raise AttributeError(f"{owner.__name__!r} object has no attribute {self.name!r}")

    def __set__(self, instance: Message, value: object) -> None:
        if not hasattr(instance, "__later__"):
            object.__setattr__(instance, "__later__", {})
        instance.__later__[self.name] = value


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
