"""From the text of a contracts file to nodes with their places: safely, whatever the text is.

YAML is read as events, twice. The first pass only counts, and refuses what goes beyond `Limits`, so that nothing is
built from a bracket bomb or an alias bomb: PyYAML's C composer is recursive and takes the process down with it. The
second pass builds nodes, without recursion. No tag is ever resolved to an object; a file with tags is refused.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import yaml
from attrs import define

from mycelium.schema.errors import ContractError
from mycelium.schema.faults import Faults, Wrong, join, quoted, refused, shortened
from mycelium.schema.model import Location
from mycelium.schema.nodes import (
    FILE_LIMITS,
    Limits,
    MappingNode,
    Node,
    Place,
    ScalarNode,
    SequenceNode,
    describe,
)
from mycelium.schema.plain import SPECIAL_STARTS, resolve

__all__ = ["compose", "read_yaml"]

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF32: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
# What c-printable leaves out (YAML 1.2.2, section 5.1). Checked here so that both parsers of PyYAML say the same.
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAK: Final = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_SYNTAX_REMEDIES: Final = (
    ("cannot start any token", "indent with spaces, not tabs; put text that begins with @ or a backquote in quotes"),
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
        ContractError: The text is no YAML, beyond the limits, or uses what contracts do not allow: tags, merge keys,
            keys that are no text or come twice, a second document, an alias inside what it stands for.
    """
    faults = Faults(name)
    node = compose(text, faults, limits)
    faults.raise_if_any()
    return node


def compose(text: str | bytes, faults: Faults, limits: Limits = FILE_LIMITS) -> Node:
    """As `read_yaml`, but faults that leave the rest readable, such as duplicate keys, are added to the others.

    Raises:
        ContractError: Nothing can be read.
    """
    decoded = _decoded(text, faults.file, limits)
    _Meter(faults.file, limits).run(_events(decoded, faults.file))
    root = _Builder(faults).run(_events(decoded, faults.file))
    faults.spoil()
    if root is None:
        raise refused(faults.file, 1, 1, "the file is empty", "write at least `messages:` and a message")
    return root


def _events(text: str, name: str) -> Iterator[Any]:
    """The parser's events.

    Raises:
        ContractError: The text is no YAML.
    """
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise _syntax_error(error, name) from error
    except (RecursionError, ValueError, OverflowError) as error:
        # The parser in Python lets these through for absurd escapes and directives.
        raise refused(name, 1, 1, f"the YAML parser gave up: {error}", "simplify the file") from error


# --- text ------------------------------------------------------------------------------------------------------------


def _decoded(text: str | bytes, name: str, limits: Limits) -> str:
    """The text as str, without a byte order mark and without characters that YAML forbids."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(raw) > limits.size:
        problem = f"the text has {len(raw):,} bytes; the limit is {limits.size:,}"
        raise refused(name, 1, 1, problem, "split the file")
    decoded = _from_bytes(text, name) if isinstance(text, bytes) else text
    decoded = decoded.removeprefix("\ufeff")
    found = _UNPRINTABLE.search(decoded)
    if found:
        line, column = _position(decoded, found.start())
        problem = f"the character U+{ord(found.group()):04X} is not allowed"
        raise refused(name, line, column, problem, "remove it, or write it as an escape in double quotes")
    return decoded


def _from_bytes(raw: bytes, name: str) -> str:
    if raw.startswith(_UTF32):
        raise refused(name, 1, 1, "the text is UTF-32", "save it as UTF-8")
    encoding = "utf-16" if raw.startswith(_UTF16) else "utf-8"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line, column = _position(raw[: error.start].decode(encoding, "replace"), error.start)
        problem = f"the text is no {encoding.upper()}: byte 0x{raw[error.start]:02x} cannot stand here"
        raise refused(name, line, column, problem, "save it as UTF-8") from error


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
    return refused(name, line, column, f"not YAML: {said}", remedy)


# --- first pass: limits ----------------------------------------------------------------------------------------------


@define
class _Open:
    """A collection that has begun: what has to be known of it at its end."""

    anchor: str | None
    nodes_before: int
    deepest: int
    """Of the collections inside it so far, counted from the root."""


class _Meter:
    """Counts events as if every alias were written out, and refuses what goes beyond the limits."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._name = name
        self._limits = limits
        self._nodes = self._aliases = self._documents = 0
        self._open: list[_Open] = []
        self._anchored: dict[str, tuple[int, int] | None] = {}
        """Expanded nodes and height of each anchor; None until its end is read."""

    def run(self, events: Iterator[Any]) -> None:
        """Reads all events.

        Raises:
            ContractError: A limit is exceeded, an alias is unknown or stands inside its own anchor, or a second
                document begins.
        """
        takers: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._begin,
            yaml.SequenceStartEvent: self._begin,
            yaml.MappingEndEvent: self._end,
            yaml.SequenceEndEvent: self._end,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._document,
        }
        limit = self._limits.nodes
        for event in events:
            take = takers.get(type(event))
            if take is not None:
                take(event)
                if self._nodes > limit:
                    problem = f"the file has more than {limit:,} values"
                    raise self._refuse(event, problem, "split the file, use fewer aliases")

    def _refuse(self, event: Any, problem: str, remedy: str) -> ContractError:
        mark = event.start_mark
        return refused(self._name, mark.line + 1, mark.column + 1, problem, remedy)

    def _scalar(self, event: Any) -> None:
        self._nodes += 1
        if event.anchor is not None:
            self._anchored[event.anchor] = (1, 0)

    def _begin(self, event: Any) -> None:
        self._open.append(_Open(event.anchor, self._nodes, len(self._open) + 1))
        self._nodes += 2
        if event.anchor is not None:
            self._anchored[event.anchor] = None
        self._reach(len(self._open), event)

    def _end(self, _: Any) -> None:
        closed = self._open.pop()
        if closed.anchor is not None:
            height = closed.deepest - len(self._open)
            self._anchored[closed.anchor] = (self._nodes - closed.nodes_before, height)
        if self._open:
            self._open[-1].deepest = max(self._open[-1].deepest, closed.deepest)

    def _alias(self, event: Any) -> None:
        self._aliases += 1
        if self._aliases > self._limits.aliases:
            problem = f"the file uses more than {self._limits.aliases} aliases"
            raise self._refuse(event, problem, "write the parts out")
        shown = quoted(event.anchor)
        if event.anchor not in self._anchored:
            raise self._refuse(event, f"there is no anchor {shown} before this alias", "write & and the name before it")
        measured = self._anchored[event.anchor]
        if measured is None:
            problem = f"the alias {shown} stands inside what it is an alias of"
            raise self._refuse(event, problem, "write the value out")
        size, height = measured
        self._nodes += size
        self._reach(len(self._open) + height, event)

    def _reach(self, depth: int, event: Any) -> None:
        self._open[-1].deepest = max(self._open[-1].deepest, depth)
        if depth > self._limits.depth:
            problem = f"more than {self._limits.depth} collections stand inside one another"
            raise self._refuse(event, problem, "nest less deeply")

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise self._refuse(event, "a second document begins here", "keep one document in a file")


# --- second pass: nodes ----------------------------------------------------------------------------------------------


class _Builder:
    """Makes nodes of events that `_Meter` has passed."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._anchored: dict[str, Node] = {}
        self._open: list[tuple[Any, list[Node]]] = []
        """The start of each collection that is being read, and the parts read so far of what it stands in."""

    def run(self, events: Iterator[Any]) -> Node | None:
        """The root; None if there is no document."""
        root: list[Node] = []
        parts = root
        stack = self._open
        file = self._faults.file
        for event in events:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                # In line, since nearly every event of a file is a scalar without anchor, tag, or meaning beyond text.
                mark, value = event.start_mark, event.value
                if event.implicit[0] and value[:1] in SPECIAL_STARTS:
                    value = self._resolved(event, parts)
                node: Node = ScalarNode(value, (file, mark.line + 1, mark.column + 1))
                if event.anchor is not None or event.tag is not None:
                    self._note(event, node, parts)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                stack.append((event, parts))
                parts = []
                continue
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                begin, outer = stack.pop()
                if kind is yaml.MappingEndEvent:
                    node = MappingNode(self._pairs(parts, outer), self._place(begin))
                else:
                    node = SequenceNode(tuple(parts), self._place(begin))
                parts = outer
                if begin.anchor is not None or begin.tag is not None:
                    self._note(begin, node, parts)
            elif kind is yaml.AliasEvent:
                node = self._anchored[event.anchor]
            else:
                continue
            parts.append(node)
        return root[0] if root else None

    def _place(self, event: Any) -> Place:
        return self._faults.file, event.start_mark.line + 1, event.start_mark.column + 1

    def _path(self, parts: list[Node]) -> str:
        """The path of the next part: keys and indexes of the collections around it; `parts` are the innermost's."""
        if not self._open:
            return ""
        path = ""
        inside = [*(outer for _, outer in self._open[1:]), parts]
        for (begin, _), read in zip(self._open, inside, strict=True):
            if type(begin) is yaml.SequenceStartEvent:
                path += f"[{len(read)}]"
            elif len(read) % 2 and isinstance(read[-1], ScalarNode):
                path = join(path, shortened(str(read[-1].value)))
        return path

    def _note(self, event: Any, node: Node, parts: list[Node]) -> None:
        """Keeps a node for aliases to come; a tag on it is a fault."""
        if event.anchor is not None:
            self._anchored[event.anchor] = node
        if event.tag is not None:
            problem = f"the tag {quoted(event.tag)} is not allowed"
            self._faults.add(node.location, self._path(parts), problem, "leave it out: contracts have no tags")

    def _resolved(self, event: Any, parts: list[Node]) -> bool | int | float | str | None:
        try:
            return resolve(event.value)
        except Wrong as wrong:
            self._faults.add(Location(*self._place(event)), self._path(parts), wrong.problem, wrong.remedy)
            return None

    def _pairs(self, parts: list[Node], outer: list[Node]) -> tuple[tuple[Any, Node], ...]:
        """Keys and values, which come in turn; pairs whose key cannot be one are left out."""
        keys = parts[::2]
        names = [key.value if type(key) is ScalarNode else None for key in keys]
        pairs = zip(keys, parts[1::2], strict=True)
        if all(type(name) is str for name in names) and len({*names, "<<"}) == len(names) + 1:
            return tuple(pairs)
        seen: dict[str, Location] = {}
        path = self._path(outer)
        return tuple((key, value) for key, value in pairs if self._is_key(key, path, seen))

    def _is_key(self, node: Node, path: str, seen: dict[str, Location]) -> bool:
        if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
            problem = f"a key must be text, not {describe(node)}"
            self._faults.add(node.location, path, problem, "put the key in quotes, or rename it")
            return False
        if node.value == "<<":
            self._faults.add(node.location, path, "merge keys are not supported", "write the keys out")
            return False
        if node.value in seen:
            first = seen[node.value]
            problem = f"the key is there already, at line {first.line}, column {first.column}"
            where = join(path, shortened(node.value))
            self._faults.add(node.location, where, problem, "remove or rename one of the two")
            return False
        seen[node.value] = node.location
        return True
