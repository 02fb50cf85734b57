"""The fast path of one message: what nearly every message and payload looks like, compiled; the rest is handed over."""

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Any, Final, NoReturn, final

from mycelium.schema.model import MAX_NESTING
from mycelium.wire.bulk import Surprise
from mycelium.wire.composite import value_codec
from mycelium.wire.metadata import METADATA_SIZES
from mycelium.wire.reading import decode_function, verify_function
from mycelium.wire.ruling import rules_function
from mycelium.wire.runs import decode_run_function, verify_run_function
from mycelium.wire.sending import publish_run_function
from mycelium.wire.shapes import Slot, shape
from mycelium.wire.source import Function, Scope
from mycelium.wire.tlv import FIRST_METADATA_TAG, HEADER, HEADER_SIZE
from mycelium.wire.value import Nested, ValueCodec
from mycelium.wire.walk import MessageWalk
from mycelium.wire.writing import check_function, check_lines, encode_function

__all__ = ["FastPath", "Inner"]

_HEADER_AT: Final = HEADER.unpack_from


@final
class FastPath:
    """Compiles the functions of a message, each when it is asked for.

    Every one gets a fallback, which decides where the fast path meets a surprise. Those of `Inner` are called from the
    fast path of an outer message.
    """

    def __init__(self, message: MessageWalk) -> None:
        self._walk: Final = message
        self._nested: Final = _nested(message.codec_of)
        self._tail: Final = _tail(frozenset(message.fields))

    @property
    def _name(self) -> str:
        return self._walk.message.name

    def _slots(self, scope: Scope) -> list[Slot]:
        slots = []
        for number, one in enumerate(self._walk.fields.values()):
            codec = value_codec(one.field.type, self._nested, self._walk.types.enum_of)
            slots.append(Slot(one, shape(one.field.type, codec, self._walk.types.enum_of, scope), number))
        return slots

    def encode(self, fallback: Function, *, is_inner: bool = False) -> Function:
        """`encode(message)`."""
        return encode_function(self._name, self._slots(scope := Scope()), scope, fallback, is_inner=is_inner)

    def encode_frame(self, fallback: Function, *, is_ruled: bool = False) -> Function:
        """`encode_frame(message)`; on request for values that obey the rules of their own fields only."""
        slots, type_id = self._slots(scope := Scope()), self._walk.message.type_id
        return encode_function(self._name, slots, scope, fallback, frame_of=type_id, is_ruled=is_ruled)

    def publish_run(self, *, is_ruled: bool) -> Function:
        """`publish_run(messages, …)`, see `Codec`."""
        slots, walk = self._slots(scope := Scope()), self._walk
        return publish_run_function(slots, scope, walk.cls, self._name, walk.message.type_id, is_ruled=is_ruled)

    def check(self, fallback: Function) -> Function:
        """`check(message)`."""
        return check_function(self._name, self._slots(scope := Scope()), scope, fallback)

    def checked(self, source: str, names: Mapping[str, object], check: Function, *, is_ruled: bool) -> Function:
        """The function of a source that calls `check(message)`, which is written in unless it knows rules too."""
        before, call, after = source.partition("check(message)")
        scope = Scope()
        lines = [call] if is_ruled else check_lines(self._slots(scope), scope, check)
        scope.names.update(names, check=check)
        margin = before[before.rindex("\n") :]
        return scope.compile(f"{before}{margin.join(lines)}{after}", source[4 : source.index("(")], self._name)

    def check_rules(self, fallback: Function) -> Function:
        """`check_rules(message)`, for a message without others inside."""
        return rules_function(self._name, self._slots(scope := Scope()), scope, fallback)

    def decode(self, fallback: Function, *, is_inner: bool = False) -> Function:
        """`decode(payload, metadata=None)`."""
        slots, tail, cls = self._slots(scope := Scope()), self._tail, self._walk.cls
        return decode_function(self._name, slots, scope, fallback, tail=tail, cls=cls, is_inner=is_inner)

    def verify(self, fallback: Function, *, is_inner: bool = False) -> Function:
        """`verify(payload)`."""
        slots = self._slots(scope := Scope())
        return verify_function(self._name, slots, scope, fallback, tail=self._tail, is_inner=is_inner)

    def decode_run(self) -> Function:
        """`decode_run(data, bounds)`."""
        return decode_run_function(self._slots(scope := Scope()), scope, self._walk)

    def verify_run(self) -> Function:
        """`verify_run(data, bounds)`."""
        return verify_run_function(self._slots(scope := Scope()), scope, self._walk)


@final
class Inner:
    """The functions of a message inside others: `encode(message, depth)`, `decode(payload, depth)`, `verify` likewise.

    Where they meet a surprise they raise `Surprise`: the outermost message is walked as a whole, so that a hostile
    payload is walked once and not once per level.
    """

    def __init__(self, path: FastPath) -> None:
        self._path: Final = path

    @cached_property
    def encode(self) -> Function:
        """The payload."""
        return self._path.encode(_give_up, is_inner=True)

    @cached_property
    def decode(self) -> Function:
        """The message."""
        return self._path.decode(_give_up, is_inner=True)

    @cached_property
    def verify(self) -> Function:
        """What `decode` checks."""
        return self._path.verify(_give_up, is_inner=True)


def _give_up(_: object, __: int) -> NoReturn:
    raise Surprise


def _nested(codec_of: Callable[[str], Any]) -> Nested:
    """Value codecs of messages that go through the fast path of those."""

    def of(name: str) -> ValueCodec:
        def encode(value: Any, depth: int) -> Any:
            codec = codec_of(name)
            if depth >= MAX_NESTING or type(value) is not codec.cls:
                raise Surprise
            return codec.inner.encode(value, depth + 1)

        def decode(payload: bytes, start: int, stop: int, depth: int) -> Any:
            if depth >= MAX_NESTING:
                raise Surprise
            return codec_of(name).inner.decode(payload[start:stop], depth + 1)

        def scan(payload: bytes, start: int, stop: int, depth: int) -> None:
            if depth >= MAX_NESTING:
                raise Surprise
            codec_of(name).inner.verify(payload[start:stop], depth + 1)

        return ValueCodec(None, encode, decode, scan)

    return cache(of)


def _tail(known: frozenset[int]) -> Function:
    """What walks unknown fields and metadata behind the last field, in ascending order and so without duplicates."""

    def tail(payload: bytes, start: int, metadata: dict[int, bytes] | None, depth: int) -> None:
        last, size = 0, len(payload)
        while start != size:
            tag, length = _HEADER_AT(payload, start)  # where it cannot, the general walk says why
            value = start + HEADER_SIZE
            start = value + length
            if tag <= last or tag in known or start > size:
                raise Surprise
            if tag >= FIRST_METADATA_TAG and depth == 1:
                if METADATA_SIZES.get(tag, length) != length:
                    raise Surprise
                if metadata is not None:
                    metadata[tag] = payload[value:start]
            last = tag

    return tail
