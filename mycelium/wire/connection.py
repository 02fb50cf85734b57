"""One connection as a state machine without I/O: bytes in, events out; messages in, bytes out.

The same class serves the client, the bridge and the tests:

    connection.receive_data(data)           # what the socket gave; b"" means that the stream ended
    while (event := connection.next_event()) is not None:
        ...                                 # a core message, or a Batch of application frames
    transport.write(connection.send(core.Ping(nonce=1)))
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias, final

from mycelium.schema.classes import Message
from mycelium.schema.registry import Registry
from mycelium.wire.buffer import Batch, FrameBuffer
from mycelium.wire.codec import Codec
from mycelium.wire.errors import DecodeError, ErrorCode, LocalProtocolError, ProtocolError
from mycelium.wire.frames import DEFAULT_MAX_PAYLOAD, FIRST_APPLICATION_ID, HARD_MAX_PAYLOAD, encode_frame
from mycelium.wire.state import HANDSHAKE, HANDSHAKE_ONLY, PAYLOAD_LIMITS, Role, State, is_fatal

__all__ = ["Connection", "Core", "Event"]

Event: TypeAlias = Message | Batch
_AMONG_MESSAGES: Final = ("Ping", "Pong", "Credit", "Flow", "Receipt")
"""What is said most while application messages flow. Its codecs are compiled before: that takes 1 ms for each."""
_OPEN: Final = State.OPEN
_CLOSED: Final = State.CLOSED
"""Looked up once: with each chunk they are asked for several times, and a member of an Enum costs a call."""


@final
class Core:
    """The core protocol's messages as attributes (`core.Hello`), made from the registry of core.yaml."""

    def __init__(self, registry: Registry[Codec]) -> None:
        self.registry = registry
        self.speakers: Mapping[str, object] = {
            name: message.extras.get("x-from") for name, message in registry.schema.messages.items()
        }
        for name in _AMONG_MESSAGES:
            registry.entries[name].equip()

    def __getattr__(self, name: str) -> Any:
        if name not in self.registry.entries:
            raise AttributeError(name)
        cls = self.registry.class_of(name)
        setattr(self, name, cls)
        return cls

    def may_send(self, role: Role, name: str) -> bool:
        """Whether a side may send a message at all."""
        return self.speakers[name] in (role.value, "both")

    def encode(self, message: Message) -> bytes:
        """A core message as a frame."""
        return encode_frame(message.TYPE_ID, message.to_bytes())


@final
class Connection:
    """A side of a connection.

    Args:
        role: Which side this is.
        core: The core protocol.
        max_payload: Bytes of the largest payload taken from the peer once the connection is open. A client takes what
            the bridge's Welcome says if that is more, since the bridge hands on what it takes.

    Attributes:
        role: See above.
        core: See above.
        max_payload: See above.
        state: How far the handshake has come.
        peer_said_goodbye: Whether the peer sends no more messages.
        is_drained: Whether `next_event` is known to have nothing to give; False says nothing.
    """

    def __init__(self, role: Role, core: Core, max_payload: int = DEFAULT_MAX_PAYLOAD) -> None:
        self.role = role
        self.core = core
        self.state = State.START
        self.max_payload = max_payload
        self.peer_said_goodbye = self.is_drained = False
        self._ended = False
        self._waiting: list[Batch] = []
        """Runs of frames that are whole and not looked at yet, the next one last."""
        self._buffer = FrameBuffer(max_payload)
        self._is_fed = False
        """Whether the buffer may have something."""
        self._limit_payloads()

    def __repr__(self) -> str:
        return f"<Connection {self.role.value} {self.state.value}, {len(self._buffer)} bytes buffered>"

    def receive_data(self, data: bytes) -> None:
        """Take what the socket gave; empty for the end of the stream. Once CLOSED it is thrown away."""
        self.is_drained = False
        if not data:
            self._ended = True
        elif self.state is _OPEN and not self._waiting and (whole := self._buffer.pass_whole(data)) is not None:
            self._waiting.append(whole)
            self._is_fed = False
        elif self.state is not _CLOSED:
            self._buffer.feed(data)
            self._is_fed = True

    def next_event(self) -> Event | None:
        """The next core message or batch of application frames; None where more bytes are needed.

        Raises:
            ProtocolError: The peer broke the protocol. Tell it with `fail`, then close: the stream cannot be trusted.
        """
        while (state := self.state) is not _CLOSED:
            if self._waiting:
                batch = self._waiting.pop()
            else:
                # Limits follow the state, so before OPEN one frame is looked at a time.
                taken = self._buffer.take() if state is _OPEN else self._buffer.take(1)
                if taken is None:
                    if self._ended:
                        self._at_end()
                    return None
                batch = taken
                if len(batch.type_ids) > 1:
                    self._waiting = _split(batch)
                    batch = self._waiting.pop()
            if state is _OPEN and batch.type_ids[0] >= FIRST_APPLICATION_ID and not self.peer_said_goodbye:
                self.is_drained = not (self._is_fed or self._waiting or self._ended)
                return batch
            event = self._receive(batch)
            if event is not None:
                return event
        return None

    def send(self, message: Message) -> bytes:
        """A core message as bytes for the socket.

        Raises:
            LocalProtocolError: This side may not say that now.
        """
        name = type(message).__name__
        if not self.core.may_send(self.role, name):
            raise LocalProtocolError(f"a {self.role.value} does not send {name}")
        if not self._advance(self.role, message, name):
            raise LocalProtocolError(f"{name} cannot be sent in state {self.state.value}")
        return self.core.encode(message)

    def fail(self, error: ProtocolError) -> bytes:
        """The fatal Error that tells the peer what it broke; empty where the connection is closed already."""
        if self.state is State.CLOSED:
            return b""
        return self.send(self.core.Error(code=error.code, message=error.problem, fatal=True))

    def close(self) -> None:
        """Go to CLOSED: nothing more is read or sent."""
        self.state = State.CLOSED
        self._waiting.clear()
        self._buffer.clear()

    def _at_end(self) -> None:
        """The stream has ended, and everything before was looked at."""
        torn = len(self._buffer)
        if torn:
            raise ProtocolError(ErrorCode.PROTOCOL, f"the stream ended inside a frame, after {torn} bytes of it")
        self.close()

    def _receive(self, batch: Batch) -> Event | None:
        if batch.type_ids[0] >= FIRST_APPLICATION_ID:
            self._refuse_untimely(batch)
            return batch
        message = self._decode(batch)
        if message is None:
            return None
        name = type(message).__name__
        peer = self.role.peer
        if not self.core.may_send(peer, name):
            raise ProtocolError(ErrorCode.PROTOCOL, f"a {peer.value} does not send {name}")
        if not self._advance(peer, message, name):
            raise ProtocolError(ErrorCode.PROTOCOL, f"{name} in state {self.state.value}")
        return message

    def _refuse_untimely(self, batch: Batch) -> None:
        if self.state is not _OPEN:
            raise ProtocolError(ErrorCode.PROTOCOL, f"a message (type id {batch.type_ids[0]}) before Welcome")
        if self.role is Role.BRIDGE:
            raise ProtocolError(ErrorCode.PROTOCOL, "a message after Goodbye")

    def _decode(self, batch: Batch) -> Message | None:
        """The core message of a single frame; None for one that this version does not know."""
        type_id = batch.type_ids[0]
        if type_id == 0:
            raise ProtocolError(ErrorCode.PROTOCOL, "a frame of type id 0")
        entry = self.core.registry.by_id.get(type_id)
        if entry is None:
            if self.state is not State.OPEN:
                raise ProtocolError(ErrorCode.PROTOCOL, f"a core message of unknown type {type_id} before Welcome")
            return None
        try:
            return entry.decode(batch.payload(0))
        except DecodeError as error:
            raise ProtocolError(ErrorCode.PROTOCOL, str(error)) from error

    def _advance(self, speaker: Role, message: Any, name: str) -> bool:
        """Follow the state that a message leads to; False where it is not allowed."""
        if self.state is State.CLOSED:
            return False
        if name == "Goodbye":
            self.peer_said_goodbye |= speaker is not self.role
            return True
        if name == "Error" and is_fatal(message):
            self.close()
            return True
        if self.state is State.OPEN:
            return name not in HANDSHAKE_ONLY
        state = HANDSHAKE.get((self.state, speaker, name))
        if state is None:
            return False
        self.state = state
        if name == "Welcome" and self.role is Role.CLIENT:
            self.max_payload = max(self.max_payload, min(message.max_payload, HARD_MAX_PAYLOAD))
        self._limit_payloads()
        return True

    def _limit_payloads(self) -> None:
        limited = self.role is Role.BRIDGE
        self._buffer.max_payload = PAYLOAD_LIMITS.get(self.state, self.max_payload) if limited else self.max_payload


def _split(batch: Batch) -> list[Batch]:
    """Runs of application frames and single core frames, the first one last."""
    ids = batch.type_ids
    if (ids[0] if batch.is_even else min(ids)) >= FIRST_APPLICATION_ID:
        return [batch]
    parts: list[Batch] = []
    start = 0
    for index, type_id in enumerate(ids):
        if type_id < FIRST_APPLICATION_ID:
            if start < index:
                parts.append(batch.part(start, index))
            parts.append(batch.part(index, index + 1))
            start = index + 1
    if start < len(ids):
        parts.append(batch.part(start, len(ids)))
    parts.reverse()
    return parts
