"""The immutable model of a contracts file: schema, messages, fields, and the kinds of types from `kinds`.

A model is made by `mycelium.schema.parse` and never changes. Two models are equal if they say the same; where in the
file they say it (`location`) and in which words (`spelling`) is kept for people and does not count.
"""

from collections.abc import Iterable, Mapping
from enum import Enum as PyEnum
from functools import cached_property
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

from mycelium.schema.kinds import (
    INTEGERS,
    SCALAR_SIZES,
    Array,
    ByteArray,
    Bytes,
    EnumDef,
    Json,
    Location,
    Map,
    MessageRef,
    Scalar,
    String,
    Type,
    Vec,
    fixed_size,
    inner_types,
    messages_in,
    read_only,
)

__all__ = [
    "CORE_IDS",
    "DEFAULT_TAG_RANGES",
    "INTEGERS",
    "MAX_FIELD_TAG",
    "MAX_NESTING",
    "MISSING",
    "SCALAR_SIZES",
    "Alias",
    "Array",
    "ByteArray",
    "Bytes",
    "Domain",
    "EnumDef",
    "Field",
    "Json",
    "Location",
    "Map",
    "Message",
    "MessageRef",
    "Ranges",
    "Reserved",
    "Rule",
    "Scalar",
    "Schema",
    "String",
    "Type",
    "Vec",
    "fixed_size",
    "in_ranges",
    "inner_types",
    "messages_in",
    "next_free",
    "topic_of",
]

Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Inclusive ranges, in the order of the file: `[6, 9-12]` is `((6, 6), (9, 12))`."""

MAX_FIELD_TAG: Final = 0xEFFF
"""Tags 1 to 61439 are fields; 61440 to 65535 are envelope metadata (wire protocol, "Payload")."""
MAX_NESTING: Final = 16
CORE_IDS: Final = (1, 999)
"""Type ids of the core protocol: refused in every file but the package's own core.yaml."""
DEFAULT_TAG_RANGES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {"core": CORE_IDS, "app": (1000, 49999), "experimental": (50000, 65535)}
)


class _Missing(PyEnum):
    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing.MISSING
"""A field without `default:`; None is not possible as a mark because JSON has it."""


@frozen
class Rule:
    """One entry of `validation:`, such as `max_length: 32`. Built-in names are in `mycelium.schema.rules`."""

    name: str
    argument: Json = field(hash=False)
    location: Location | None = field(default=None, eq=False, repr=False)


@frozen
class Reserved:
    """Numbers (tags of a message, type ids of a schema) and names that must never be used again."""

    numbers: Ranges = ()
    names: tuple[str, ...] = ()
    location: Location | None = field(default=None, eq=False, repr=False)

    def __bool__(self) -> bool:
        return bool(self.numbers or self.names)


def in_ranges(number: int, ranges: Ranges) -> bool:
    """Whether the number lies in one of the inclusive ranges."""
    return any(first <= number <= last for first, last in ranges)


def next_free(used: Iterable[int], reserved: Ranges, start: int) -> int:
    """The lowest number from `start` on that is neither used nor reserved."""
    taken = set(used)
    number = start
    while number in taken or in_ranges(number, reserved):
        number += 1
    return number


@frozen
class Field:
    """One field of a message."""

    name: str
    type: Type
    tag: int
    """The number on the wire: the `tag:` of the file, else the position."""
    position: int
    """1-based place among the message's fields in the file."""
    explicit: bool = field(default=False, eq=False)
    """Whether the file gives the tag."""
    optional: bool = False
    default: "Json | Literal[_Missing.MISSING]" = field(default=MISSING, hash=False)
    """In JSON form (bytes "0x…", enums by name), already checked against the type."""
    rules: tuple[Rule, ...] = ()
    description: str = ""
    deprecated: bool = False
    renamed_from: str | None = None
    spelling: str = field(default="", eq=False, repr=False)
    """The type as the file writes it, aliases and all."""
    extras: Mapping[str, Json] = field(factory=dict, eq=False, repr=False)
    location: Location | None = field(default=None, eq=False, repr=False)
    """Of the field's name."""

    @property
    def required(self) -> bool:
        """Whether a payload without the field is an error."""
        return not self.optional and self.default is MISSING


@frozen
class Message:
    """One message type."""

    name: str
    type_id: int
    fields: tuple[Field, ...]
    """In file order, which is the order of positional arguments."""
    domain: str | None = None
    description: str = ""
    schema_version: str | None = None
    reserved: Reserved = Reserved()
    """Tags and field names."""
    renamed_from: str | None = None
    deprecated: bool = False
    sensitivity: Json = field(default=None, hash=False)
    log_payload: bool | None = None
    key: tuple[str, ...] = ()
    retain: Literal["last"] | None = None
    on_lag: str | None = None
    """From `qos`: the lag policy where the subscriber names none."""
    extras: Mapping[str, Json] = field(factory=dict, eq=False, repr=False)
    """Keys that mean nothing here: those of the Rust files, and `x-` keys."""
    location: Location | None = field(default=None, eq=False, repr=False)

    @property
    def topic(self) -> str:
        """The topic that its domain stands for."""
        return topic_of(self.domain)

    @property
    def redacted(self) -> bool:
        """Whether its values must not be shown where the software prints or logs them."""
        return self.sensitivity is not None or self.log_payload is False

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """Fields by name, in file order."""
        return MappingProxyType({one.name: one for one in self.fields})

    @cached_property
    def by_tag(self) -> Mapping[int, Field]:
        """Fields by tag, ascending: the order of the canonical encoding."""
        return MappingProxyType({one.tag: one for one in sorted(self.fields, key=lambda each: each.tag)})


@frozen
class Alias:
    """An entry of `types:` that gives a type another name."""

    name: str
    type: Type
    spelling: str = field(default="", eq=False)
    description: str = ""
    extras: Mapping[str, Json] = field(factory=dict, eq=False, repr=False)
    location: Location | None = field(default=None, eq=False, repr=False)


@frozen
class Domain:
    """An entry of `domains:`; shown by tools, never enforced."""

    name: str
    type_range: tuple[int, int] | None = None
    description: str = ""
    latency_slo_p99_ms: float | None = None
    error_rate_slo_pct: float | None = None
    extras: Mapping[str, Json] = field(factory=dict, eq=False, repr=False)
    location: Location | None = field(default=None, eq=False, repr=False)


@frozen
class Schema:
    """A whole contracts file."""

    id: int = 0x4D594345
    version: int = 1
    min_compatible: int = 1
    reserved: Reserved = Reserved()
    """Type ids and message names."""
    tag_ranges: Mapping[str, tuple[int, int]] = field(default=DEFAULT_TAG_RANGES, hash=False)
    aliases: Mapping[str, Alias] = field(factory=dict, hash=False, converter=read_only)
    enums: Mapping[str, EnumDef] = field(factory=dict, hash=False, converter=read_only)
    messages: Mapping[str, Message] = field(factory=dict, hash=False, converter=read_only)
    """By name, in file order."""
    domains: Mapping[str, Domain] = field(factory=dict, hash=False, converter=read_only)
    invariants: tuple[Mapping[str, Json], ...] = field(default=(), hash=False)
    extras: Mapping[str, Json] = field(factory=dict, eq=False, repr=False)
    source: str = field(default="<contracts>", eq=False)
    """The file's name as the user gave it."""
    location: Location | None = field(default=None, eq=False, repr=False)
    """Of the `schema:` section, else of the file's start."""
    locations: Mapping[str, Location] = field(factory=dict, eq=False, repr=False)
    """Of `id`, `version`, `min_compatible`, `reserved`, `tag_ranges`, where the file has them."""

    @cached_property
    def digest(self) -> str:
        """64 hex digits over what decides bytes, meaning and redaction (wire protocol, "the digest")."""
        from mycelium.schema.document import digest  # which is written in terms of this module

        return digest(self)

    @cached_property
    def by_id(self) -> Mapping[int, Message]:
        """Messages by type id, in file order."""
        return MappingProxyType({one.type_id: one for one in self.messages.values()})

    @cached_property
    def by_topic(self) -> Mapping[str, tuple[Message, ...]]:
        """Messages by topic, in file order."""
        topics: dict[str, tuple[Message, ...]] = {}
        for message in self.messages.values():
            topics[message.topic] = (*topics.get(message.topic, ()), message)
        return MappingProxyType(topics)


def topic_of(domain: str | None) -> str:
    """The topic of a domain: lower case, `marketdata` written `market-data`; without a domain `default`."""
    if domain is None:
        return "default"
    topic = domain.lower()
    return "market-data" if topic == "marketdata" else topic
