"""A running bridge for the fuzzer: whatever is said to it, it answers in its protocol, closes, and goes on."""

import atexit
import contextlib
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

from connection_wire import answer_handshake, cut, generate_stream
from mycelium.bench.process import Process, memory_bytes, started
from mycelium.handle import core_protocol
from mycelium.wire.buffer import Batch
from mycelium.wire.connection import Connection
from mycelium.wire.errors import ProtocolError
from mycelium.wire.state import Role
from random_wire import World, chance, load, random_contract, seeded

__all__ = ["Trouble", "check_talk", "generate_talk", "prepare_bridge"]

SECONDS: Final = 10.0
"""How long the bridge may take to end a connection whose client has ended it."""
LOOK_EVERY: Final = 200
"""Inputs after which somebody else asks whether the bridge is well."""
MOST_GROWTH: Final = 64 * 1024 * 1024
CHUNK: Final = 65536
TOKEN: Final = "fuzz-0123456789abcdef"  # noqa: S105  of a bridge that lives for a minute
FAULTS: Final = ("Traceback", "fault of the bridge", "never retrieved", "was destroyed")


class Trouble(Exception):
    """The bridge did what it must not."""


class Live:
    """A bridge process, with what it writes to its log."""

    def __init__(self) -> None:
        stack = contextlib.ExitStack()
        atexit.register(stack.close)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        text = random_contract(seeded("streams"))
        (folder / "contracts.yaml").write_text(text)
        self.path = f"{folder}/s"
        command = ["python", "-m", "mycelium", "serve", f"{folder}/contracts.yaml", "--listen", f"unix://{self.path}"]
        environment = {"MYCELIUM_TOKENS": f"fuzz: {TOKEN}"}
        self.process: Process = stack.enter_context(
            started("bridge", command, talks_on_stderr=True, env=environment, grace=0)
        )
        self.process.line_with("listening on")
        self.faults: deque[str] = deque(maxlen=20)
        threading.Thread(target=self._listen, daemon=True).start()
        registry = core_protocol().registry
        core = World(registry.schema, registry, [registry.codec_of(name) for name in registry.schema.messages])
        self.worlds = core, load(text)
        self.inputs = 0
        self.memory = memory_bytes(self.process) or 0

    def _listen(self) -> None:
        with contextlib.suppress(Exception):  # it ends with the process
            while True:
                line = self.process.line(3600)
                if any(sign in line for sign in FAULTS):
                    self.faults.append(line)

    def look(self) -> None:
        """Somebody else is served at once, and what was said before costs no memory.

        Raises:
            Trouble: Or not.
        """
        start = time.monotonic()
        hello = core_protocol().Hello(protocol=1, client="bystander")
        kinds = converse(
            self.path, [core_protocol().encode(hello), core_protocol().encode(core_protocol().Ping(nonce=7))]
        )
        if kinds[:2] != ["Welcome", "Pong"] or time.monotonic() - start > 1:
            raise Trouble(f"a bystander is told {kinds}, after {time.monotonic() - start:.2f} s")
        grown = (memory_bytes(self.process) or 0) - self.memory
        if grown > MOST_GROWTH:
            raise Trouble(f"the bridge has grown by {grown} bytes in {self.inputs} inputs")


def prepare_bridge() -> Live:
    """A bridge of its own."""
    return Live()


def generate_talk(live: Live, rng: Random) -> bytes:
    """What a client says; the first byte is whether it comes in pieces. Mostly it is let in, and gets what it says."""
    core, (_, application) = core_protocol(), live.worlds
    frames = []
    if chance(rng, 0.9):
        token = rng.choice((None, None, TOKEN, "wrong"))
        digest = bytes.fromhex(application.schema.digest) if chance(rng, 0.3) else None
        hello = core.Hello(
            protocol=1, client="fuzz", token=token, schema_digest=digest, want_contracts=chance(rng, 0.5)
        )
        frames.append(core.encode(hello))
    if chance(rng, 0.7):
        ids = [one.message.type_id for one in application.codecs]
        options = {"on_lag": rng.randrange(6), "queue": rng.randrange(1, 5), "group": rng.choice((None, "g"))}
        window = rng.choice((None, 1, 100))
        wish = core.Subscribe(request=1, subscription=1, type_ids=rng.choice(([], ids)), window=window, **options)
        frames.append(core.encode(wish))
    if chance(rng, 0.3):
        what = rng.choice(("info", "stats", "sessions", "reload", "x"))
        frames.append(core.encode(core.Query(request=2, what=what, body=rng.choice((None, b"{}", b"[")))))
    if chance(rng, 0.3):
        frames.append(core.encode(core.Confirm(enabled=True)))
    said = generate_stream(live.worlds, rng, Role.CLIENT, opening=False)[1:]
    return bytes([chance(rng, 0.3)]) + b"".join(frames) + said


def check_talk(live: Live, data: bytes) -> str:
    """Everything that the bridge answers is of its protocol, and then it closes; nothing is wrong in its log."""
    live.inputs += 1
    stream = data[1:]
    kinds = converse(live.path, cut(stream) if data[:1] != b"\0" else [stream])
    if live.inputs % LOOK_EVERY == 0:
        live.look()
    if live.faults:
        raise Trouble("\n".join(live.faults))
    return " ".join(dict.fromkeys(kinds))


def converse(path: str, pieces: Sequence[bytes]) -> list[str]:
    """Say all of it, and listen until the bridge has nothing more to say: what it said.

    Raises:
        Trouble: It does not end, or says what is not of its protocol.
    """
    connection = Connection(Role.CLIENT, core_protocol())
    connection.send(core_protocol().Hello(protocol=1, client="fuzz"))
    kinds: list[str] = []
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(path)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has heard enough
            for piece in pieces:
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
        try:
            while data := client.recv(CHUNK):
                connection.receive_data(data)
                kinds += heard(connection)
        except TimeoutError:
            raise Trouble(f"the connection has not ended after {SECONDS:g} s; it said {kinds}") from None
        except ConnectionResetError:
            kinds.append("reset")
        except ProtocolError as error:
            raise Trouble(f"the bridge breaks its protocol: {error}; it said {kinds}") from error
    return kinds


def heard(connection: Connection) -> list[str]:
    """The kinds of what came."""
    kinds = []
    while (event := connection.next_event()) is not None:
        kinds.append(kind_of(event))
        answer_handshake(connection, core_protocol(), event)
    return kinds


def kind_of(event: Any) -> str:
    """What distinguishes an outcome."""
    if isinstance(event, Batch):
        return "frames"
    return f"Error {event.code}" if type(event).__name__ == "Error" else type(event).__name__
