"""Structs of the Rust dialect for the fuzzer: streams cut anywhere, and payloads that every reader sees alike."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from connection_wire import Cut, cut
from mycelium.wire.errors import DecodeError, EncodeError, Misfit, ProtocolError
from mycelium.wire.rust import RustCodec, RustCodecs
from mycelium.wire.rustannotate import annotate_rust_frames
from mycelium.wire.rustframes import RustFrames, preamble
from random_wire import Values, World, chance, load, seeded

__all__ = ["check_structs", "generate_structs", "prepare_structs"]

ROOT: Final = Path(__file__).resolve().parent.parent
CONTRACTS: Final = 12
MOST_FRAMES: Final = 6
MOST_BYTES: Final = 1 << 16
FIXED: Final = ["u8", "i16", "u32", "i64", "f32", "f64", "bool", "U256", "Open", "Closed", "[u8; 3]", "[i16; 2]"]
COUNTED: Final = ["String", "bytes", "Vec<[u8; 3]>"]


def prepare_structs() -> list[tuple[World, RustCodecs]]:
    """Contracts of which every message has a layout; the first byte of an input picks one."""
    texts = [path.read_text() for path in sorted((ROOT / "tests" / "contracts").glob("*.yaml"))]
    texts += [_contract(seeded(f"structs {number}")) for number in range(CONTRACTS)]
    return [(world, RustCodecs(world.registry)) for world in map(load, texts)]


def _contract(rng: random.Random) -> str:
    enums = {
        "Open": {"enum": {"one": 1, "two": 2}, "repr": rng.choice(["u8", "i32"])},
        "Closed": {"enum": {"one": 1, "seven": 7}, "repr": rng.choice(["u8", "u16", "i64"]), "open": False},
    }
    names = [f"field{number}" for number in range(rng.randrange(8))]
    messages = {"A": {"tlv_type": 1000, "fields": {name: _field(rng) for name in names}}}
    return json.dumps({"types": enums, "messages": {**messages, "Empty": {"tlv_type": 1001, "fields": {}}}})


def _field(rng: random.Random) -> dict[str, Any]:
    spelling = rng.choice([*FIXED, *COUNTED])
    rule: dict[str, Any] = {}
    if spelling in COUNTED:
        rule = rng.choice([{}, {"min_length": 1}, {"max_length": 30}])
    elif spelling in {"u8", "i16"}:
        rule = rng.choice([{}, {"min": 1}, {"max": 100}])
    return {"type": spelling, "optional": chance(rng, 0.4), **({"validation": [rule]} if rule else {})}


def generate_structs(worlds: Sequence[tuple[World, RustCodecs]], rng: random.Random) -> bytes:
    """Some frames, now and then behind a preamble."""
    number = rng.randrange(len(worlds))
    world, codecs = worlds[number]
    frames = [preamble(rng.randbytes(32))] if chance(rng, 0.3) else []
    for _ in range(rng.randrange(1, MOST_FRAMES)):
        message = Values(world, rng).message(rng.choice(world.codecs).message.name)
        try:
            frames.append(codecs.encode_frame(message))
        except EncodeError:  # a value that has no room
            continue
    return bytes([number]) + b"".join(frames)


def check_structs(worlds: Sequence[tuple[World, RustCodecs]], data: bytes) -> str:
    """However a stream is cut its frames are the same; fast path and general walk agree on each of them."""
    if not data:
        return "empty"
    world, codecs = worlds[data[0] % len(worlds)]
    stream = data[1:]
    frames, digest, ending = _replay([stream])
    if (frames, digest, ending) != _replay(cut(stream)):
        raise Cut(f"{stream.hex()} gives other frames in pieces")
    if b"".join(row.data for row in annotate_rust_frames(stream, world.schema)) != stream:
        raise Cut("the annotation leaves bytes out")
    kinds = [_check_payload(codecs, type_id, payload) for type_id, payload in frames]
    return f"{data[0] % len(worlds)}: {digest is not None} {ending} {kinds}"


def _replay(pieces: Sequence[bytes]) -> tuple[list[tuple[int, bytes]], bytes | None, str]:
    stream, frames = RustFrames(MOST_BYTES), list[tuple[int, bytes]]()
    try:
        for piece in pieces:
            stream.feed(piece)
            while (batch := stream.take()) is not None:
                frames += ((type_id, batch.payload(index)) for index, type_id in enumerate(batch.type_ids))
    except ProtocolError as error:
        return frames, stream.digest, error.code.reason
    return frames, stream.digest, f"{len(stream) > 0}"


def _check_payload(codecs: RustCodecs, type_id: int, payload: bytes) -> str:
    if type_id not in codecs:
        return "unknown"
    codec = codecs.codec(type_id)
    for decode, walk in ((codec.decode, codec.walk.decode), (codec.decode_for_native, _for_native(codec))):
        if (found := _outcome(codec, decode, payload)) != (walked := _outcome(codec, walk, payload)):
            raise Cut(f"{codec}: {payload.hex()}: decode says {found}, the general walk {walked}")
    try:
        message = codec.decode(payload)
    except DecodeError as error:
        return error.rule or "refused"
    again = codec.encode(message)
    if again != codec.walk.encode(message) or codec.encode(codec.decode(again)) != again:
        raise Cut(f"{codec}: {again.hex()} is not stable")
    codec.native.decode(codecs.to_native(type_id, payload)[6:])
    return "message"


def _for_native(codec: RustCodec) -> Callable[[bytes], Any]:
    return lambda payload: codec.walk.decode(payload, for_native=True)


def _outcome(codec: RustCodec, decode: Callable[[bytes], Any], payload: bytes) -> str:
    """What comes of it, values that are kept out of sight included."""
    try:
        return repr(attrs.asdict(decode(payload), recurse=False))
    except DecodeError as error:
        return repr(error.args)
    except Misfit as misfit:
        found = misfit.path, misfit.problem, misfit.offset, misfit.rule, misfit.value
        return repr((codec.layout.message, *found))
