"""Readers of single values: a node in, the value that the model keeps out, or `Wrong` with problem and remedy.

`read_keys` applies a table of them to a mapping, so that what a section may say stands in one table (`sections`).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn, TypeAlias

from attrs import field, frozen

from mycelium.schema.faults import Faults, Wrong, join, nearest, quoted, shortened
from mycelium.schema.model import Json, Location, Ranges
from mycelium.schema.names import name_problem, normalise
from mycelium.schema.nodes import MappingNode, Node, ScalarNode, SequenceNode, describe, to_json

__all__ = [
    "Key",
    "Keys",
    "Reader",
    "Reading",
    "as_mapping",
    "boolean",
    "choice",
    "integer",
    "is_null",
    "name",
    "node_itself",
    "not_empty_text",
    "number_range",
    "ranges",
    "read_keys",
    "reserved_names",
    "text",
]

Reader: TypeAlias = Callable[[Node], Any]

_SLIP: Final = 0.8
"""Likeness from which on a word is a slip of a key that only tools read: `type` is not meant to be `rust_type`."""
_RANGE: Final = re.compile(r"([0-9]{1,10})\s*-\s*([0-9]{1,10})", re.ASCII)
_DIGITS_LIKE: Final = re.compile(r"[-+]?[0-9][0-9_,' ]*", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@frozen
class Key:
    """One key of a section."""

    attribute: str
    """Of the model, under which the value is kept."""
    read: Reader
    nullable: bool = False
    """Whether a key without a value is the same as no key."""
    marked: bool = False
    """Whether checks of the whole file may have to point at the value."""


@frozen
class Keys:
    """What a section of a contracts file may say."""

    what: str
    """The section, for an error's text."""
    known: Mapping[str, Key]
    kept: frozenset[str] = frozenset()
    """Keys of the Rust files that mean nothing here: read, kept in `extras`, without effect."""


@frozen
class Reading:
    """What comes of reading one file, beside the model."""

    faults: Faults
    core: bool = False
    """Whether it is the package's own core.yaml, whose type ids are those of the core protocol."""
    marks: dict[str, Location] = field(factory=dict)
    """Where values stand, by path."""
    broken: set[str] = field(factory=set)
    """Paths of fields without a usable type, and of tags without a usable number: told already, not checked further."""
    spent: dict[str, int] = field(factory=dict)
    """What checks have cost so far, where that has a limit of its own."""

    def where(self, path: str) -> Location | None:
        """The location of a path, or of the nearest one around it that is known."""
        while path and path not in self.marks:
            path = path.rpartition(".")[0]
        return self.marks.get(path)


def read_keys(node: MappingNode, path: str, keys: Keys, reading: Reading) -> tuple[dict[str, Any], dict[str, Json]]:
    """The values of a section by attribute, and its extras; what cannot be read is left out and told to the faults."""
    values: dict[str, Any] = {}
    extras: dict[str, Json] = {}
    known = keys.known
    for key, item in node.items:
        spelled = str(key.value)
        entry = known.get(spelled)
        if entry is not None:
            if entry.marked:
                reading.marks[join(path, spelled)] = item.location
            if not (entry.nullable and is_null(item)):
                try:
                    values[entry.attribute] = entry.read(item)
                except Wrong as wrong:
                    where = wrong.location or item.location
                    reading.faults.add(where, join(path, spelled), wrong.problem, wrong.remedy)
        elif spelled.startswith("x-") or spelled in keys.kept:
            extras[spelled] = to_json(item)
        else:
            _refuse_key(key, item, path, keys, reading.faults)
    return values, extras


def _refuse_key(key: ScalarNode, item: Node, path: str, keys: Keys, faults: Faults) -> None:
    spelled = str(key.value)
    otherwise = f"use one of: {', '.join(keys.known)}; keys of your own begin with x-"
    if is_null(item):
        otherwise = "put text with a comma in quotes: inside { } a comma begins a new key"
    kept = nearest(spelled, keys.kept, _SLIP)
    remedy = f"did you mean {kept!r}?" if kept else faults.suggest(spelled, tuple(keys.known), otherwise)
    faults.add(key.location, join(path, shortened(spelled)), f"{keys.what} has no key {quoted(spelled)}", remedy)


def is_null(node: Node) -> bool:
    """Whether the node is an empty value or `null`."""
    return isinstance(node, ScalarNode) and node.value is None


def _must_be(wanted: str, node: Node, remedy: str) -> NoReturn:
    raise Wrong(f"must be {wanted}, not {describe(node)}", remedy)


def node_itself(node: Node) -> Node:
    """For sections that are read later."""
    return node


def as_mapping(node: Node, example: str) -> MappingNode:
    """The node, which has to be a mapping."""
    if isinstance(node, MappingNode):
        return node
    _must_be("a mapping", node, f"write it as {example}")


def boolean(node: Node) -> bool:
    """True or false."""
    if isinstance(node, ScalarNode) and isinstance(node.value, bool):
        return node.value
    _must_be("true or false", node, "write true or false, without quotes")


def text(node: Node) -> str:
    """Any text."""
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        return node.value
    _must_be("text", node, "put it in quotes")


def not_empty_text(node: Node) -> str:
    """Text that can be a name of something outside the language, such as a domain's."""
    value = text(node)
    if not value.strip() or _CONTROL.search(value):
        _must_be("text without control characters", node, "give it a name")
    return value


def integer(first: int, last: int, what: str = "an integer") -> Reader:
    """A reader of integers from `first` to `last`."""

    def read(node: Node) -> int:
        value = node.value if isinstance(node, ScalarNode) else None
        if isinstance(value, bool) or not isinstance(value, int):
            remedy = f"give a number from {first} to {last}"
            if isinstance(value, str) and _DIGITS_LIKE.fullmatch(value):
                remedy = "write the digits alone, without quotes and separators"
            _must_be(what, node, remedy)
        if not first <= value <= last:
            raise Wrong(f"{quoted(value)} is out of range for {what}", f"give a number from {first} to {last}")
        return value

    return read


def choice(*values: str) -> Reader:
    """A reader of one word out of several."""

    def read(node: Node) -> str:
        value = text(node)
        if value not in values:
            meant = nearest(value, values)
            remedy = f"did you mean {meant!r}?" if meant else f"use one of: {', '.join(values)}"
            raise Wrong(f"{quoted(value)} is not known here", remedy)
        return value

    return read


def name(node: Node) -> str:
    """A name of the contract language, normalised."""
    value = normalise(text(node))
    problem = name_problem(value)
    if problem:
        raise Wrong(
            f"the name {quoted(value)} {problem}", "use letters, digits and _, not a digit first, no reserved word"
        )
    return value


def reserved_names(node: Node) -> tuple[str, ...]:
    """A list of names, which may be any text: nobody uses them."""
    if not isinstance(node, SequenceNode):
        _must_be("a list of names", node, "write it as [old_name]")
    return tuple(normalise(item) for item in _each(node, text))


def number_range(first: int, last: int) -> Reader:
    """A reader of `first-last` as a pair, both ends included; a single number is a range of one."""
    single = integer(first, last)

    def read(node: Node) -> tuple[int, int]:
        value = node.value if isinstance(node, ScalarNode) else None
        if not isinstance(value, str):
            number = single(node)
            return number, number
        found = _RANGE.fullmatch(value.strip())
        if not found:
            raise Wrong(f"{quoted(value)} is no range", "write it as 1000-1999")
        low, high = int(found[1]), int(found[2])
        if not first <= low <= high <= last:
            raise Wrong(f"the range {value} does not lie within {first}-{last}", "write the lower end first")
        return low, high

    return read


def ranges(first: int, last: int) -> Reader:
    """A reader of a list of numbers and ranges, `[6, 9-12]`."""
    single = number_range(first, last)

    def read(node: Node) -> Ranges:
        if not isinstance(node, SequenceNode):
            _must_be("a list of numbers and ranges", node, "write it as [6, 9-12]")
        return tuple(_each(node, single))

    return read


def _each(node: SequenceNode, read: Reader) -> Iterator[Any]:
    for item in node.items:
        try:
            yield read(item)
        except Wrong as wrong:
            wrong.location = item.location
            raise
