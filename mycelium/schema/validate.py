"""Checks of a whole file that no single section can make: what must be unique, in range, or agree with other parts."""

from collections.abc import Iterator, Mapping, Set
from itertools import combinations, count
from typing import Final

from mycelium.schema.faults import join
from mycelium.schema.model import (
    CORE_IDS,
    MAX_FIELD_TAG,
    MAX_NESTING,
    Array,
    Field,
    Map,
    Message,
    MessageRef,
    Ranges,
    Schema,
    Type,
    Vec,
    in_ranges,
)
from mycelium.schema.readers import Reading

__all__ = ["validate"]

_MAX_LISTED: Final = 20


def validate(schema: Schema, reading: Reading) -> None:
    """Adds every fault of a model to the faults of its reading."""
    _Checks(schema, reading).run()


class _Checks:
    """The checks of one model."""

    def __init__(self, schema: Schema, reading: Reading) -> None:
        self._schema = schema
        self._reading = reading
        self._reserved_names = frozenset(schema.reserved.names)

    def run(self) -> None:
        self._versions()
        self._tag_ranges()
        self._type_ids()
        for message in self._schema.messages.values():
            path = join("messages", message.name)
            self._names(message, path)
            self._tags(message, join(path, "fields"))
            self._key(message, join(path, "key"))
        self._nesting()

    def _tell(self, path: str, problem: str, remedy: str) -> None:
        self._reading.faults.add(self._reading.where(path), path, problem, remedy)

    # --- the file ----------------------------------------------------------------------------------------------------

    def _versions(self) -> None:
        version, lowest = self._schema.version, self._schema.min_compatible
        if lowest > version:
            path = "schema.min_compatible" if "schema.min_compatible" in self._reading.marks else "schema.version"
            problem = f"min_compatible {lowest} is above version {version}"
            self._tell(path, problem, "lower min_compatible, or raise version")

    def _tag_ranges(self) -> None:
        for one, other in combinations(self._schema.tag_ranges.items(), 2):
            (name, (first, last)), (neighbour, (start, end)) = one, other
            if first <= end and start <= last:
                problem = f"the range {start}-{end} overlaps {name}, {first}-{last}"
                self._tell(join("tag_ranges", neighbour), problem, "let each id belong to one range")

    # --- messages ----------------------------------------------------------------------------------------------------

    def _type_ids(self) -> None:
        owners: dict[int, str] = {}
        reserved = _numbers(self._schema.reserved.numbers)
        start = self._schema.tag_ranges.get("app", (1000, 0))[0]
        free = _free({*reserved, *(each.type_id for each in self._schema.messages.values())}, start)
        for message in self._schema.messages.values():
            if not message.type_id:
                continue  # told where it was read
            problem = self._type_id_problem(message.type_id, owners, reserved)
            if problem:
                path = join(join("messages", message.name), "tlv_type")
                self._tell(path, problem, f"take another id; {free} is free")
            owners.setdefault(message.type_id, message.name)

    def _type_id_problem(self, type_id: int, owners: Mapping[int, str], reserved: Set[int]) -> str | None:
        first, last = CORE_IDS
        if type_id in owners:
            return f"the type id {type_id} is {owners[type_id]}'s already"
        if type_id in reserved:
            return f"the type id {type_id} is reserved"
        if self._reading.core:
            return None
        if first <= type_id <= last:
            return f"the type ids {first} to {last} belong to the core protocol"
        core = self._schema.tag_ranges.get("core", CORE_IDS)
        if in_ranges(type_id, (core,)):
            return f"the type id {type_id} lies in the core range {core[0]}-{core[1]}"
        mine = {name: ends for name, ends in self._schema.tag_ranges.items() if name != "core"}
        if not in_ranges(type_id, tuple(mine.values())):
            listed = ", ".join(f"{name} {start}-{end}" for name, (start, end) in mine.items())
            return f"the type id {type_id} lies in no range for applications ({listed})"
        return None

    def _names(self, message: Message, path: str) -> None:
        if message.name in self._reserved_names:
            self._tell(path, f"the name {message.name} is reserved", "choose another name")
        if message.renamed_from == message.name:
            self._tell(join(path, "renamed_from"), "is the name that the message has", "give the name that it had")
        reserved = frozenset(message.reserved.names)
        for one in message.fields:
            where = f"{path}.fields.{one.name}"
            if one.name in reserved:
                self._tell(where, f"the name {one.name} is reserved", "choose another name")
            if one.renamed_from == one.name:
                self._tell(join(where, "renamed_from"), "is the name that the field has", "give the name that it had")

    def _tags(self, message: Message, path: str) -> None:
        owners: dict[int, Field] = {}
        reserved = _numbers(message.reserved.numbers)
        free = 0
        for one in sorted(message.fields, key=lambda each: not each.explicit):
            where = join(path, one.name)
            if self._reading.broken and join(where, "tag") in self._reading.broken:
                continue
            problem = _tag_problem(one, owners, reserved)
            if problem:
                free = free or _free({*reserved, *(each.tag for each in message.fields)}, 1)
                remedy = (
                    f"write `tag: {free}`, which is free"
                    if free <= MAX_FIELD_TAG
                    else "none is free: drop a reservation"
                )
                self._tell(join(where, "tag"), problem, remedy)
            owners.setdefault(one.tag, one)

    def _key(self, message: Message, path: str) -> None:
        known = tuple(message.by_name) if message.key else ()
        listed = f"use one of: {', '.join(known[:_MAX_LISTED])}" if known else "give the message fields first"
        seen: set[str] = set()
        for name in message.key:
            one = message.by_name.get(name)
            if one is None:
                problem = f"{message.name} has no field {name}"
                self._tell(path, problem, self._reading.faults.suggest(name, known, listed))
            elif name in seen:
                self._tell(path, f"the field {name} comes twice", "name each field once")
            elif not _is_key(one.type):
                problem = f"the field {name} is a {one.type}, which cannot be compared as a key"
                self._tell(path, problem, "use a number, bool, enum, String, bytes or [u8; N]")
            seen.add(name)

    # --- messages inside messages ------------------------------------------------------------------------------------

    def _nesting(self) -> None:
        """Finds messages that always hold themselves, and chains of messages longer than a payload may be deep.

        Depth first without recursion: a file may have 65,000 messages in one chain.
        """
        depths: dict[str, int] = {}
        for start in self._schema.messages:
            chain = [start] if start not in depths else []
            rest = {name: self._held(name) for name in chain}
            while chain:
                name = chain[-1]
                one = next(rest[name], None)
                if one is None:
                    depths[name] = self._depth(name, depths)
                    del rest[chain.pop()]
                elif str(one.type) in rest:
                    self._circle(one, chain)
                elif str(one.type) not in depths:
                    chain.append(str(one.type))
                    rest[chain[-1]] = self._held(chain[-1])

    def _held(self, name: str) -> Iterator[Field]:
        """The fields of a message that hold a message in every value."""
        fields = self._schema.messages[name].fields
        return (one for one in fields if isinstance(one.type, MessageRef) and not one.optional)

    def _depth(self, name: str, depths: Mapping[str, int]) -> int:
        depth = 1 + max((depths.get(str(one.type), 0) for one in self._held(name)), default=0)
        if depth == MAX_NESTING + 1:
            problem = f"holds messages inside one another more than {MAX_NESTING} deep"
            self._tell(join("messages", name), problem, "make a field on the way optional, or a Vec")
        return depth

    def _circle(self, one: Field, chain: list[str]) -> None:
        inner = str(one.type)
        circle = [*chain[chain.index(inner) :], inner]
        shown = " -> ".join(circle if len(circle) <= _MAX_LISTED else [*circle[:_MAX_LISTED], "…"])
        path = f"messages.{chain[-1]}.fields.{one.name}.type"
        self._tell(path, f"the message holds itself: {shown}", "write `optional: true`, or use Vec or Map")


def _tag_problem(one: Field, owners: Mapping[int, Field], reserved: Set[int]) -> str | None:
    what = f"the tag {one.tag}" if one.explicit else f"the tag {one.tag}, which is the field's position,"
    if one.tag > MAX_FIELD_TAG:
        return f"{what} is above {MAX_FIELD_TAG}"
    if one.tag in owners:
        return f"{what} is {owners[one.tag].name}'s already"
    if one.tag in reserved:
        return f"{what} is reserved"
    return None


def _numbers(ranges: Ranges) -> Set[int]:
    """Every number of the ranges. Ranges that overlap cost no more for it."""
    numbers: set[int] = set()
    done = 0
    for first, last in sorted(ranges):
        numbers.update(range(max(first, done + 1), last + 1))
        done = max(done, last)
    return numbers


def _free(taken: Set[int], start: int) -> int:
    return next(number for number in count(start) if number not in taken)


def _is_key(type_: Type) -> bool:
    return not isinstance(type_, Array | Vec | Map | MessageRef)
