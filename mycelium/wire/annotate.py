"""Payloads and frames explained to people, byte by byte.

The rows of an annotation hold every byte once, in order, whatever the bytes are: what makes no sense is said to make
none, and what follows it is explained as far as the structure carries. Rules are not run; `Codec.decode` does that.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, assert_never

from attrs import evolve, frozen

from mycelium.schema.errors import REDACTED
from mycelium.schema.model import (
    MAX_NESTING,
    Array,
    ByteArray,
    Bytes,
    EnumDef,
    Map,
    Message,
    MessageRef,
    Scalar,
    Schema,
    String,
    Type,
    Vec,
    fixed_size,
)
from mycelium.wire.errors import Misfit, shorten
from mycelium.wire.frames import HEADER as FRAME_HEADER
from mycelium.wire.frames import TYPE_ID_SIZE
from mycelium.wire.maps import KEY_TAG, VALUE_TAG
from mycelium.wire.metadata import KINDS
from mycelium.wire.scalars import SCALARS
from mycelium.wire.tlv import FIRST_METADATA_TAG, HEADER, HEADER_SIZE, LENGTH

__all__ = ["MOST_ELEMENTS", "Annotator", "Place", "Row", "annotate", "annotate_frames", "place_of"]

MOST_ELEMENTS: Final = 64
"""Elements of a list that get rows of their own; the rest are one row."""
_TAG_SIZE: Final = HEADER_SIZE - LENGTH.size


@frozen
class Row:
    """Some bytes, and what they are."""

    offset: int
    """From the start of the payload, or of all the frames."""
    data: bytes
    """The bytes; none where something is missing."""
    depth: int
    """How far to indent: 0 for a frame and for the fields of the outermost message."""
    text: str
    wrong: bool = False
    """Whether this is an error."""
    hidden: bool = False
    """Whether the contract keeps these bytes out of sight."""

    @property
    def length(self) -> int:
        """How many bytes."""
        return len(self.data)

    @property
    def hex(self) -> str:
        """The bytes as two digits each; asterisks if they are hidden."""
        return "**" * len(self.data) if self.hidden else self.data.hex()


def annotate(message: Message | None, payload: bytes, schema: Schema) -> list[Row]:
    """The rows of a payload.

    Args:
        message: What it is; None if that is not known, so that only the structure is explained.
        payload: Any bytes.
        schema: Where nested messages are found.
    """
    return list(Annotator(payload, schema).fields(_Fields.of(message), 0, len(payload), place_of(message, 0)))


def annotate_frames(data: bytes, schemas: Sequence[Schema]) -> list[Row]:
    """The rows of one or more whole frames.

    Args:
        data: Any bytes.
        schemas: Where types are found, the first that has a type id wins: the application's and the core protocol's.
    """
    rows: list[Row] = []
    start = 0
    while start < len(data):
        frame = _frame(data, start, schemas)
        rows += frame
        start = frame[-1].offset + frame[-1].length
    return rows


def _frame(data: bytes, start: int, schemas: Sequence[Schema]) -> list[Row]:
    left = len(data) - start
    if left < FRAME_HEADER.size:
        return [Row(start, data[start:], 0, f"{left} bytes are no whole frame header", wrong=True)]
    length, type_id = FRAME_HEADER.unpack_from(data, start)
    schema = next((one for one in schemas if type_id in one.by_id), Schema())
    message = schema.by_id.get(type_id)
    body = start + FRAME_HEADER.size
    stop = body + length - TYPE_ID_SIZE
    middle = start + FRAME_HEADER.size - TYPE_ID_SIZE
    problem = ""
    if stop < body:
        problem, stop = ": too short, a frame has a type id", body
    elif stop > len(data):
        problem, stop = f": {len(data) - middle} are left", len(data)
    name = f"{message.name}" if message else "unknown"
    rows = [
        Row(start, data[start:middle], 0, f"frame of length {length}{problem}", wrong=bool(problem)),
        Row(middle, data[middle:body], 0, f"type id {type_id}: {name}", wrong=type_id == 0),
    ]
    return [*rows, *Annotator(data, schema).fields(_Fields.of(message), body, stop, place_of(message, 1))]


@frozen
class _Fields:
    """What is known of the fields of a TLV sequence."""

    titles: Mapping[int, str]
    types: Mapping[int, Type]
    required: Sequence[int]
    metadata: bool = False
    """Whether envelope metadata is explained: in the outermost message."""

    @classmethod
    def of(cls, message: Message | None) -> "_Fields":
        if message is None:
            return cls({}, {}, (), metadata=True)
        return cls(
            {tag: f"{one.name}, {one.type}" for tag, one in message.by_tag.items()},
            {tag: one.type for tag, one in message.by_tag.items()},
            [tag for tag, one in message.by_tag.items() if one.required],
            metadata=True,
        )

    @classmethod
    def entry(cls, entry: Map) -> "_Fields":
        types = {KEY_TAG: entry.key, VALUE_TAG: entry.value}
        return cls({KEY_TAG: f"key, {entry.key}", VALUE_TAG: f"value, {entry.value}"}, types, tuple(types))


@frozen
class Place:
    """Where in the nesting some bytes are."""

    depth: int
    """Indentation."""
    messages: int = 1
    """Messages inside each other, the outermost is 1."""
    hidden: bool = False

    def deeper(self) -> "Place":
        """One step further in."""
        return evolve(self, depth=self.depth + 1)


def place_of(message: Message | None, depth: int) -> Place:
    """Where the fields of the outermost message are."""
    return Place(depth, hidden=message is not None and message.redacted)


class Annotator:
    """Makes rows of the bytes of one payload.

    Args:
        data: Any bytes, of which the payload is a part.
        schema: Where nested messages are found.
    """

    def __init__(self, data: bytes, schema: Schema) -> None:
        self._data = data
        self._schema = schema

    def row(self, start: int, stop: int, place: Place, text: str, *, wrong: bool = False) -> Row:
        """A row that says what its bytes are without showing a value."""
        return Row(start, self._data[start:stop], place.depth, text, wrong)

    def rest(self, start: int, stop: int, place: Place, text: str, *, wrong: bool = False) -> Iterator[Row]:
        """A row for bytes of a value that are not taken apart, if there are any."""
        if start < stop or wrong:
            yield Row(start, self._data[start:stop], place.depth, text, wrong, place.hidden)

    # --- fields ------------------------------------------------------------------------------------------------------

    def fields(self, known: _Fields, start: int, stop: int, place: Place) -> Iterator[Row]:
        """The rows of a TLV sequence."""
        seen: set[int] = set()
        while start < stop:
            first = start + HEADER_SIZE
            if first > stop:
                text = f"{stop - start} trailing bytes are no whole field header"
                yield self.row(start, stop, place, text, wrong=True)
                return
            tag, length = HEADER.unpack_from(self._data, start)
            yield self._tag(known, start, tag, place, again=tag in seen)
            seen.add(tag)
            start = first + length
            if start > stop:
                yield from self._overrun(first, stop, place, f"length {length}")
                return
            yield self.row(first - LENGTH.size, first, place, f"length {length}")
            yield from self._field(known, tag, first, start, place.deeper())
        for tag in known.required:
            if tag not in seen:
                yield self.row(stop, stop, place, f"tag {tag} ({known.titles[tag]}) is missing", wrong=True)

    def _tag(self, known: _Fields, start: int, tag: int, place: Place, *, again: bool) -> Row:
        title = known.titles.get(tag, "unknown field, skipped")
        if tag >= FIRST_METADATA_TAG:
            kind = KINDS.get(tag) if known.metadata else None
            title = f"metadata, {kind.title}" if kind else "unknown metadata, skipped"
        problem = ", never valid" if tag == 0 else ", there twice" if again else ""
        shown = f"{tag:#06x}" if tag >= FIRST_METADATA_TAG else str(tag)
        return self.row(start, start + _TAG_SIZE, place, f"tag {shown}: {title}{problem}", wrong=bool(problem))

    def _overrun(self, first: int, stop: int, place: Place, length: str) -> Iterator[Row]:
        """A length that says more than there is, and what there is."""
        yield self.row(first - LENGTH.size, first, place, f"{length}: {stop - first} are left", wrong=True)
        yield from self.rest(first, stop, place.deeper(), "what is left")

    def _field(self, known: _Fields, tag: int, start: int, stop: int, place: Place) -> Iterator[Row]:
        kind = KINDS.get(tag) if known.metadata else None
        if tag in known.types:
            yield from self.value(known.types[tag], start, stop, place)
        elif kind is None:
            yield from self.rest(start, stop, place, "raw bytes")
        elif stop - start != kind.size:
            yield from self.rest(start, stop, place, f"takes {kind.size} bytes, not {stop - start}", wrong=True)
        else:
            value = kind.decode(self._data[start:stop])
            yield self.row(start, stop, place, f"0x{value.hex()}" if isinstance(value, bytes) else str(value))

    # --- values ------------------------------------------------------------------------------------------------------

    def value(self, type_: Type, start: int, stop: int, place: Place) -> Iterator[Row]:
        """The rows of a value."""
        size = fixed_size(type_)
        if size is not None and stop - start != size:
            text = f"{type_} takes {size} bytes, not {stop - start}"
            yield from self.rest(start, stop, place, text, wrong=True)
            return
        match type_:
            case Array(element, _):
                yield from self._packed(element, start, stop, place)
            case Vec(element) if fixed_size(element) is not None:
                yield from self._packed(element, start, stop, place)
            case Vec() | Map():
                yield from self._counted(type_, start, stop, place)
            case MessageRef(name):
                yield from self._message(self._schema.messages[name], start, stop, place)
            case Scalar() | EnumDef() | ByteArray() | String() | Bytes():
                yield from self._leaf(type_, start, stop, place)
            case _:
                assert_never(type_)

    def _message(self, message: Message, start: int, stop: int, place: Place) -> Iterator[Row]:
        inside = evolve(place, messages=place.messages + 1, hidden=place.hidden or message.redacted)
        if inside.messages > MAX_NESTING:
            text = f"{message.name} nests deeper than {MAX_NESTING} messages"
            yield from self.rest(start, stop, place, text, wrong=True)
        else:
            yield from self.fields(evolve(_Fields.of(message), metadata=False), start, stop, inside)

    def _packed(self, element: Type, start: int, stop: int, place: Place) -> Iterator[Row]:
        """Elements of a fixed size, one after the other."""
        size = fixed_size(element) or 1
        whole = stop - (stop - start) % size
        shown = min(whole, start + MOST_ELEMENTS * size)
        for at in range(start, shown, size):
            yield from self.value(element, at, at + size, place)
        yield from self.rest(shown, whole, place, f"{(whole - shown) // size} more of {element}")
        if whole < stop:
            yield from self.rest(
                whole, stop, place, f"{stop - whole} trailing bytes are no whole {element}", wrong=True
            )

    def _counted(self, type_: Vec | Map, start: int, stop: int, place: Place) -> Iterator[Row]:
        """Elements of a Vec, or entries of a Map, each behind its length."""
        what = "entry" if isinstance(type_, Map) else "element"
        for index in range(MOST_ELEMENTS):
            first = start + LENGTH.size
            if start == stop:
                return
            if first > stop:
                yield from self.rest(start, stop, place, "trailing bytes are no whole length", wrong=True)
                return
            length: int = LENGTH.unpack_from(self._data, start)[0]
            start = first + length
            if start > stop:
                yield from self._overrun(first, stop, place, f"{what} {index}, length {length}")
                return
            yield self.row(first - LENGTH.size, first, place, f"{what} {index}, length {length}")
            if isinstance(type_, Map):
                yield from self.fields(_Fields.entry(type_), first, start, place.deeper())
            else:
                yield from self.value(type_.element, first, start, place.deeper())
        yield from self.rest(start, stop, place, "more of the same")

    def _leaf(self, type_: Type, start: int, stop: int, place: Place) -> Iterator[Row]:
        wrong = True
        try:
            text, wrong = _LEAVES[type(type_)](type_, self._data[start:stop]), False
        except Misfit as misfit:
            text = misfit.problem
        except UnicodeDecodeError as error:
            text = f"invalid UTF-8 at byte {start + error.start}"
        text = REDACTED if place.hidden and not wrong else text
        yield Row(start, self._data[start:stop], place.depth, text, wrong, place.hidden)


def _enum_text(enum: Any, data: bytes) -> str:
    number = SCALARS[enum.repr].decode(data, 0)
    name = enum.by_number.get(number)
    if name is None and not enum.open:
        raise Misfit(f"a closed {enum.name} has no such member")
    return f"{enum.name} {name or 'without a name'} ({number})"


_LEAVES: Final[Mapping[type, Any]] = {
    Scalar: lambda type_, data: f"{type_.name} {SCALARS[type_.name].decode(data, 0)!r}",
    EnumDef: _enum_text,
    ByteArray: lambda _, data: shorten(f"0x{data.hex()}"),
    Bytes: lambda _, data: shorten(f"0x{data.hex()}"),
    String: lambda _, data: shorten(repr(data.decode())),
}
"""Type of a type to what says what its bytes mean."""
