"""The codec of a message, compiled once per generation: a fast path for most messages, the general walk for the rest.

The fast path never words an error and never decides that something is one. Where it meets anything that it was not
made for it hands the whole message over, and the walk returns a value or says what is wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, final

from mycelium.schema.errors import RuleError
from mycelium.schema.model import Message, fixed_size, messages_in
from mycelium.wire.errors import DecodeError, EncodeError, Misfit
from mycelium.wire.fast import FastPath, Inner
from mycelium.wire.frames import encode_frame
from mycelium.wire.tlv import HEADER_SIZE
from mycelium.wire.walk import MessageWalk, Types

if TYPE_CHECKING:
    from mycelium.wire.rust import RustCodec

__all__ = ["Codec", "PublishRun", "Types", "compile_codec"]

PublishRun: TypeAlias = Callable[..., tuple[Any, ...] | None]
"""See `Codec.publish_run`."""


@final
class Codec:
    """Messages of one type to payloads and back.

    The functions are plain ones, so a call costs one lookup; each is compiled when it is first asked for.
    """

    def __init__(self, message: Message, cls: type, types: Types) -> None:
        self.message: Final = message
        self.cls: Final = cls
        self.walk: Final = MessageWalk(message, cls, types)
        self.fixed_size: Final = _payload_size(message)
        """Bytes of every canonical payload where all fields are of fixed size and required, else None."""
        self._fast: Final = FastPath(self.walk)
        self._checked: dict[str, Callable[..., Any]] = {}

    def __repr__(self) -> str:
        return f"<Codec {self.message.name} ({self.message.type_id})>"

    @cached_property
    def encode(self) -> Callable[..., bytes]:
        """`encode(message)`: the payload. Types are checked, rules are not.

        Raises:
            EncodeError: A value does not fit its type.
        """
        return self._fast.encode(self._encode)

    @cached_property
    def encode_frame(self) -> Callable[..., bytes]:
        """`encode_frame(message)`: the payload and the header of a frame in front, made in one go.

        Raises:
            EncodeError: A value does not fit its type.
        """
        return self._fast.encode_frame(self._encode_frame)

    @cached_property
    def publish_frame(self) -> Callable[..., bytes]:
        """`publish_frame(message)`: what `encode_frame` gives, for a message that obeys its rules.

        Raises:
            EncodeError: A value does not fit its type.
            RuleError: A value breaks a rule.
        """
        if self.walk.rules is None:
            return self.encode_frame
        return (
            self._publish_frame if self._holds_messages else self._fast.encode_frame(self._publish_frame, is_ruled=True)
        )

    @cached_property
    def publish_run(self) -> PublishRun | None:
        """Makes the frames of messages that follow each other; None where each has to be made by itself.

        `publish_run(messages, put, done, room, most, lineage, registry)` takes messages from an iterator as long as
        they are of this class, `publish_frame` would not leave its fast path, a frame has at most `most` bytes, which
        the caller knows of one of them, and `registry` is the generation in force. It calls `put` with each frame, and
        in the end, also where the iterator raises, `done` with how many frames of how many bytes these were.

        Returns:
            `()` once they have `room` bytes or more; the message that was taken and is not put, as a tuple; None when
            there are no more.
        """
        is_ruled = self.walk.rules is not None
        return None if is_ruled and self._holds_messages else self._fast.publish_run(is_ruled=is_ruled)

    @cached_property
    def check(self) -> Callable[..., None]:
        """`check(message)`: what `encode` and `check_rules` check, without making a payload.

        Raises:
            EncodeError: A value does not fit its type.
            RuleError: A value breaks a rule.
        """
        return self._check if self._may_have_rules() else self._fits

    def checked(self, source: str, names: Mapping[str, object]) -> Callable[..., Any]:
        """A function compiled from its source, with what `check` does written in where it calls `check(message)`.

        That saves a call, which takes as long as the check of a short message. A check that has rules, or messages
        inside, is called. Each source is compiled once, with the names that it comes with first.

        Args:
            source: From `def` on; the call is a statement of its own.
            names: What it refers to, beside the function `check`.
        """
        if source not in self._checked:
            is_ruled = self._may_have_rules()
            self._checked[source] = self._fast.checked(source, names, self.check, is_ruled=is_ruled)
        return self._checked[source]

    @cached_property
    def check_rules(self) -> Callable[[Any], None] | None:
        """`check_rules(message)` for a message whose types fit; None when neither it nor a nested message has rules.

        Raises:
            RuleError: A value breaks a rule.
        """
        if self.walk.rules is None:
            return None
        return self._check_rules if self._holds_messages else self._fast.check_rules(self._check_rules)

    @cached_property
    def decode(self) -> Callable[..., Any]:
        """`decode(payload, metadata=None)`: the message. Envelope metadata is put into the dict by tag if one is given.

        Raises:
            DecodeError: The payload is no such message, or a value breaks a rule.
        """
        return self._fast.decode(self._decode)

    @cached_property
    def verify(self) -> Callable[..., Mapping[int, bytes]]:
        """`verify(payload)`: the checks of `decode` without making a message; returns the metadata by tag.

        Raises:
            DecodeError: The payload is no such message, or a value breaks a rule.
        """
        return self._fast.verify(self._verify)

    @cached_property
    def decode_run(self) -> Callable[[bytes, Sequence[int]], list[Any] | None]:
        """`decode_run(data, bounds)`: the messages of frames of this type that follow each other.

        Frame `i` is `data[bounds[i]:bounds[i + 1]]`, header included. None says nothing but that one of them is not
        canonical, has metadata or is wrong, for `decode` to find out which. Canonical are a frame's own fields; what is
        inside a nested message is read as `decode` reads it.
        """
        return self._fast.decode_run()

    @cached_property
    def verify_run(self) -> Callable[[bytes, Sequence[int]], bool]:
        """`verify_run(data, bounds)`: whether `decode_run` would return messages, without making any.

        True proves that `verify` returns `{}` for every payload.
        """
        return self._fast.verify_run()

    @cached_property
    def inner(self) -> Inner:
        """What the fast path of a message calls that has one of these inside."""
        return Inner(self._fast)

    @cached_property
    def rust(self) -> "RustCodec":
        """The codec of the same message in the Rust dialect.

        Raises:
            LayoutError: The message has no layout.
        """
        from mycelium.wire.rust import RustCodec  # which few need, and which is written in terms of this module

        return RustCodec(self)

    @cached_property
    def _fits(self) -> Callable[..., None]:
        return self._fast.check(self._check_types)

    def _may_have_rules(self) -> bool:
        """Whether rules have to be looked for; nested messages cannot be looked at yet."""
        return bool(self.walk.ruled) or self._holds_messages

    @property
    def _holds_messages(self) -> bool:
        return any(any(messages_in(one.type)) for one in self.message.fields)

    # The general walk, as the fast path's fallback.

    def _encode(self, message: Any) -> bytes:
        try:
            return self.walk.encode(message, 1)
        except Misfit as misfit:
            raise EncodeError(self.message.name, misfit.path, misfit.problem, misfit.value) from None

    def _encode_frame(self, message: Any) -> bytes:
        return encode_frame(self.message.type_id, self._encode(message))

    def _publish_frame(self, message: Any) -> bytes:
        frame = self.encode_frame(message)
        self._check_rules(message)
        return frame

    def _check_types(self, message: Any) -> None:
        self._encode(message)

    def _check(self, message: Any) -> None:
        self._fits(message)
        if self.check_rules is not None:
            self.check_rules(message)

    def _check_rules(self, message: Any) -> None:
        try:
            self.walk.check_rules(message)
        except Misfit as misfit:
            raise RuleError(
                self.message.name, misfit.path or "", misfit.rule or "", misfit.limit, misfit.value
            ) from None

    def _decode(self, payload: bytes, metadata: dict[int, bytes] | None = None) -> Any:
        try:
            return self.walk.decode(payload, 0, len(payload), 1, metadata)
        except Misfit as misfit:
            self._refuse(misfit)

    def _verify(self, payload: bytes) -> dict[int, bytes]:
        metadata: dict[int, bytes] = {}
        try:
            self.walk.scan(payload, 0, len(payload), 1, metadata)
        except Misfit as misfit:
            self._refuse(misfit)
        return metadata

    def _refuse(self, misfit: Misfit) -> NoReturn:
        raise DecodeError(
            self.message.name, misfit.path, misfit.problem, misfit.offset, misfit.rule, misfit.value
        ) from None


def compile_codec(message: Message, cls: type, types: Types) -> Codec:
    """The codec of a message.

    Args:
        message: The model of the message.
        cls: Its class.
        types: Where classes, enums and codecs of nested messages come from; asked for codecs when the first nested
            value is read or written, since messages may hold each other in a circle.
    """
    return Codec(message, cls, types)


def _payload_size(message: Message) -> int | None:
    sizes = [fixed_size(one.type) if one.required else None for one in message.fields]
    return None if None in sizes else sum(HEADER_SIZE + (size or 0) for size in sizes)
