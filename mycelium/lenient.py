"""Codecs that run no rules, for messages that were accepted when the rules were others, or by somebody else."""

from enum import IntEnum
from typing import final

from attrs import evolve

from mycelium.schema.classes import Message
from mycelium.schema.registry import Lineage
from mycelium.wire.codec import Codec, compile_codec

__all__ = ["Lenient"]


@final
class Lenient:
    """The codecs of one handle without their rules; each is compiled once.

    Args:
        lineage: Of the handle. What is compiled is for the generation in force: make another one after a reload.
    """

    def __init__(self, lineage: Lineage[Codec]) -> None:
        self._lineage = lineage
        self._codecs: dict[str, Codec] = {}

    def __repr__(self) -> str:
        return f"<Lenient, {len(self._codecs)} codecs>"

    def class_of(self, name: str) -> type[Message]:
        """The class of a message."""
        return self._lineage.class_of(name)

    def enum_of(self, name: str) -> type[IntEnum]:
        """The class of an enum."""
        return self._lineage.enum_of(name)

    def codec_of(self, name: str) -> Codec:
        """The codec of a message, without its rules."""
        if name not in self._codecs:
            entry = self._lineage.current.entry(name)
            fields = tuple(evolve(one, rules=()) for one in entry.message.fields)
            self._codecs[name] = compile_codec(evolve(entry.message, fields=fields), entry.cls, self)
        return self._codecs[name]
