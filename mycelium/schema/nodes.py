"""What a contracts file consists of before it means anything: scalars, sequences and mappings, each with its place.

A node never changes. An alias of YAML gives the very same node again, so that a tree may share parts; `Limits` keeps
the expanded tree small enough to be walked.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

from attrs import frozen

from mycelium.schema.faults import quoted
from mycelium.schema.model import Json, Location

__all__ = [
    "FILE_LIMITS",
    "PEER_LIMITS",
    "Limits",
    "MappingNode",
    "Node",
    "Place",
    "ScalarNode",
    "SequenceNode",
    "to_json",
]


@frozen
class Limits:
    """What a source may cost. All of it is checked before anything is built from the source."""

    size: int = 4 * 1024 * 1024
    """Bytes of the text."""
    depth: int = 32
    """Collections inside one another, those behind aliases included."""
    nodes: int = 500_000
    """Values and keys, those behind aliases counted each time that they appear; a collection counts twice, as its two
    events cost twice the time."""
    aliases: int = 100
    """Uses of `*name`."""


FILE_LIMITS: Final = Limits()
PEER_LIMITS: Final = Limits(size=1024 * 1024)
"""For a contracts document that came over a connection."""


Place: TypeAlias = tuple[str, int, int]
"""File, line and column from 1; a Location is made of it where one is needed. Nodes are made by the hundred thousand,
which is why they are tuples themselves: a frozen attrs object takes several times as long."""


class ScalarNode(NamedTuple):
    """One value without parts."""

    value: bool | int | float | str | None
    place: Place

    @property
    def location(self) -> Location:
        """Where it stands."""
        return Location(*self.place)


class SequenceNode(NamedTuple):
    """A list."""

    items: "tuple[Node, ...]"
    place: Place

    @property
    def location(self) -> Location:
        """Where it begins."""
        return Location(*self.place)


class MappingNode(NamedTuple):
    """Pairs of a text key and a value, in the order of the source; no key comes twice."""

    items: "tuple[tuple[ScalarNode, Node], ...]"
    place: Place

    @property
    def location(self) -> Location:
        """Where it begins."""
        return Location(*self.place)


Node: TypeAlias = ScalarNode | SequenceNode | MappingNode

_NON_FINITE: Final[Mapping[str, str]] = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def to_json(node: Node) -> Json:
    """The node as plain JSON; NaN and the infinities, which JSON does not have, become strings.

    Recursive, which is safe because `Limits.depth` bounds every node.
    """
    if isinstance(node, ScalarNode):
        value = node.value
        return _NON_FINITE[repr(value)] if isinstance(value, float) and not math.isfinite(value) else value
    if isinstance(node, SequenceNode):
        return [to_json(item) for item in node.items]
    return {str(key.value): to_json(item) for key, item in node.items}


def describe(node: Node) -> str:
    """What a node is, for an error's text."""
    if isinstance(node, SequenceNode):
        return "a list"
    if isinstance(node, MappingNode):
        return "a mapping"
    match node.value:
        case None:
            return "an empty value"
        case bool(value):
            return f"the boolean {str(value).lower()}"
        case str(value):
            return f"the text {quoted(value)}"
        case value:
            return f"the number {quoted(value)}"
