"""Messages in Mycelium's own dialect, the one that the Rust bus speaks: payloads laid out like `#[repr(C)]` structs.

    codecs = RustCodecs(contracts.registry)         # LayoutError names every field that has no layout
    frame = codecs.encode_frame(message)            # type_id u16 | length u32 | payload
    message = codecs.decode(type_id, payload)

What the struct does not carry cannot come back: None is written as zeros and read back as the zero value of its type,
on which rules are not run. A closed enum without a member 0 has no such value; its None stays None. `max_length`, or a
default, is the room that a value has, and one that is too long is an EncodeError.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final, NoReturn, final

from mycelium.schema.layout import Layout, layouts_of
from mycelium.schema.registry import Registry
from mycelium.wire.buffer import Batch
from mycelium.wire.codec import Codec
from mycelium.wire.errors import DecodeError, EncodeError, Misfit
from mycelium.wire.frames import HEADER
from mycelium.wire.rustframes import encode_rust_frame
from mycelium.wire.rustsource import decode_function, decode_run_function, encode_function
from mycelium.wire.rustwalk import RustWalk

__all__ = ["RustCodec", "RustCodecs"]

_RUN: Final = 4
"""Frames of one type from which on looking at them together is worth it."""


@final
class RustCodec:
    """Messages of one type to structs and back. Each function is compiled when it is first asked for.

    Args:
        native: The codec of the same message in the native form.

    Raises:
        LayoutError: The message has no layout.
    """

    def __init__(self, native: Codec) -> None:
        self.native: Final = native
        self.walk: Final = RustWalk(native.walk)

    def __repr__(self) -> str:
        return f"<RustCodec {self.layout.message} ({self.layout.type_id}), {self.layout.size} bytes>"

    @property
    def layout(self) -> Layout:
        """Where everything stands."""
        return self.walk.layout

    @cached_property
    def encode(self) -> Callable[[Any], bytes]:
        """`encode(message)`: the payload, `layout.size` bytes. Types and room are checked, rules are not.

        Raises:
            EncodeError: A value does not fit its type or its room.
        """
        return encode_function(self.walk, self._encode)

    @cached_property
    def encode_frame(self) -> Callable[[Any], bytes]:
        """`encode_frame(message)`: the payload and the header of a frame in front, made in one go.

        Raises:
            EncodeError: A value does not fit its type or its room.
        """
        return encode_function(self.walk, self._encode_frame, frame_of=self.layout.type_id)

    @cached_property
    def publish_frame(self) -> Callable[[Any], bytes]:
        """`publish_frame(message)`: what `encode_frame` gives, for a message that obeys its rules.

        Raises:
            EncodeError: A value does not fit its type or its room.
            RuleError: A value breaks a rule.
        """
        check = self.native.check_rules
        if check is None:
            return self.encode_frame

        def publish(message: Any) -> bytes:
            frame = self._encode_frame(message)
            check(message)
            return frame

        return encode_function(self.walk, publish, frame_of=self.layout.type_id, is_ruled=True)

    @cached_property
    def decode(self) -> Callable[[bytes], Any]:
        """`decode(payload)`: the message.

        Raises:
            DecodeError: The payload is no such struct, or a value breaks a rule.
        """
        return decode_function(self.walk, self._decode)

    @cached_property
    def decode_run(self) -> Callable[[bytes], list[Any] | None]:
        """`decode_run(data)`: the messages of frames of this type, and of its size, that follow each other.

        None says nothing but that one of them is wrong, for `decode` to find out which. Headers are not looked at.
        """
        return decode_run_function(self.walk)

    @cached_property
    def decode_for_native(self) -> Callable[[bytes], Any]:
        """`decode_for_native(payload)`: the message that the native form can carry.

        An optional field's zero is None here where it breaks the field's rules: nothing but None can have written it,
        and no native reader would take it.

        Raises:
            DecodeError: The payload is no such struct, or a value breaks a rule.
        """
        return decode_function(self.walk, self._decode_for_native, for_native=True)

    # The general walk, as the fallback of what is compiled.

    def _encode(self, message: Any) -> bytes:
        try:
            return self.walk.encode(message)
        except Misfit as misfit:
            raise EncodeError(self.layout.message, misfit.path, misfit.problem, misfit.value) from None

    def _encode_frame(self, message: Any) -> bytes:
        return encode_rust_frame(self.layout.type_id, self._encode(message))

    def _decode(self, payload: bytes) -> Any:
        try:
            return self.walk.decode(payload)
        except Misfit as misfit:
            self._refuse(misfit)

    def _decode_for_native(self, payload: bytes) -> Any:
        try:
            return self.walk.decode(payload, for_native=True)
        except Misfit as misfit:
            self._refuse(misfit)

    def _refuse(self, misfit: Misfit) -> NoReturn:
        raise DecodeError(
            self.layout.message, misfit.path, misfit.problem, misfit.offset, misfit.rule, misfit.value
        ) from None


@final
class RustCodecs:
    """The codecs of one generation of a contract, by type id; see the module's head.

    Making it is cheap: codecs are compiled when they are first used, and kept with the native ones, so generations that
    share a message share its codec.

    Args:
        registry: The generation.

    Attributes:
        layouts: By type id, in file order.

    Raises:
        LayoutError: Messages have no layout; the error names every field that is to blame.
    """

    def __init__(self, registry: Registry[Codec]) -> None:
        self.layouts: Final[Mapping[int, Layout]] = layouts_of(registry.schema)
        self._registry: Final = registry

    def __repr__(self) -> str:
        return f"<RustCodecs, {len(self.layouts)} layouts>"

    def __contains__(self, type_id: object) -> bool:
        return type_id in self.layouts

    def codec(self, type_id: int) -> RustCodec:
        """The codec of a type id.

        Raises:
            UnknownTypeError: No message has that type id.
        """
        return self._registry.entry_by_id(type_id).codec.rust

    def size_of(self, type_id: int) -> int | None:
        """Bytes of every payload of a type id, None where no message has it."""
        layout = self.layouts.get(type_id)
        return None if layout is None else layout.size

    def encode_frame(self, message: Any) -> bytes:
        """The frame of a message of these contracts. Rules are not run.

        Raises:
            EncodeError: A value does not fit its type or its room.
            UnknownTypeError: The message is none of these contracts.
        """
        return self.codec(message.TYPE_ID).encode_frame(message)

    def publish_frame(self, message: Any) -> bytes:
        """The same for a message that has to obey its rules.

        Raises:
            EncodeError: A value does not fit its type or its room.
            RuleError: A value breaks a rule.
            UnknownTypeError: The message is none of these contracts.
        """
        return self.codec(message.TYPE_ID).publish_frame(message)

    def decode(self, type_id: int, payload: bytes) -> Any:
        """The message of a payload.

        Raises:
            DecodeError: The payload is no such struct, or a value breaks a rule.
            UnknownTypeError: No message has that type id.
        """
        return self.codec(type_id).decode(payload)

    def decode_batch(self, batch: Batch) -> list[Any] | None:
        """The messages of all frames; None where one cannot be read, or is of no known type.

        Args:
            batch: What `RustFrames.take` gave.
        """
        first = batch.type_ids[0]
        if batch.is_even and len(batch) >= _RUN:
            fits = self.size_of(first) == batch.bounds[1] - batch.bounds[0] - HEADER.size
            return self.codec(first).decode_run(batch.to_bytes()) if fits else None
        if not batch.types <= self.layouts.keys():
            return None
        try:
            return [self.decode(type_id, batch.payload(index)) for index, type_id in enumerate(batch.type_ids)]
        except DecodeError:
            return None

    # --- between the dialects ----------------------------------------------------------------------------------------

    def to_native(self, type_id: int, payload: bytes) -> bytes:
        """The native frame of a struct's payload.

        Raises:
            DecodeError: The payload is no such struct, or a value breaks a rule.
            UnknownTypeError: No message has that type id.
        """
        codec = self.codec(type_id)
        return codec.native.encode_frame(codec.decode_for_native(payload))

    def from_native(self, type_id: int, payload: bytes) -> bytes:
        """The frame in this dialect of a native payload, whose metadata is left behind.

        Raises:
            DecodeError: The payload is no such message, or a value breaks a rule.
            EncodeError: A value is longer than its room: it has no `max_length`, so the native form carries more.
            UnknownTypeError: No message has that type id.
        """
        codec = self.codec(type_id)
        return codec.encode_frame(codec.native.decode(payload))
