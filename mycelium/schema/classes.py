"""A message of the model -> an immutable attrs class; an enum of the model -> an IntEnum.

Methods are compiled in memory from names that the loader has checked: a field name is an identifier and never a
dunder, so every helper that generated code refers to is one. attrs provides fields, evolve, asdict and everything that
builds on them.

A class has a base of its own, its draft: the same slots, but its instances can be changed. A message is made as a
draft, whose attributes are set as fast as any, and becomes a message when it is given the class, which is frozen.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Optional, Protocol, Self, TypeVar, assert_never

import attrs
from attrs.exceptions import FrozenInstanceError

from mycelium.schema.errors import REDACTED
from mycelium.schema.model import (
    MISSING,
    Array,
    ByteArray,
    Bytes,
    EnumDef,
    Field,
    Map,
    MessageRef,
    Scalar,
    String,
    Type,
    Vec,
)
from mycelium.schema.model import Message as MessageModel

__all__ = ["Entry", "M", "Message", "Types", "annotation", "build_class", "build_enum"]

_SCALARS: Final[Mapping[str, type]] = {"bool": bool, "f32": float, "f64": float}
M = TypeVar("M", bound="Message")
_ATOMS: Final = (int, float, bool, str, bytes, type(None))
"""Types whose values nobody can change, so that a default may be shared."""
SPARE: Final = tuple(f"__spare{number}__" for number in range(4))
"""Slots for fields that an edit adds: a class that is there cannot get any."""


class Types(Protocol):
    """What gives out the classes of one generation."""

    def annotation_of(self, name: str) -> Any:
        """The class of a message; its name alone while that class is still being built."""

    def enum_of(self, name: str) -> type[IntEnum]:
        """The class of an enum."""


class Entry(Protocol):
    """What a message class knows of its contract: swapped for a newer one when the contract changes."""

    @property
    def message(self) -> MessageModel:
        """The model of the message."""

    @property
    def synonyms(self) -> Mapping[str, tuple[str, ...]]:
        """For each renamed field the names that it had and has."""

    def encode(self, message: "Message") -> bytes:
        """The payload of a message."""

    def decode(self, payload: bytes) -> "Message":
        """The message of a payload."""

    def reduce(self, message: "Message") -> tuple[Any, ...]:
        """What pickle stores of a message."""

    def equip(self) -> None:
        """Give the class the functions of its codec for `to_bytes` and `from_bytes`."""


class Message:
    """The base of every message. Instances are immutable; classes are made from a contract and never written by hand.

    Equality compares field by field as Python does. The hash is over the fields that the class had first, lists taken
    as tuples and dicts as frozensets of items. Nobody mutates a list inside a message.
    """

    __slots__ = (*SPARE, "__later__", "__weakref__")
    __later__: dict[str, Any]
    """Fields that an edit gave to the class when no spare slot was left."""
    __draft__: ClassVar["type[Message]"]
    """The base whose instances can be changed: `draft()`, then the fields, and last of all `__class__`."""
    __absent__: ClassVar[Mapping[str, Callable[[], object] | None]] = {}
    """Fields that an instance may not have since the class was edited, and what makes their value; None for None."""
    __mycelium__: ClassVar[Entry]
    __hashed__: ClassVar[tuple[str, ...]]
    __match_args__: ClassVar[tuple[str, ...]]
    """The fields' names in the order of positional arguments."""

    TYPE_ID: ClassVar[int]
    """The message's `tlv_type`: what a frame says."""
    TOPIC: ClassVar[str]
    """What its domain stands for."""

    def to_bytes(self) -> bytes:
        """The payload: a sequence of TLV fields in ascending tag order, without frame and metadata.

        Raises:
            EncodeError: A value does not fit its type. Rules are checked when a message is published.
        """
        entry = self.__mycelium__
        entry.equip()
        return entry.encode(self)

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """The message of a payload; fields may come in any order, unknown tags and envelope metadata are skipped.

        Raises:
            DecodeError: The payload is no such message, or a value breaks a rule.
        """
        entry = cls.__mycelium__
        entry.equip()
        return entry.decode(payload)  # type: ignore[return-value]  # the entry of this very class

    if not TYPE_CHECKING:  # to a type checker they would mean that any attribute may be set

        def __setattr__(self, name: str, value: object) -> None:
            raise FrozenInstanceError

        def __delattr__(self, name: str) -> None:
            raise FrozenInstanceError

    def __hash__(self) -> int:
        return hash((type(self), *(frozen_value(getattr(self, name)) for name in self.__hashed__)))

    def __repr__(self) -> str:
        model = self.__mycelium__.message
        if model.redacted:
            return f"{model.name}({REDACTED})"
        shown = ", ".join(f"{one.name}={getattr(self, one.name)!r}" for one in model.fields)
        return f"{model.name}({shown})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)(*(copy.deepcopy(getattr(self, name), memo) for name in self.__match_args__))

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__mycelium__.reduce(self)


def frozen_value(value: Any) -> Any:
    """A hashable stand-in that is equal for equal values."""
    if isinstance(value, list):
        return tuple(map(frozen_value, value))
    if isinstance(value, dict):
        return frozenset((key, frozen_value(each)) for key, each in value.items())
    return value


def build_enum(enum: EnumDef, module: str) -> type[IntEnum]:
    """An IntEnum with the enum's members in file order, importable from `module`."""
    cls: type[IntEnum] = IntEnum(enum.name, dict(enum.members), module=module)  # type: ignore[misc]  # made at run time
    cls.__doc__ = enum.description or f"Enum {enum.name} ({enum.repr}, {'open' if enum.open else 'closed'})."
    return cls


def build_class(
    message: MessageModel,
    types: Types,
    default_of: Callable[[Field], Callable[[], object]],
    module: str,
    draft: type[Message] | None = None,
) -> type[Message]:
    """An attrs class for the message, without its `__mycelium__` entry.

    Args:
        message: What the contract says.
        types: Where classes of nested messages and enums come from, for annotations.
        default_of: For a field with `default:`, a function that makes its value, a fresh one where it could be mutated.
        module: The module that the class says it is from.
        draft: The draft of a class that is to be brought up to date; without it the class gets one.
    """
    base = draft or _draft(message, module)
    defaults = {one.name: _default(one, default_of) for one in message.fields}
    annotations = {one.name: annotation(one, types) for one in message.fields}
    names = tuple(defaults)
    namespace: dict[str, Any] = {
        "__module__": module,
        "__qualname__": message.name,
        "__doc__": _docstring(message),
        "__annotations__": annotations,
        "__match_args__": names,
        "__hashed__": names,
        "__slots__": (),
        "__hash__": Message.__hash__,
        "__setattr__": Message.__setattr__,
        "__delattr__": Message.__delattr__,
        "TYPE_ID": message.type_id,
        "TOPIC": message.topic,
        **_compiled(message, defaults, base),
    }
    bare = type(message.name, (base,), namespace)
    these = {name: _attribute(message.by_name[name], default) for name, default in _padded(defaults)}
    made = attrs.define(
        bare, these=these, init=False, repr=False, eq=False, order=False, slots=False, match_args=False, on_setattr=None
    )
    del made.__attrs_init__  # type: ignore[attr-defined]  # would set what must not be set
    return made


def _draft(message: MessageModel, module: str) -> type[Message]:
    names = tuple(one.name for one in message.fields)
    thawed = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    # In a class of that name Python leaves a slot called `__x` as it is.
    draft: Any = type("_", (Message,), {"__module__": module, "__slots__": names, **thawed})
    draft.__name__ = draft.__qualname__ = f"{message.name}Draft"
    draft.__draft__ = draft
    return draft  # type: ignore[no-any-return]  # a class, made at run time


def _padded(defaults: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Defaults as attrs wants them: behind a field that has one none may be without, though required it stays."""
    seen = False
    for name, default in defaults.items():
        seen |= default is not attrs.NOTHING
        yield name, attrs.Factory(_required(name)) if seen and default is attrs.NOTHING else default


def _required(name: str) -> Callable[[], object]:
    def missing() -> object:
        raise TypeError(f"missing required argument: {name!r}")

    return missing


def _default(one: Field, default_of: Callable[[Field], Callable[[], object]]) -> Any:
    """What attrs calls the default: NOTHING, a value that may be shared, or a Factory."""
    if one.default is not MISSING:
        make = default_of(one)
        value = make()
        return value if isinstance(value, _ATOMS) else attrs.Factory(make)
    return None if one.optional else attrs.NOTHING


def _attribute(one: Field, default: Any) -> Any:
    metadata = {"tag": one.tag, "type": str(one.type), "description": one.description}
    return attrs.field(default=default, alias=one.name, metadata=metadata)


def _compiled(message: MessageModel, defaults: Mapping[str, Any], draft: type[Message]) -> dict[str, Any]:
    """`__new__` and `__eq__`, which run once per message and are worth being written out."""
    scope: dict[str, Any] = {"__unset__": _UNSET, "__missing__": _missing, "__draft__": draft, "__other__": _other}
    parameters, prologue = [], []
    optional_seen = False
    for number, one in enumerate(message.fields):
        default = defaults[one.name]
        needs_check = default is attrs.NOTHING and optional_seen
        optional_seen |= default is not attrs.NOTHING
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            scope[f"__make{number}__"] = default.factory
            parameters.append(f"{one.name}=__unset__")
            prologue.append(f"    if {one.name} is __unset__: {one.name} = __make{number}__()")
        elif needs_check:
            parameters.append(f"{one.name}=__unset__")
            prologue.append(f"    if {one.name} is __unset__: __missing__({message.name!r}, {one.name!r})")
        elif default is attrs.NOTHING:
            parameters.append(one.name)
        else:
            scope[f"__default{number}__"] = default
            parameters.append(f"{one.name}=__default{number}__")
    names = list(defaults)
    source = "\n".join(
        [
            f"def __new__({', '.join(['__cls__', '/', *parameters])}):",
            *prologue,
            "    __message__ = __draft__()",
            *(f"    __message__.{name} = {name}" for name in names),
            "    try: __message__.__class__ = __cls__",
            "    except TypeError: return __other__(__cls__, __message__)",
            "    return __message__",
            "def __eq__(self, __other__):",
            "    if __other__.__class__ is not self.__class__: return NotImplemented",
            f"    return {' and '.join(f'self.{name} == __other__.{name}' for name in names) or 'True'}",
        ]
    )
    # Only checked identifiers and literals made by repr() are in this text (contracts.md, "Names").
    exec(compile(source, f"<mycelium class {message.name}>", "exec"), scope)  # noqa: S102
    methods = {name: scope[name] for name in ("__new__", "__eq__")}
    for name, method in methods.items():
        method.__qualname__ = f"{message.name}.{name}"
    return methods


def _other(cls: type[Message], draft: Message) -> Message:
    """The message of a class that somebody derived from a message's: its instances have another layout."""
    message: Message = object.__new__(cls)
    for name in cls.__match_args__:
        object.__setattr__(message, name, getattr(draft, name))
    return message


_UNSET: Final = type("_Unset", (), {"__repr__": lambda _: "<required>"})()


def _missing(message: str, field: str) -> None:
    raise TypeError(f"{message}() missing required argument: {field!r}")


def annotation(one: Field, types: Types, *, open_enums: bool = True) -> Any:
    """What a type checker should take a field for.

    Args:
        one: The field.
        types: Where classes of nested messages and enums come from.
        open_enums: Whether an enum is its class or an int, as a constructor takes it, or its class alone.
    """
    inner = _python_type(one.type, types, open_enums)
    if not one.optional:
        return inner
    # A name has no `|`; a class is kept out of Optional[], whose cache would keep it alive for ever.
    return Optional[inner] if isinstance(inner, str) else inner | None  # noqa: UP045


def _python_type(type_: Type, types: Types, open_enums: bool) -> Any:
    match type_:
        case Scalar(name):
            return _SCALARS.get(name, int)
        case String():
            return str
        case Bytes() | ByteArray():
            return bytes
        case EnumDef():
            enum = types.enum_of(type_.name)
            return enum | int if open_enums else enum
        case MessageRef(name):
            return types.annotation_of(name)
        case Array(element, _) | Vec(element):
            return list[_python_type(element, types, open_enums)]  # type: ignore[misc]  # made at run time
        case Map(key, value):
            return dict[_python_type(key, types, open_enums), _python_type(value, types, open_enums)]  # type: ignore[misc]
        case _:
            assert_never(type_)


def _docstring(message: MessageModel) -> str:
    head = message.description or f"Message {message.name}."
    notes = ["Deprecated."] if message.deprecated else []
    return "\n\n".join(
        [head, *notes, "\n".join(["Attributes:", *_field_lines(message.fields)])] if message.fields else [head, *notes]
    )


def _field_lines(fields: Iterable[Field]) -> Iterable[str]:
    for one in fields:
        traits = [str(one.type), *(["optional"] if one.optional else []), *(["deprecated"] if one.deprecated else [])]
        traits += [] if one.default is MISSING else [f"default {one.default!r}"]
        yield f"    {one.name} ({', '.join(traits)}){': ' + one.description if one.description else ''}"
