"""One generation of a contract at work: its schema, and the classes and codecs made from it on first use.

A registry is immutable in what it gives out: the same name yields the same class and codec for its whole life. A reload
makes another registry and swaps one reference.
"""

import difflib
from collections.abc import Callable, Mapping
from enum import IntEnum
from functools import cached_property
from threading import RLock
from typing import Any, Final, Generic, Protocol, TypeVar, final

from mycelium.schema.classes import Message, build_class, build_enum
from mycelium.schema.errors import UnknownTypeError
from mycelium.schema.model import Field, Schema
from mycelium.schema.model import Message as MessageModel
from mycelium.schema.values import from_json_value

__all__ = ["Codec", "Entry", "Registry", "Restore"]

_MODULE: Final = "mycelium.contracts"
"""Where classes say that they are from, which is where they can be imported from."""


class Codec(Protocol):
    """What this floor needs of a codec."""

    @property
    def encode(self) -> Callable[[Any], bytes]:
        """Message to payload."""

    @property
    def decode(self) -> Callable[[bytes], Any]:
        """Payload to message."""


C = TypeVar("C", bound=Codec)
Restore = Callable[[int, str, bytes], Message]
"""Schema id, message name and payload to a message: what a pickle is read with."""
Compile = Callable[[MessageModel, type[Message], "Registry[C]"], C]


@final
class Entry(Generic[C]):
    """One message of a registry: its model, and its class and codec, each built on first use."""

    def __init__(self, message: MessageModel, registry: "Registry[C]") -> None:
        """Entries are made by their registry."""
        self.message = message
        self.registry = registry

    def __repr__(self) -> str:
        return f"<Entry {self.message.name} ({self.message.type_id}) of schema version {self.registry.schema.version}>"

    @cached_property
    def cls(self) -> type[Message]:
        """The class."""
        with self.registry.lock:
            if "cls" not in self.__dict__:  # another thread may have been first
                self.__dict__["cls"] = self._build()
            built: type[Message] = self.__dict__["cls"]
            return built

    def _build(self) -> type[Message]:
        self.registry.building.add(self.message.name)
        try:
            cls = build_class(self.message, self.registry, self._default_of, _MODULE)
        finally:
            self.registry.building.discard(self.message.name)
        cls.__mycelium__ = self
        return cls

    def _default_of(self, field: Field) -> Callable[[], object]:
        registry = self.registry
        return lambda: from_json_value(field.type, field.default, registry)

    @cached_property
    def codec(self) -> C:
        """The codec, compiled."""
        with self.registry.lock:
            if "codec" not in self.__dict__:
                self.__dict__["codec"] = self.registry.compile(self.message, self.cls, self.registry)
            compiled: C = self.__dict__["codec"]
            return compiled

    def encode(self, message: Message) -> bytes:
        """The payload of a message of this class."""
        return self.codec.encode(message)

    def decode(self, payload: bytes) -> Message:
        """The message of a payload."""
        decoded: Message = self.codec.decode(payload)
        return decoded

    def reduce(self, message: Message) -> tuple[Any, ...]:
        """What pickle stores: schema id, message name and payload, not the class."""
        return self.registry.restore, (self.registry.schema.id, self.message.name, self.encode(message))


@final
class Registry(Generic[C]):
    """Name or type id -> entry, class, codec.

    Args:
        schema: The model of this generation.
        compile_codec: Makes a codec of a message's model, its class and this registry.
        restore: A function that pickle can import and that reads what `Entry.reduce` wrote.
        owner: Kept alive as long as any class of this registry is.
    """

    def __init__(self, schema: Schema, compile_codec: "Compile[C]", restore: Restore, owner: object = None) -> None:
        self.schema = schema
        self.compile = compile_codec
        self.restore = restore
        self.owner = owner
        self.lock = RLock()
        self.entries: Mapping[str, Entry[C]] = {name: Entry(one, self) for name, one in schema.messages.items()}
        """By name, in file order."""
        self.by_id: Mapping[int, Entry[C]] = {entry.message.type_id: entry for entry in self.entries.values()}
        self._enums: dict[str, type[IntEnum]] = {}
        self.building: set[str] = set()

    def __repr__(self) -> str:
        return f"<Registry {self.schema.source}, version {self.schema.version}, {len(self.entries)} messages>"

    def entry(self, name: str) -> Entry[C]:
        """The entry of a message.

        Raises:
            UnknownTypeError: There is no such message.
        """
        try:
            return self.entries[name]
        except KeyError:
            raise UnknownTypeError(name, difflib.get_close_matches(name, self.entries, n=2)) from None

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
        with self.lock:
            if name not in self._enums:
                try:
                    enum = self.schema.enums[name]
                except KeyError:
                    raise UnknownTypeError(name, difflib.get_close_matches(name, self.schema.enums, n=2)) from None
                self._enums[name] = build_enum(enum, _MODULE)
            return self._enums[name]

    def annotation_of(self, name: str) -> Any:
        """The class of a message, or its name while that class is still being built (a message may hold itself)."""
        return name if name in self.building else self.class_of(name)
