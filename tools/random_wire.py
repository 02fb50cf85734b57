"""Random contracts, values and bytes for the wire, all of them from a `random.Random`; imported by the fuzzer."""

import json
import random
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mycelium.schema.model import (
    INTEGERS,
    Array,
    ByteArray,
    Bytes,
    EnumDef,
    Map,
    MessageRef,
    Scalar,
    Schema,
    String,
    Type,
    Vec,
)
from mycelium.schema.parse import parse_text
from mycelium.schema.registry import Registry
from mycelium.wire.codec import Codec, compile_codec

DEEPEST: Final = 3
"""Types and messages inside each other, as far as they are drawn."""


def seeded(seed: str) -> random.Random:
    """A source of the same numbers for the same seed."""
    return random.Random(seed)  # noqa: S311  inputs of a test, no secrets


def chance(rng: random.Random, share: float) -> bool:
    """Yes in that share of cases."""
    return rng.random() < share


# --- contracts and values --------------------------------------------------------------------------------------------

FIXED: Final = [
    *INTEGERS,
    "f32",
    "f64",
    "bool",
    "Open",
    "Closed",
    "[u8; 3]",
    "[i16; 2]",
    "[[bool; 2]; 2]",
    "[Closed; 2]",
]
KEYS: Final = ["u8", "i64", "U256", "bool", "Closed", "Open", "String", "[u8; 2]"]
MESSAGES: Final = ["A", "B", "C"]


def random_type(rng: random.Random, depth: int = 0) -> str:
    """The spelling of a type."""
    if depth == DEEPEST or chance(rng, 0.6):
        return rng.choice(FIXED) if chance(rng, 0.7) else rng.choice(["String", "bytes"])
    inner = rng.choice(MESSAGES) if chance(rng, 0.3) else random_type(rng, depth + 1)
    return f"Vec<{inner}>" if chance(rng, 0.5) else f"Map<{rng.choice(KEYS)}, {inner}>"


def random_field(rng: random.Random, tag: int, number: int) -> dict[str, Any]:
    """A field of message `number`, which holds later messages directly and others only if it need not."""
    later = MESSAGES[number + 1 :]
    spelling = rng.choice(later) if later and chance(rng, 0.2) else random_type(rng)
    made: dict[str, Any] = {"type": spelling, "tag": tag}
    if chance(rng, 0.4):
        made["optional"] = True
    if spelling in INTEGERS and chance(rng, 0.3):
        made["default"] = 7
    if spelling in INTEGERS and chance(rng, 0.2):
        made["validation"] = [{"max": 100}]
    if spelling == "String" and chance(rng, 0.2):
        made["validation"] = [{"max_length": 5}]
    return made


def random_contract(rng: random.Random) -> str:
    """The text of a contracts file."""
    enums = {
        "Open": {"enum": {"one": 1, "two": 2}, "repr": rng.choice(["u8", "i32", "u128"])},
        "Closed": {"enum": {"zero": 0, "seven": 7}, "repr": rng.choice(["u8", "u16", "i64"]), "open": False},
    }
    messages = {}
    for number, name in enumerate(MESSAGES):
        tags = sorted(rng.sample(range(1, 30), rng.randrange(1, 8)), key=lambda _: rng.random())
        fields = {f"field{tag}": random_field(rng, tag, number) for tag in tags}
        messages[name] = {"tlv_type": 1000 + number, "fields": fields}
    return json.dumps({"types": enums, "messages": messages})


@dataclass
class World:
    """A contracts file at work."""

    schema: Schema
    registry: Registry[Codec]
    codecs: list[Codec]


def _no_pickle(*_: object) -> NoReturn:
    raise NotImplementedError


def load(text: str) -> World:
    """Loads the text of a contracts file."""
    schema = parse_text(text)
    registry: Registry[Codec] = Registry.first(schema, compile_codec, _no_pickle)
    return World(schema, registry, [registry.codec_of(name) for name in schema.messages])


class Values:
    """Makes values of any type."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng

    def message(self, name: str, depth: int = 1) -> Any:
        """A message."""
        fields = self._world.schema.messages[name].fields
        given = {
            one.name: self.value(one.type, depth)
            for one in fields
            if one.required or (depth <= DEEPEST and chance(self._rng, 0.6))
        }
        return self._world.registry.class_of(name)(**given)

    def value(self, type_: Type, depth: int) -> Any:
        """A value."""
        rng = self._rng
        match type_:
            case Scalar(name):
                return self._scalar(name)
            case String():
                return "".join(rng.choice("aé🍄\0 ") for _ in range(rng.randrange(7)))
            case Bytes():
                return rng.randbytes(rng.randrange(7))
            case ByteArray(length):
                return rng.randbytes(length)
            case EnumDef():
                return rng.choice(list(type_.members.values()))
            case Array(element, length):
                return [self.value(element, depth) for _ in range(length)]
            case Vec(element):
                return [self.value(element, depth) for _ in range(self._count(depth))]
            case Map(key, inner):
                return {self.value(key, depth): self.value(inner, depth) for _ in range(self._count(depth))}
            case MessageRef(name):
                return self.message(name, depth + 1)

    def _count(self, depth: int) -> int:
        return self._rng.randrange(4) if depth <= DEEPEST else 0

    def _scalar(self, name: str) -> Any:
        rng = self._rng
        if name == "bool":
            return chance(rng, 0.5)
        if name in INTEGERS:
            low, high = INTEGERS[name]
            return rng.choice([low, high, 0, 1, 100, rng.randint(low, high)])
        return rng.choice([0.0, -0.0, 1.5, float("inf"), float("nan"), rng.randrange(-1000, 1000) / 8])


# --- mutation --------------------------------------------------------------------------------------------------------

NUMBERS: Final = (0, 1, 2, 6, 7, 127, 128, 255, 0xEFFF, 0xF000, 0xFF02, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)


def mutate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Bytes that are nearly the first ones; the other ones are a quarry."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.randrange(1, 12))
        start = rng.randrange(len(other) + 1)
        rng.choice(MUTATIONS)(changed, at, end, other[start : start + rng.randrange(40)], rng)
    return bytes(changed)


def _flip(data: bytearray, at: int, _end: int, _piece: bytes, rng: random.Random) -> None:
    if at < len(data):
        data[at] ^= 1 << rng.randrange(8)


def _number(data: bytearray, at: int, _end: int, _piece: bytes, rng: random.Random) -> None:
    shape = rng.choice(["<B", "<H", "<I"])
    size = struct.calcsize(shape)
    data[at : at + size] = struct.pack(shape, rng.choice(NUMBERS) % 256**size)


def _insert(data: bytearray, at: int, _end: int, piece: bytes, _rng: random.Random) -> None:
    data[at:at] = piece


def _replace(data: bytearray, at: int, end: int, piece: bytes, _rng: random.Random) -> None:
    data[at:end] = piece[: end - at]


def _double(data: bytearray, at: int, end: int, _piece: bytes, _rng: random.Random) -> None:
    data[at:at] = data[at:end]


def _cut(data: bytearray, at: int, end: int, _piece: bytes, _rng: random.Random) -> None:
    del data[at:end]


def _truncate(data: bytearray, at: int, _end: int, _piece: bytes, _rng: random.Random) -> None:
    del data[at:]


def _noise(data: bytearray, at: int, end: int, _piece: bytes, rng: random.Random) -> None:
    data[at:end] = rng.randbytes(end - at)


MUTATIONS: Final = (_flip, _number, _number, _insert, _replace, _double, _cut, _truncate, _noise)
