"""Connections for the fuzzer: however a stream is cut, it means the same, and ends in a documented error."""

import random
from collections.abc import Sequence
from typing import Any, Final

from mycelium.handle import core_protocol
from mycelium.wire.buffer import Batch
from mycelium.wire.connection import Connection, Core
from mycelium.wire.errors import ProtocolError
from mycelium.wire.frames import encode_frame
from mycelium.wire.state import Role, State
from random_wire import Values, World, chance, load, random_contract, seeded

__all__ = ["Cut", "answer_handshake", "check_stream", "cut", "generate_stream", "prepare_streams"]

MOST_FRAMES: Final = 12
Step = tuple[str, Any]
"""An event of a connection in a form that does not depend on how the stream was cut."""


class Cut(Exception):
    """A stream that means something else when it comes in other pieces."""


def prepare_streams() -> tuple[World, World]:
    """The core protocol and an application's messages, as things to draw from."""
    registry = core_protocol().registry
    core = World(registry.schema, registry, [registry.codec_of(name) for name in registry.schema.messages])
    return core, load(random_contract(seeded("streams")))


def generate_stream(
    worlds: Sequence[World], rng: random.Random, role: Role | None = None, *, opening: bool = True
) -> bytes:
    """What one side says: a role, mostly a proper beginning, then core and application frames in any order."""
    core, application = worlds
    role = rng.choice(list(Role)) if role is None else role
    frames = []
    if opening and chance(rng, 0.9):
        frames.append(_frame(core, "Hello" if role is Role.CLIENT else "Welcome", rng))
    for _ in range(rng.randrange(MOST_FRAMES)):
        world = rng.choice((core, application))
        frames.append(_frame(world, rng.choice(world.codecs).message.name, rng))
    return bytes([role is Role.BRIDGE]) + b"".join(frames)


def check_stream(_: object, data: bytes) -> str:
    """Fed whole, and in pieces of all sizes, a stream yields the same events and ends the same way."""
    if not data:
        return "empty"
    speaker = Role.BRIDGE if data[0] % 2 else Role.CLIENT
    stream = data[1:]
    whole = _replay(speaker, [stream])
    pieces = _replay(speaker, cut(stream))
    if whole != pieces:
        raise Cut(f"whole: {whole}\npieces: {pieces}")
    return f"{speaker.value}: {[kind for kind, _ in whole]}"


def _frame(world: World, name: str, rng: random.Random) -> bytes:
    codec = next(each for each in world.codecs if each.message.name == name)
    return encode_frame(codec.message.type_id, codec.encode(Values(world, rng).message(name)))


def cut(stream: bytes) -> list[bytes]:
    """Pieces that depend on nothing but the stream."""
    rng = seeded(stream.hex())
    pieces, start = [], 0
    while start < len(stream):
        stop = start + rng.choice((1, 1, 2, 5, 6, 7, 64, 1000))
        pieces.append(stream[start:stop])
        start = stop
    return pieces


def _replay(speaker: Role, pieces: Sequence[bytes]) -> list[Step]:
    """The events that the other side sees, answering a handshake as it should."""
    core = core_protocol()
    connection = Connection(speaker.peer, core, max_payload=100_000)
    if speaker is Role.BRIDGE:
        connection.send(core.Hello(protocol=1, client="fuzz"))
    steps: list[Step] = []
    try:
        for piece in (*pieces, b""):
            connection.receive_data(piece)
            while (event := connection.next_event()) is not None:
                steps += _steps(event)
                answer_handshake(connection, core, event)
    except ProtocolError as error:
        steps.append((f"refused: {error.code.reason}", error.problem))
    return steps


def _steps(event: Any) -> list[Step]:
    if isinstance(event, Batch):
        return [("frame", event.frame(index)) for index in range(len(event))]
    return [(type(event).__name__, event.to_bytes())]


def answer_handshake(connection: Connection, core: Core, event: Any) -> None:
    """Follow what the other side has said, so far as a handshake has to."""
    if type(event).__name__ == "Hello" and connection.state in (State.HELLO, State.CONTRACTS):
        facts = {"protocol": 1, "server": "fuzz", "session": 1, "schema_id": 1, "schema_version": 1}
        digest = bytes(32)
        connection.send(core.Welcome(**facts, schema_digest=digest, max_payload=100_000, heartbeat_ms=10_000))
    elif type(event).__name__ == "NeedContracts":
        connection.send(core.Hello(protocol=1, client="fuzz", contracts=b"{}"))
