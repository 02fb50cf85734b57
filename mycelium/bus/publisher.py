"""What is checked before anybody sees a message, the same on bus and client, and its way to a frame."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeAlias, final

from mycelium.bus.errors import UsageError
from mycelium.bus.monotonic import MonotonicGuard, monotonic_fields
from mycelium.handle import Contracts
from mycelium.schema.classes import Message
from mycelium.schema.registry import Entry, Registry
from mycelium.wire.codec import Codec, PublishRun
from mycelium.wire.errors import EncodeError, shorten
from mycelium.wire.frames import HARD_MAX_PAYLOAD, HEADER, encode_frame
from mycelium.wire.metadata import Metadata
from mycelium.wire.tracecontext import with_trace

__all__ = ["Framer", "Publisher"]

Framer: TypeAlias = Callable[[Message], bytes]
"""Makes the frame of a message."""
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
        registry: The generation that it goes by.
        lineage: Whose `current` is another one as soon as there is one; contracts themselves are slow to ask.
        framers: By class what makes the frames of its messages; see `framer`.
        runners: By class what makes those of messages that follow each other; see `runner`.
    """

    def __init__(self, contracts: Contracts, max_payload: int = HARD_MAX_PAYLOAD, *, as_structs: bool = False) -> None:
        self.contracts = contracts
        self._publish_frame = _fitting if as_structs else _plain
        self._as_structs = as_structs
        self.max_payload = max_payload
        self.registry = contracts.registry
        self.lineage = self.registry.lineage
        self.guard = MonotonicGuard(monotonic_fields(contracts.schema))
        self.framers: dict[type, Framer] = {}
        self.runners: dict[type, PublishRun | None] = {}

    def __repr__(self) -> str:
        return f"<Publisher on {self.contracts!r}>"

    def entry(self, message: object) -> Entry[Codec]:
        """The entry of a message's type.

        Raises:
            UsageError: It is no type of these contracts.
        """
        entry = self._find(message)
        if entry is None:
            raise UsageError(self._not_ours(message))
        return entry

    def _find(self, message: object) -> Entry[Codec] | None:
        registry = self.keep_up()
        entry: Entry[Codec] | None = getattr(type(message), "__mycelium__", None)
        return entry if entry is not None and registry.by_id.get(entry.message.type_id) is entry else None

    def _not_ours(self, message: object) -> str:
        if isinstance(message, type) and issubclass(message, Message):
            return f"{message.__name__} is a class; publish a message of it, {message.__name__}(…)"
        if not isinstance(message, Message):
            return f"{shorten(repr(message))} is no message; construct one from the contracts"
        return f"{message!r} is not of {self.contracts!r}; {_REMEDY}"

    @property
    def monotonic(self) -> Mapping[int, tuple[str, ...]]:
        """Fields of the newest generation that must not decrease, by type id."""
        self.keep_up()
        return self.guard.fields

    def keep_up(self) -> Registry[Codec]:
        """Go over to the newest generation, if it is another one; it."""
        if self.lineage.current is not self.registry and self.contracts.registry is not self.registry:
            self.registry = self.contracts.registry
            self.guard.fields = monotonic_fields(self.registry.schema)
            self.framers.clear()
            self.runners.clear()
        return self.registry

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
        self.refuse_large(frame, entry.message.name)
        return frame

    def frame(self, message: Message, trace: bytes | None = None) -> bytes:
        """The frame of a message that is being published now, with a trace context if there is one.

        Raises:
            UsageError: It is no type of these contracts.
            EncodeError: A value does not fit its type, or the payload is too large.
            RuleError: A value breaks a rule.
        """
        frame = self.framer(message)(message)
        if trace is not None:
            frame = with_trace(frame, trace)
        self.refuse_large(frame, type(message).__name__)
        return frame

    def framer(self, message: Message) -> Framer:
        """What makes the frames of a message's class, with the checks that its contract asks for, but for the size.

        Raises:
            UsageError: It is no type of these contracts.
        """
        if self.lineage.current is not self.registry:
            self.keep_up()
        make = self.framers.get(message.__class__)
        if make is None:
            make = self.framers[message.__class__] = self._framer(self.entry(message))
        return make

    def runner(self, message: Message) -> PublishRun | None:
        """What makes the frames of messages of the class of one that is published, one after the other.

        None where there is more to do for each than that, or where the contracts became others meanwhile.
        """
        cls = message.__class__
        if cls not in self.runners:
            entry, run = self._find(message), None
            if entry is not None and not self._as_structs and entry.message.type_id not in self.guard.fields:
                run = entry.codec.publish_run
            self.runners[cls] = run
        return self.runners[cls]

    def _framer(self, entry: Entry[Codec]) -> Framer:
        make = self._publish_frame(entry.codec)
        is_guarded = entry.message.type_id in self.guard.fields
        return partial(self._guarded, make, entry.message.name) if is_guarded else make

    def _guarded(self, make: Framer, name: str, message: Message) -> bytes:
        frame = make(message)
        self.refuse_large(frame, name)
        self.guard.check(message)
        return frame

    def refuse_large(self, frame: bytes, name: str, more: int = 0) -> None:
        """Raise an EncodeError if the payload is too large, with so many bytes more that it does not have yet."""
        size = len(frame) - HEADER.size + more
        if size > self.max_payload:
            problem = f"a payload of {size} bytes; the other side takes at most {self.max_payload}"
            raise EncodeError(name, None, problem)


def _plain(codec: Codec) -> Framer:
    return codec.publish_frame


def _fitting(codec: Codec) -> Framer:
    """The same for messages that have to fit into a struct, which is made later, from what is queued."""
    fits, frame = codec.rust.encode, codec.publish_frame

    def publish_frame(message: Message) -> bytes:
        fits(message)
        return frame(message)

    return publish_frame
