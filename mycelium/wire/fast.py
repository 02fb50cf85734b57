"""The fast path of one message: what nearly every message and payload looks like, compiled; the rest is handed over."""

from collections.abc import Callable
from functools import cache
from typing import Any

from attrs import frozen

from mycelium.schema.model import MAX_NESTING
from mycelium.wire.bulk import Surprise
from mycelium.wire.composite import value_codec
from mycelium.wire.metadata import check_shape
from mycelium.wire.reading import decode_function, verify_function
from mycelium.wire.shapes import Slot, shape
from mycelium.wire.source import Function, Scope
from mycelium.wire.tlv import FIRST_METADATA_TAG, walk
from mycelium.wire.value import Nested, ValueCodec
from mycelium.wire.walk import MessageWalk, Types
from mycelium.wire.writing import check_function, encode_function

__all__ = ["FastPath", "compile_fast_path"]


@frozen
class FastPath:
    """Functions of a message; those called from the fast path of an outer one get a `depth` above 1."""

    encode: Function
    check: Function
    decode: Function
    verify: Function


def compile_fast_path(walk: MessageWalk, fallback: FastPath) -> FastPath:
    """The functions of a message.

    Args:
        walk: What is known of the message.
        fallback: What decides where the fast path meets a surprise. At a depth above 1 it has to raise `Surprise`: the
            outermost message is walked as a whole, so that a hostile payload is walked once and not once per level.
    """
    message, types = walk.message, walk.types
    nested, tail = _nested(types), _tail(frozenset(walk.fields))

    def slots(scope: Scope) -> list[Slot]:
        shapes = (
            shape(one.field.type, value_codec(one.field.type, nested, types.enum_of), types.enum_of, scope)
            for one in walk.fields.values()
        )
        return [Slot(*each, number) for number, each in enumerate(zip(walk.fields.values(), shapes, strict=True))]

    def compiled(make: Callable[..., Function], instead: Function, **more: Any) -> Function:
        scope = Scope()
        return make(message.name, slots(scope), scope, instead, **more)

    return FastPath(
        encode=compiled(encode_function, fallback.encode),
        check=compiled(check_function, fallback.check),
        decode=compiled(decode_function, fallback.decode, tail=tail, cls=walk.cls),
        verify=compiled(verify_function, fallback.verify, tail=tail),
    )


def _nested(types: Types) -> Nested:
    """Value codecs of messages that go through the fast path of those."""
    codec_of = cache(types.codec_of)

    def of(name: str) -> ValueCodec:
        def encode(value: Any, depth: int) -> Any:
            codec = codec_of(name)
            if depth >= MAX_NESTING or type(value) is not codec.cls:
                raise Surprise
            return codec.encode(value, depth + 1)

        def decode(payload: bytes, start: int, stop: int, depth: int) -> Any:
            if depth >= MAX_NESTING:
                raise Surprise
            return codec_of(name).decode(payload[start:stop], None, depth + 1)

        def scan(payload: bytes, start: int, stop: int, depth: int) -> None:
            if depth >= MAX_NESTING:
                raise Surprise
            codec_of(name).verify(payload[start:stop], depth + 1)

        return ValueCodec(None, encode, decode, scan)

    return cache(of)


def _tail(known: frozenset[int]) -> Function:
    """What walks unknown fields and metadata behind the last field."""

    def tail(payload: bytes, start: int, metadata: dict[int, bytes] | None, depth: int) -> None:
        if start > len(payload):
            raise Surprise
        for tag, first, last in walk(payload, start, len(payload)):
            if tag in known:
                raise Surprise
            if tag >= FIRST_METADATA_TAG and depth == 1:
                check_shape(tag, last - first)
                if metadata is not None:
                    metadata[tag] = payload[first:last]

    return tail
