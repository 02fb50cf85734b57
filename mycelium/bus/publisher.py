"""What is checked before anybody sees a message, the same on bus and client, and its way to a frame."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, final

from mycelium.bus.errors import UsageError
from mycelium.bus.monotonic import MonotonicGuard, monotonic_fields
from mycelium.handle import Contracts
from mycelium.schema.classes import Message
from mycelium.schema.registry import Entry, Registry
from mycelium.wire.codec import Codec
from mycelium.wire.errors import EncodeError, shorten
from mycelium.wire.frames import HARD_MAX_PAYLOAD, HEADER, encode_frame
from mycelium.wire.metadata import Metadata
from mycelium.wire.tracecontext import with_trace

__all__ = ["Publisher"]

_HEADER_SIZE: Final = HEADER.size
_REMEDY: Final = "take the type from the contracts that the bus or client was made with"


@final
class Publisher:
    """One publisher's messages: whose types they are, what their rules say, how large they may be.

    Args:
        contracts: Where its message types are from.
        max_payload: Bytes.
        as_structs: Whether messages end as structs, in whose room every value has to fit.

    Attributes:
        max_payload: See above.
        guard: Remembers what may not decrease.
    """

    def __init__(self, contracts: Contracts, max_payload: int = HARD_MAX_PAYLOAD, *, as_structs: bool = False) -> None:
        self.contracts = contracts
        self._publish_frame = _fitting if as_structs else _plain
        self.max_payload = max_payload
        self._registry = contracts.registry
        self.guard = MonotonicGuard(monotonic_fields(contracts.schema))
        self._frames: dict[type, Callable[[Message], bytes]] = {}
        """By class what `frame` does, as the newest generation has it."""

    def __repr__(self) -> str:
        return f"<Publisher on {self.contracts!r}>"

    def entry(self, message: object) -> Entry[Codec]:
        """The entry of a message's type.

        Raises:
            UsageError: It is no type of these contracts.
        """
        registry = self.contracts.registry
        if registry is not self._registry:
            self._keep_up(registry)
        entry: Entry[Codec] | None = getattr(type(message), "__mycelium__", None)
        if entry is None or registry.by_id.get(entry.message.type_id) is not entry:
            raise UsageError(self._not_ours(message))
        return entry

    def _not_ours(self, message: object) -> str:
        if isinstance(message, type) and issubclass(message, Message):
            return f"{message.__name__} is a class; publish a message of it, {message.__name__}(…)"
        if not isinstance(message, Message):
            return f"{shorten(repr(message))} is no message; construct one from the contracts"
        return f"{message!r} is not of {self.contracts!r}; {_REMEDY}"

    @property
    def monotonic(self) -> Mapping[int, tuple[str, ...]]:
        """Fields of the newest generation that must not decrease, by type id."""
        self._keep_up(self.contracts.registry)
        return self.guard.fields

    def _keep_up(self, registry: Registry[Codec]) -> None:
        """The contracts may have changed."""
        if registry is not self._registry:
            self._registry = registry
            self.guard.fields = monotonic_fields(registry.schema)
            self._frames.clear()

    def encode(self, message: Message, entry: Entry[Codec], extra: Metadata | None = None) -> bytes:
        """The frame of a message, its rules checked but for `monotonic`.

        Args:
            message: The message.
            entry: Of its type.
            extra: Metadata that goes along.

        Raises:
            EncodeError: A value does not fit its type, or the payload is too large.
            RuleError: A value breaks a rule.
        """
        frame = self._publish_frame(entry.codec)(message)
        if extra is not None:
            frame = encode_frame(entry.message.type_id, frame[HEADER.size :] + extra.encode())
        self._refuse_large(frame, entry.message.name)
        return frame

    def frame(self, message: Message) -> bytes:
        """The frame of a message that is being published now.

        Raises:
            UsageError: It is no type of these contracts.
            EncodeError: A value does not fit its type, or the payload is too large.
            RuleError: A value breaks a rule.
        """
        if self.contracts.registry is not self._registry:
            self._keep_up(self.contracts.registry)
        make = self._frames.get(message.__class__)
        if make is None:
            make = self._frames[message.__class__] = self._framer(self.entry(message))
        frame = make(message)
        if len(frame) - _HEADER_SIZE > self.max_payload:
            self._refuse_large(frame, message.__class__.__name__)
        return frame

    def traced_frame(self, message: Message, trace: bytes | None) -> bytes:
        """What `frame` gives, with a trace context; see there for errors."""
        frame = self.frame(message)
        if trace is not None:
            frame = with_trace(frame, trace)
            self._refuse_large(frame, type(message).__name__)
        return frame

    def _framer(self, entry: Entry[Codec]) -> Callable[[Message], bytes]:
        """What makes the frames of a type, with the checks that its contract asks for."""
        make = self._publish_frame(entry.codec)
        is_guarded = entry.message.type_id in self.guard.fields
        return partial(self._guarded, make, entry.message.name) if is_guarded else make

    def _guarded(self, make: Callable[[Message], bytes], name: str, message: Message) -> bytes:
        frame = make(message)
        self._refuse_large(frame, name)
        self.guard.check(message)
        return frame

    def _refuse_large(self, frame: bytes, name: str) -> None:
        size = len(frame) - HEADER.size
        if size > self.max_payload:
            problem = f"a payload of {size} bytes; the other side takes at most {self.max_payload}"
            raise EncodeError(name, None, problem)


def _plain(codec: Codec) -> Callable[[Message], bytes]:
    return codec.publish_frame


def _fitting(codec: Codec) -> Callable[[Message], bytes]:
    """The same for messages that have to fit into a struct, which is made later, from what is queued."""
    fits, frame = codec.rust.encode, codec.publish_frame

    def publish_frame(message: Message) -> bytes:
        fits(message)
        return frame(message)

    return publish_frame
