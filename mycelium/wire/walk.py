"""The general walk over one message: any order of fields, any surprise, and the words for what is wrong.

It is written to be read, not to be fast, and it is the judge: whatever the compiled fast path does not recognise comes
here, whole, from the outermost message on. A `Misfit` that passes a message whose contract keeps values out of sight
loses every value on its way.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from functools import cache, cached_property
from typing import Any, Final, Protocol, final

from attrs import frozen

from mycelium.schema.model import MAX_NESTING, MISSING, Field, Message
from mycelium.schema.rules import checks
from mycelium.schema.values import from_json_value
from mycelium.wire.composite import value_codec
from mycelium.wire.errors import Misfit
from mycelium.wire.metadata import check_shape
from mycelium.wire.obedience import Checks, Visit, obey, rule_visit
from mycelium.wire.tlv import FIRST_METADATA_TAG, field, walk
from mycelium.wire.value import ValueCodec

__all__ = ["ATOMS", "FieldCodec", "MessageWalk", "Types"]

ATOMS: Final = (int, float, str, bytes)
"""Types whose values nobody can change, so that a default may be shared."""


class Walked(Protocol):
    """What the walk needs of a nested message's codec."""

    @property
    def walk(self) -> "MessageWalk":
        """Its walk."""


class Types(Protocol):
    """What gives out the classes and codecs of one generation."""

    def class_of(self, name: str) -> type:
        """The class of a message."""

    def enum_of(self, name: str) -> type[IntEnum]:
        """The class of an enum."""

    def codec_of(self, name: str) -> Any:
        """The codec of a message; asked for nothing before the first nested value is read or written."""


@frozen
class FieldCodec:
    """One field of a message, ready to be read and written."""

    field: Field
    value: ValueCodec
    absent: Callable[[], Any]
    """Gives the value of a field that is not there and need not be."""
    checks: Checks
    """Its rules."""


def _absent(one: Field, types: Types) -> Callable[[], Any]:
    if one.default is MISSING:
        return lambda: None
    default = from_json_value(one.type, one.default, types)
    return (lambda: default) if isinstance(default, ATOMS) else (lambda: from_json_value(one.type, one.default, types))


@final
class MessageWalk:
    """Reads, writes and checks the messages of one type."""

    def __init__(self, message: Message, cls: type, types: Types) -> None:
        self.message = message
        self.cls: Any = cls
        self.types = types
        self.codec_of: Final = cache(types.codec_of)
        """Codecs of nested messages; the same ones for as long as this one lives."""
        self.fields: Mapping[int, FieldCodec] = {
            tag: FieldCodec(one, value_codec(one.type, self._nested, types.enum_of), _absent(one, types), checks(one))
            for tag, one in message.by_tag.items()
        }
        """By tag, ascending."""
        self.ruled = tuple(tag for tag, one in self.fields.items() if one.checks)
        """Tags of the fields that have rules of their own."""
        self.value = ValueCodec(None, self._encode_nested, self._decode_nested, self._scan_nested)
        """The message as a value of another one."""

    def _nested(self, name: str) -> ValueCodec:
        nested: MessageWalk = self.codec_of(name).walk
        return nested.value

    @cached_property
    def rules(self) -> Visit | None:
        """Checks the rules of a message whose types fit, nested messages included; None if there are none.

        Not to be asked for while codecs are still being made: nested messages are looked at.
        """
        return rule_visit(self)

    def check_rules(self, message: Any) -> None:
        """The same as a plain call.

        Raises:
            Misfit: A value breaks a rule.
        """
        if self.rules is not None:
            self.rules(message)

    # --- writing -----------------------------------------------------------------------------------------------------

    def encode(self, message: Any, depth: int) -> bytes:
        """The payload of a message.

        Raises:
            Misfit: It is no such message, or a value does not fit its type.
        """
        if not isinstance(message, self.cls):
            raise Misfit(f"takes a {self.message.name}", message)
        try:
            return b"".join(self._parts(message, depth))
        except Misfit as misfit:
            self.conceal(misfit)
            raise

    def _parts(self, message: Any, depth: int) -> Iterator[bytes]:
        for tag, one in self.fields.items():
            value = getattr(message, one.field.name)
            if value is None and one.field.optional:
                continue
            try:
                yield field(tag, one.value.encode(value, depth))
            except Misfit as misfit:
                misfit.within("field", one.field.name)
                raise

    def _encode_nested(self, message: Any, depth: int) -> bytes:
        if depth >= MAX_NESTING:
            raise Misfit(f"nests deeper than {MAX_NESTING} messages")
        return self.encode(message, depth + 1)

    def conceal(self, misfit: Misfit) -> None:
        """Takes the values out of what is wrong where the contract keeps them out of sight."""
        if self.message.redacted:
            misfit.redacted()

    # --- reading -----------------------------------------------------------------------------------------------------

    def decode(self, payload: bytes, start: int, stop: int, depth: int, metadata: dict[int, bytes] | None) -> Any:
        """The message in `payload[start:stop]`; metadata of the outermost message goes into the dict.

        Raises:
            Misfit: There is no such message, or a value breaks a rule.
        """
        values = self._read(payload, start, stop, depth, metadata, keep=True)
        message: Any = self.cls.__draft__()
        for tag, one in self.fields.items():
            setattr(message, one.field.name, values[tag])
        message.__class__ = self.cls
        return message

    def scan(self, payload: bytes, start: int, stop: int, depth: int, metadata: dict[int, bytes] | None) -> None:
        """The same checks without making a message.

        Raises:
            Misfit: There is no such message, or a value breaks a rule.
        """
        self._read(payload, start, stop, depth, metadata, keep=False)

    def _decode_nested(self, payload: bytes, start: int, stop: int, depth: int) -> Any:
        self._check_depth(start, depth)
        return self.decode(payload, start, stop, depth + 1, None)

    def _scan_nested(self, payload: bytes, start: int, stop: int, depth: int) -> None:
        self._check_depth(start, depth)
        self.scan(payload, start, stop, depth + 1, None)

    def _check_depth(self, start: int, depth: int) -> None:
        if depth >= MAX_NESTING:
            raise Misfit(f"nests deeper than {MAX_NESTING} messages", offset=start)

    def _read(
        self, payload: bytes, start: int, stop: int, depth: int, metadata: dict[int, bytes] | None, *, keep: bool
    ) -> dict[int, Any]:
        """Values by tag; those that nobody asks for are None unless they are to be kept."""
        try:
            values: dict[int, Any] = {}
            places: dict[int, int] = {}
            for tag, first, last in self._spans(payload, start, stop):
                one = self.fields.get(tag)
                if one is not None:
                    places[tag] = first
                    values[tag] = _read_field(one, payload, first, last, depth, keep=keep)
                elif tag >= FIRST_METADATA_TAG and depth == 1:
                    check_shape(tag, last - first, first)
                    if metadata is not None:
                        metadata[tag] = payload[first:last]
            self._fill(values, stop)
            self._check_read(values, places, stop)
        except Misfit as misfit:
            self.conceal(misfit)
            raise
        return values

    def _spans(self, payload: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        try:
            yield from walk(payload, start, stop)
        except Misfit as misfit:
            if misfit.tag in self.fields:
                misfit.within("field", self.fields[misfit.tag].field.name)
            raise

    def _fill(self, values: dict[int, Any], stop: int) -> None:
        for tag, one in self.fields.items():
            if tag not in values:
                if one.field.required:
                    raise Misfit(f"is missing (tag {tag})", offset=stop).within("field", one.field.name)
                values[tag] = one.absent()

    def _check_read(self, values: Mapping[int, Any], places: Mapping[int, int], stop: int) -> None:
        for tag in self.ruled:
            one = self.fields[tag]
            try:
                obey(one.checks, values[tag])
            except Misfit as misfit:
                misfit.offset = places.get(tag, stop)
                misfit.within("field", one.field.name)
                raise


def _read_field(one: FieldCodec, payload: bytes, start: int, stop: int, depth: int, *, keep: bool) -> Any:
    try:
        if keep or one.checks:
            return one.value.decode(payload, start, stop, depth)
        one.value.scan(payload, start, stop, depth)
    except Misfit as misfit:
        misfit.within("field", one.field.name)
        raise
    return None
