"""Maps as bytes: each entry behind its length, a TLV sequence with tag 1 the key and tag 2 the value, in dict order."""

from collections.abc import Callable, Container, Iterator
from struct import error as StructError  # noqa: N812  a class
from typing import Any, Final

from mycelium.wire.errors import Misfit, StepKind
from mycelium.wire.lists import elements
from mycelium.wire.scalars import is_a
from mycelium.wire.tlv import HEADER, HEADER_SIZE, LENGTH, field, length_of, walk
from mycelium.wire.value import ValueCodec

__all__ = ["KEY_TAG", "VALUE_TAG", "map_of"]

KEY_TAG: Final = 1
VALUE_TAG: Final = 2
Span = tuple[bytes, int, int]
"""Payload, start, stop."""


def map_of(key: ValueCodec, value: ValueCodec) -> ValueCodec:
    """`Map<K, V>`, a dict."""

    def encode(mapping: Any, depth: int) -> bytes:
        if not is_a(mapping, dict):
            raise Misfit("takes a dict", mapping)
        parts: list[bytes] = []
        for index, (name, content) in enumerate(mapping.items()):
            first = field(KEY_TAG, _within("entry", index, key.encode, name, depth))
            second = field(VALUE_TAG, _within("key", name, value.encode, content, depth))
            parts += LENGTH.pack(length_of(first + second)), first, second
        return b"".join(parts)

    def entries(span: Span, depth: int, seen: Container[Any]) -> Iterator[tuple[Any, int, int]]:
        """Each key, which is not among those seen, with start and stop of its value."""
        index = 0
        try:
            for begin, end in elements(*span):
                (first, last), value = _spans(span[0], begin, end)
                yield _new(key.decode(span[0], first, last, depth), seen, first), *value
                index += 1
        except Misfit as misfit:
            misfit.within("entry", index)
            raise

    def decode(payload: bytes, start: int, stop: int, depth: int) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        for name, first, last in entries((payload, start, stop), depth, mapping):
            mapping[name] = _within("key", name, value.decode, payload, first, last, depth)
        return mapping

    def scan(payload: bytes, start: int, stop: int, depth: int) -> None:
        seen: set[Any] = set()
        for name, first, last in entries((payload, start, stop), depth, seen):
            seen.add(name)
            _within("key", name, value.scan, payload, first, last, depth)

    return ValueCodec(None, encode, decode, scan)


def _within(kind: StepKind, step: object, call: Callable[..., Any], *args: Any) -> Any:
    try:
        return call(*args)
    except Misfit as misfit:
        misfit.within(kind, step)
        raise


def _new(name: Any, seen: Container[Any], offset: int) -> Any:
    if name in seen:
        raise Misfit("repeats a key", name, offset)
    return name


def _spans(payload: bytes, start: int, stop: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Start and stop of an entry's key and of its value."""
    try:
        tag, length = HEADER.unpack_from(payload, start)
        middle = start + HEADER_SIZE + length
        other, rest = HEADER.unpack_from(payload, middle)
    except StructError:
        tag = other = middle = rest = 0
    if tag == KEY_TAG and other == VALUE_TAG and middle + HEADER_SIZE + rest == stop:
        return (start + HEADER_SIZE, middle), (middle + HEADER_SIZE, stop)
    found = {tag: (first, last) for tag, first, last in walk(payload, start, stop) if tag <= VALUE_TAG}
    for tag, what in (KEY_TAG, "key"), (VALUE_TAG, "value"):
        if tag not in found:
            raise Misfit(f"has no {what} (tag {tag})", offset=stop)
    return found[KEY_TAG], found[VALUE_TAG]
