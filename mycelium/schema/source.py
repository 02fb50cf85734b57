"""From the text of a contracts file, or a peer's JSON document, to nodes with their places: safely, whatever the text is.

YAML is read as events, twice. The first pass only counts and refuses what goes beyond `Limits`, so that nothing is built from a
bracket bomb or an alias bomb: PyYAML's C composer is recursive and takes the process down with it. The second pass builds nodes,
without recursion. No tag is ever resolved to an object; a file with tags is refused.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml
from attrs import define

from mycelium.schema.errors import ContractError, Fault
from mycelium.schema.faults import Faults, Wrong, quoted
from mycelium.schema.model import Location
from mycelium.schema.nodes import FILE_LIMITS, PEER_LIMITS, Limits, MappingNode, Node, ScalarNode, SequenceNode
from mycelium.schema.plain import resolve, to_float, to_int

__all__ = ["compose", "read_json", "read_yaml"]

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF32: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
# YAML 1.2.2, section 5.1: c-printable, and what it leaves out. Checked here so that both parsers of PyYAML say the same.
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAK: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_SYNTAX_REMEDIES: Final = (
    ("'\\t'", "indent with spaces: YAML takes no tabs there"),
    ("mapping values are not allowed", "put text with ': ' in it in quotes, or start a new line"),
    ("expected <block end>", "check the indentation of this line against the lines above"),
    ("could not find expected ':'", "put ': ' behind the key"),
    ("while scanning a quoted scalar", "close the quotes"),
    ("expected ',' or", "put quotes around values with brackets, braces or commas, and close what was opened"),
    ("undefined tag handle", "leave the tag out: contracts have none"),
)


def read_yaml(text: str | bytes, name: str, *, limits: Limits = FILE_LIMITS) -> Node:
    """The nodes of a YAML text.

    Args:
        text: The file's content; bytes are UTF-8, or UTF-16 with a byte order mark.
        name: The file's name for locations.
        limits: What it may cost.

    Raises:
        ContractError: The text is no YAML, beyond the limits, or uses what contracts do not allow: tags, merge keys, keys that
            are no text or come twice, a second document, an alias inside what it stands for.
    """
    faults = Faults(name)
    node = compose(text, faults, limits)
    faults.raise_if_any()
    return node


def compose(text: str | bytes, faults: Faults, limits: Limits = FILE_LIMITS) -> Node:
    """As `read_yaml`, but what does not keep the rest from being read is added to the faults: duplicate keys and their like.

    Raises:
        ContractError: Nothing can be read.
    """
    decoded = _decoded(text, faults.file, limits)
    try:
        _measure(yaml.parse(decoded, Loader=_LOADER), faults.file, limits)
        root = _built(yaml.parse(decoded, Loader=_LOADER), faults)
    except yaml.YAMLError as error:
        raise _syntax_error(error, faults.file) from error
    except (RecursionError, ValueError, OverflowError) as error:
        # The pure Python parser lets these through for absurd escapes and directives.
        raise _refused(faults.file, 1, 1, f"the YAML parser gave up: {error}", "simplify the file") from error
    if root is None:
        raise _refused(faults.file, 1, 1, "the file is empty", "write at least `messages:` and a message")
    return root


def _refused(name: str, line: int, column: int, problem: str, remedy: str) -> ContractError:
    return ContractError([Fault(Location(name, line, column), "", problem, remedy)])


# --- text ------------------------------------------------------------------------------------------------------------


def _decoded(text: str | bytes, name: str, limits: Limits) -> str:
    """The text as str, without a byte order mark and without characters that YAML forbids."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(raw) > limits.size:
        problem = f"the text has {len(raw):,} bytes; the limit is {limits.size:,}"
        raise _refused(name, 1, 1, problem, "split the file")
    decoded = _from_bytes(text, name) if isinstance(text, bytes) else text
    decoded = decoded.removeprefix("\ufeff")
    found = _UNPRINTABLE.search(decoded)
    if found:
        line, column = _position(decoded, found.start())
        problem = f"the character U+{ord(found.group()):04X} is not allowed"
        raise _refused(name, line, column, problem, "remove it, or write it as an escape in double quotes")
    return decoded


def _from_bytes(raw: bytes, name: str) -> str:
    if raw.startswith(_UTF32):
        raise _refused(name, 1, 1, "the text is UTF-32", "save it as UTF-8")
    encoding = "utf-16" if raw.startswith(_UTF16) else "utf-8"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line, column = _position(raw[: error.start].decode(encoding, "replace"), error.start)
        problem = f"the text is no {encoding.upper()}: byte 0x{raw[error.start]:02x} cannot stand here"
        raise _refused(name, line, column, problem, "save it as UTF-8") from error


def _position(text: str, index: int) -> tuple[int, int]:
    """Line and column, from 1, of the character at an index."""
    breaks = [found.end() for found in _LINE_BREAK.finditer(text, 0, index)]
    return len(breaks) + 1, min(index, len(text)) - (breaks[-1] if breaks else 0) + 1


def _syntax_error(error: yaml.YAMLError, name: str) -> ContractError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    context, problem = getattr(error, "context", None), getattr(error, "problem", None)
    said = ", ".join(part for part in (context, problem) if part) or str(error).partition("\n")[0]
    remedy = next((remedy for piece, remedy in _SYNTAX_REMEDIES if piece in said), "repair the YAML there")
    return _refused(name, line, column, f"not YAML: {said}", remedy)


# --- first pass: limits ----------------------------------------------------------------------------------------------


@define
class _Open:
    """A collection that has begun: what `_measure` needs to know of it at its end."""

    anchor: str | None
    nodes_before: int
    deepest: int
    """Of the collections inside it so far, counted from the root."""


def _measure(events: Iterator[Any], name: str, limits: Limits) -> None:
    """Counts events as if every alias were written out.

    Raises:
        ContractError: A limit is exceeded, an alias is unknown or stands inside its own anchor, or a second document begins.
    """
    nodes = aliases = documents = 0
    stack: list[_Open] = []
    anchored: dict[str, tuple[int, int] | None] = {}
    for event in events:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            nodes += 1
            if event.anchor is not None:
                anchored[event.anchor] = (1, 0)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            nodes += 2
            stack.append(_Open(event.anchor, nodes - 2, len(stack) + 1))
            if event.anchor is not None:
                anchored[event.anchor] = None
            _check_depth(stack[-1].deepest, event, name, limits)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            closed = stack.pop()
            if closed.anchor is not None:
                anchored[closed.anchor] = (nodes - closed.nodes_before, closed.deepest - len(stack))
            if stack:
                stack[-1].deepest = max(stack[-1].deepest, closed.deepest)
        elif kind is yaml.AliasEvent:
            aliases += 1
            size, height = _target(event, anchored, name)
            nodes += size
            if stack:
                stack[-1].deepest = max(stack[-1].deepest, len(stack) + height)
                _check_depth(stack[-1].deepest, event, name, limits)
            if aliases > limits.aliases:
                raise _at(event, name, f"the file uses more than {limits.aliases} aliases", "write the parts out")
        elif kind is yaml.DocumentStartEvent:
            documents += 1
            if documents > 1:
                raise _at(event, name, "a second document begins here", "keep one document in a file")
        if nodes > limits.nodes:
            raise _at(
                event, name, f"the file has more than {limits.nodes:,} values", "split the file, use fewer aliases"
            )


def _at(event: Any, name: str, problem: str, remedy: str) -> ContractError:
    return _refused(name, event.start_mark.line + 1, event.start_mark.column + 1, problem, remedy)


def _check_depth(depth: int, event: Any, name: str, limits: Limits) -> None:
    if depth > limits.depth:
        raise _at(event, name, f"more than {limits.depth} collections stand inside one another", "nest less deeply")


def _target(event: Any, anchored: dict[str, tuple[int, int] | None], name: str) -> tuple[int, int]:
    """Expanded nodes and height of what an alias stands for."""
    shown = quoted(event.anchor)
    if event.anchor not in anchored:
        raise _at(
            event, name, f"there is no anchor {shown} before this alias", f"write &{event.anchor} where it is meant"
        )
    measured = anchored[event.anchor]
    if measured is None:
        raise _at(event, name, f"the alias {shown} stands inside what it is an alias of", "write the value out")
    return measured


# --- second pass: nodes ----------------------------------------------------------------------------------------------


class _Sequence:
    """A sequence that has begun."""

    def __init__(self, anchor: str | None, location: Location) -> None:
        self.anchor = anchor
        self._location = location
        self._items: list[Node] = []

    def take(self, node: Node, _plain: bool, _faults: Faults) -> None:
        self._items.append(node)

    def close(self) -> Node:
        return SequenceNode(tuple(self._items), self._location)


class _Mapping:
    """A mapping that has begun; takes keys and values in turn, and leaves out pairs whose key cannot be one."""

    def __init__(self, anchor: str | None, location: Location) -> None:
        self.anchor = anchor
        self._location = location
        self._items: list[tuple[ScalarNode, Node]] = []
        self._seen: dict[str, Location] = {}
        self._key: ScalarNode | None = None
        self._waits_for_value = False

    def take(self, node: Node, plain: bool, faults: Faults) -> None:
        if self._waits_for_value:
            if self._key is not None:
                self._items.append((self._key, node))
        else:
            self._key = self._checked(node, plain, faults)
        self._waits_for_value = not self._waits_for_value

    def _checked(self, node: Node, plain: bool, faults: Faults) -> ScalarNode | None:
        if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
            what = quoted(node.value) if isinstance(node, ScalarNode) else "a collection"
            faults.add(node.location, "", f"a key must be text, not {what}", "put the key in quotes, or rename it")
            return None
        if plain and node.value == "<<":
            faults.add(node.location, "", "merge keys are not supported", "write the keys out")
            return None
        first = self._seen.setdefault(node.value, node.location)
        if first is not node.location:
            where = f"line {first.line}, column {first.column}"
            problem = f"the key {quoted(node.value)} is there already, at {where}"
            faults.add(node.location, "", problem, "remove or rename one of the two")
            return None
        return node

    def close(self) -> Node:
        return MappingNode(tuple(self._items), self._location)


def _built(events: Iterator[Any], faults: Faults) -> Node | None:
    """The nodes of events that `_measure` has passed; None if there is no document."""
    root: Node | None = None
    stack: list[_Sequence | _Mapping] = []
    anchored: dict[str, Node] = {}
    for event in events:
        kind = type(event)
        anchor, plain = None, False
        if kind is yaml.ScalarEvent:
            anchor, plain = event.anchor, event.implicit[0]
            node: Node = _scalar(event, faults)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            opened = _Mapping if kind is yaml.MappingStartEvent else _Sequence
            stack.append(opened(event.anchor, _location(event, faults)))
            continue
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            closed = stack.pop()
            anchor, node = closed.anchor, closed.close()
        elif kind is yaml.AliasEvent:
            node = anchored[event.anchor]
        else:
            continue
        if anchor is not None:
            anchored[anchor] = node
        if stack:
            stack[-1].take(node, plain, faults)
        else:
            root = node
    return root


def _location(event: Any, faults: Faults) -> Location:
    """Where the event begins; a tag on it is a fault."""
    mark = event.start_mark
    location = Location(faults.file, mark.line + 1, mark.column + 1)
    if event.tag is not None:
        faults.add(location, "", f"the tag {quoted(event.tag)} is not allowed", "leave it out: contracts have no tags")
    return location


def _scalar(event: Any, faults: Faults) -> ScalarNode:
    location = _location(event, faults)
    if not event.implicit[0]:
        return ScalarNode(event.value, location)
    try:
        return ScalarNode(resolve(event.value), location)
    except Wrong as wrong:
        faults.add(location, "", wrong.problem, wrong.remedy)
        return ScalarNode(None, location)


# --- JSON ------------------------------------------------------------------------------------------------------------

_JSON_PARTS: Final = re.compile(r'"(?:[^"\\]+|\\.)*+"?|[\[\]{},:]', re.DOTALL)


def read_json(data: bytes, name: str, *, limits: Limits = PEER_LIMITS) -> Node:
    """The nodes of a contracts document, as it came from a peer; every location is the document's start.

    Raises:
        ContractError: It is no JSON, beyond the limits, or holds what JSON leaves open: a key twice, NaN, unpaired surrogates.
    """
    if len(data) > limits.size:
        problem = f"the document has {len(data):,} bytes; the limit is {limits.size:,}"
        raise _refused(name, 1, 1, problem, "send a smaller one")
    try:
        text = data.decode()
        _measure_json(text, name, limits)
        value = json.loads(
            text, object_pairs_hook=_unique, parse_int=to_int, parse_float=to_float, parse_constant=_no_constant
        )
        text.encode()
    except Wrong as wrong:
        raise _refused(name, 1, 1, wrong.problem, wrong.remedy) from wrong
    except json.JSONDecodeError as error:
        raise _refused(name, error.lineno, error.colno, f"not JSON: {error.msg}", "send valid JSON") from error
    except (ValueError, RecursionError) as error:
        raise _refused(name, 1, 1, f"not JSON: {error}", "send valid JSON in UTF-8") from error
    return _from_json(value, Location(name, 1, 1))


def _measure_json(text: str, name: str, limits: Limits) -> None:
    """Counts brackets and separators outside of strings, before the parser, which is recursive, sees the text."""
    depth, nodes = 0, 1
    for part in _JSON_PARTS.findall(text):
        if part in "[{":
            depth += 1
            nodes += 1
            if depth > limits.depth:
                problem = f"more than {limits.depth} collections stand inside one another"
                raise _refused(name, 1, 1, problem, "nest less deeply")
        elif part in "]}":
            depth -= 1
        elif part in ",:":
            nodes += 1
    if nodes > limits.nodes:
        raise _refused(name, 1, 1, f"the document has more than {limits.nodes:,} values", "send a smaller one")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in members if keys.count(key) > 1)
        raise Wrong(f"the key {quoted(twice)} comes twice in one object", "keep one of the two")
    return members


def _no_constant(text: str) -> float:
    raise Wrong(f"{text} is no JSON", 'write it as a string, such as "NaN"')


def _from_json(value: Any, location: Location) -> Node:
    """Recursive, which is safe because `_measure_json` bounds the depth."""
    if isinstance(value, dict):
        pairs = tuple((_json_scalar(key, location), _from_json(item, location)) for key, item in value.items())
        return MappingNode(pairs, location)
    if isinstance(value, list):
        return SequenceNode(tuple(_from_json(item, location) for item in value), location)
    return _json_scalar(value, location)


def _json_scalar(value: Any, location: Location) -> ScalarNode:
    if isinstance(value, str) and not value.isascii() and _UNPAIRED.search(value):
        problem = f"the text {quoted(value)} holds half of a surrogate pair"
        raise _refused(location.file, 1, 1, problem, "send whole characters")
    return ScalarNode(value, location)


_UNPAIRED: Final = re.compile("[\ud800-\udfff]")
