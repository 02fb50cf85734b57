"""One generation of a contract at work: its schema, and the classes and codecs made from it on first use.

A registry is immutable in what it gives out. A reload makes the next one aside, with `Registry.next`: entries of
messages that did not change are taken over, the others get new codecs but keep their class. `Registry.activate` then
brings those classes up to date in place, and whoever holds the handle swaps one reference.
"""

import difflib
from collections.abc import Callable, Mapping
from enum import IntEnum
from threading import RLock
from typing import Any, Final, Generic, Protocol, TypeVar, final
from weakref import WeakSet

from attrs import evolve

from mycelium.schema.classes import Message, build_class, build_enum
from mycelium.schema.errors import UnknownTypeError
from mycelium.schema.evolution import (
    absent_fields,
    changed_messages,
    extend_enum,
    former_names,
    ordered_fields,
    refit,
    settle,
    synonyms_of,
    with_former_names,
)
from mycelium.schema.model import Field, Schema
from mycelium.schema.model import Message as MessageModel
from mycelium.schema.values import from_json_value

__all__ = ["Cache", "Codec", "Compile", "Entry", "Lineage", "Registry", "Restore"]

_MODULE: Final = "mycelium.contracts"
"""Where classes say that they are from, which is where they can be imported from."""


class Codec(Protocol):
    """What this floor needs of a codec."""

    @property
    def encode(self) -> Callable[..., bytes]:
        """Message to payload."""

    @property
    def decode(self) -> Callable[..., Any]:
        """Payload to message."""


class Cache(Protocol):
    """What has been worked out from a generation and must not outlive it."""

    def clear(self) -> None:
        """Forget it all; called in whatever thread brings another generation into force."""


C = TypeVar("C", bound=Codec)
Restore = Callable[[int, str, bytes], Message]
"""Schema id, message name and payload to a message: what a pickle is read with."""
Compile = Callable[[MessageModel, type[Message], "Lineage[C]"], C]


@final
class Lineage(Generic[C]):
    """What all generations of one handle share; to classes and codecs it is the place where others are found.

    Attributes:
        current: The generation in force.
        former: Names that messages had before they were renamed, with the names that they have now.
    """

    current: "Registry[C]"

    def __init__(self, compile_codec: "Compile[C]", restore: Restore, owner: object) -> None:
        self.compile = compile_codec
        self.restore = restore
        self.owner = owner
        self.lock = RLock()
        self.building: set[str] = set()
        self.enums: dict[str, type[IntEnum]] = {}
        self.former: dict[str, str] = {}
        self._caches: WeakSet[Cache] = WeakSet()

    def watch_over(self, cache: Cache) -> None:
        """Have it cleared at each change of the generation, as long as somebody else keeps it.

        Who puts something into it looks afterwards whether `current` is still what that was made from.
        """
        with self.lock:
            self._caches.add(cache)

    def come_into_force(self, current: "Registry[C]") -> None:
        """Swap the generation."""
        self.current = current
        for cache in self._caches:  # later than the swap: what is put into one afterwards is from this generation
            cache.clear()

    def class_of(self, name: str) -> type[Message]:
        """The class of a message."""
        return self.current.class_of(name)

    def codec_of(self, name: str) -> C:
        """The codec of a message."""
        return self.current.codec_of(name)

    def enum_of(self, name: str) -> type[IntEnum]:
        """The class of an enum."""
        return self.current.enum_of(name)

    def annotation_of(self, name: str) -> Any:
        """The class of a message, or its name while that class is still being built (a message may hold itself)."""
        return name if name in self.building else self.class_of(name)


@final
class Entry(Generic[C]):
    """One message of a generation: its model, and its class and codec, each built on first use.

    Attributes:
        message: The model, with the fields in the order of positional arguments.
        former: The entry that this one follows, as long as it is not in force.
        names: All that the message has had, as far as this handle and `renamed_from` know.
        hashed: Names of the fields that the class had first.
        synonyms: For each renamed field the names that it had and has, the newest last.
    """

    cls: type[Message]
    """The class."""
    codec: C
    """The codec, compiled."""

    def __init__(self, message: MessageModel, lineage: Lineage[C], former: "Entry[C] | None" = None) -> None:
        self.message = message
        self.lineage = lineage
        self.former = former
        self.hashed: tuple[str, ...] = tuple(one.name for one in message.fields)
        self.synonyms: Mapping[str, tuple[str, ...]] = {}
        self.names = frozenset({message.name, message.renamed_from or message.name})
        if former is not None:
            self.names |= former.names
            self.message = evolve(message, fields=ordered_fields(former.message, message))
            self.hashed = former.hashed
            self.synonyms = synonyms_of(message, former.synonyms)

    def __repr__(self) -> str:
        return f"<Entry {self.message.name} ({self.message.type_id})>"

    def __getattr__(self, name: str) -> Any:
        """Build what is asked for the first time; from then on it is an attribute like any other.

        One lock serves both: with cached_property, which has locks of its own before Python 3.12, two threads that ask
        for a class and for a codec could wait for each other.
        """
        if name not in ("cls", "codec"):
            raise AttributeError(name)
        with self.lineage.lock:
            if name not in self.__dict__:  # another thread may have been first
                make = self._made if name == "cls" else self._compiled
                self.__dict__[name] = make()
            return self.__dict__[name]

    def _compiled(self) -> C:
        return self.lineage.compile(self.message, self.cls, self.lineage)

    def take_over(self) -> None:
        """Come into force: bring the class up to date, if there is one, and let go of the entry before."""
        former, self.former = self.former, None
        if former is not None and "cls" in former.__dict__:
            cls = self.__dict__["cls"] = former.cls
            made = self._made(cls.__draft__)
            settle(cls.__draft__, former.message, self.message)
            refit(cls, made, absent_fields(former.message, self.message, self._default_of))
            cls.__mycelium__ = self

    def equip(self) -> None:
        """Give the class the codec's own functions, as long as this entry is the one in force.

        Whoever calls `to_bytes` from then on calls the compiled function, with nothing in between.
        """
        encode, decode = self.codec.encode, self.codec.decode
        encode.__doc__, decode.__doc__ = Message.to_bytes.__doc__, Message.from_bytes.__doc__
        with self.lineage.lock:
            if self.cls.__mycelium__ is self:
                self.cls.to_bytes = encode  # type: ignore[method-assign]
                self.cls.from_bytes = staticmethod(decode)  # type: ignore[method-assign]

    def encode(self, message: Message) -> bytes:
        """The payload of a message of this class."""
        return self.codec.encode(message)

    def decode(self, payload: bytes) -> Message:
        """The message of a payload."""
        decoded: Message = self.codec.decode(payload)
        return decoded

    def reduce(self, message: Message) -> tuple[Any, ...]:
        """What pickle stores: schema id, message name and payload, not the class."""
        lineage = self.lineage
        return lineage.restore, (lineage.current.schema.id, self.message.name, self.encode(message))

    def _made(self, draft: type[Message] | None = None) -> type[Message]:
        building = self.lineage.building
        building.add(self.message.name)
        try:
            cls = build_class(self.message, self.lineage, self._default_of, _MODULE, draft)
        finally:
            building.discard(self.message.name)
        cls.__hashed__ = self.hashed
        former = former_names(self.synonyms)
        if former:
            cls.__new__ = with_former_names(cls.__new__, former)  # type: ignore[method-assign]
        cls.__mycelium__ = self
        return cls

    def _default_of(self, field: Field) -> Callable[[], object]:
        lineage = self.lineage
        return lambda: from_json_value(field.type, field.default, lineage)


@final
class Registry(Generic[C]):
    """Name or type id -> entry, class, codec. Make the first one of a handle with `first`."""

    def __init__(self, schema: Schema, lineage: Lineage[C], entries: Mapping[str, Entry[C]]) -> None:
        self.schema = schema
        self.lineage = lineage
        self.entries = entries
        """By name, in file order."""
        self.by_id: Mapping[int, Entry[C]] = {entry.message.type_id: entry for entry in entries.values()}

    def __repr__(self) -> str:
        return f"<Registry {self.schema.source}, version {self.schema.version}, {len(self.entries)} messages>"

    @classmethod
    def first(
        cls, schema: Schema, compile_codec: "Compile[C]", restore: Restore, owner: object = None
    ) -> "Registry[C]":
        """The first generation of a handle.

        Args:
            schema: The model.
            compile_codec: Makes a codec of a message's model, its class and the lineage.
            restore: A function that pickle can import and that reads what `Entry.reduce` wrote.
            owner: Kept alive as long as any class of the lineage is.
        """
        lineage = Lineage(compile_codec, restore, owner)
        registry = cls(schema, lineage, {name: Entry(one, lineage) for name, one in schema.messages.items()})
        lineage.current = registry
        return registry

    def next(self, schema: Schema) -> "Registry[C]":
        """The generation of another schema, made aside: nobody sees anything of it before `activate`."""
        changed = changed_messages(self.schema, schema)
        entries = {}
        for name, message in schema.messages.items():
            former = self.entries.get(name) or self.entries.get(message.renamed_from or "")
            entries[name] = (
                former if former is not None and name not in changed else Entry(message, self.lineage, former)
            )
        return Registry(schema, self.lineage, entries)

    def activate(self) -> None:
        """Come into force: from now on every class of the lineage is as this schema says."""
        lineage = self.lineage
        with lineage.lock:
            lineage.come_into_force(self)
            for name, entry in self.entries.items():
                lineage.former.update(dict.fromkeys(entry.names - self.entries.keys(), name))
            for name, cls in lineage.enums.items():
                if name in self.schema.enums:
                    extend_enum(cls, self.schema.enums[name])
            for entry in self.entries.values():
                entry.take_over()

    def knows(self, name: str) -> bool:
        """Whether there is such a message, or was before it was renamed."""
        return name in self.entries or self.lineage.former.get(name) in self.entries

    def entry(self, name: str) -> Entry[C]:
        """The entry of a message, also by a name that it had before it was renamed.

        Raises:
            UnknownTypeError: There is no such message.
        """
        found = self.entries.get(name) or self.entries.get(self.lineage.former.get(name, ""))
        if found is None:
            raise UnknownTypeError(name, difflib.get_close_matches(name, self.entries, n=2))
        return found

    def entry_by_id(self, type_id: int) -> Entry[C]:
        """The entry of a type id.

        Raises:
            UnknownTypeError: There is no such message.
        """
        try:
            return self.by_id[type_id]
        except KeyError:
            raise UnknownTypeError(type_id) from None

    def class_of(self, name: str) -> type[Message]:
        """The class of a message."""
        return self.entry(name).cls

    def codec_of(self, name: str) -> C:
        """The codec of a message."""
        return self.entry(name).codec

    def enum_of(self, name: str) -> type[IntEnum]:
        """The class of an enum.

        Raises:
            UnknownTypeError: There is no such enum.
        """
        enums = self.lineage.enums
        with self.lineage.lock:
            if name not in self.schema.enums:
                raise UnknownTypeError(name, difflib.get_close_matches(name, self.schema.enums, n=2))
            if name not in enums:
                enums[name] = build_enum(self.schema.enums[name], _MODULE)
            return enums[name]
