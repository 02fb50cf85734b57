"""The codec that users of the other systems would take for speed: msgspec's Structs as MessagePack, in C."""

import importlib
from collections.abc import Callable
from types import GenericAlias, SimpleNamespace
from typing import Any

from mycelium.bench.workload import FIELDS

__all__ = ["Packing"]


class Packing:
    """Classes, an encoder, and a decoder for each class.

    Attributes:
        classes: The messages of the workloads as attributes.
        encode: A message to bytes.
        decoders: By name: bytes to the message.
    """

    def __init__(self) -> None:
        library = importlib.import_module("msgspec")
        made = {name: library.defstruct(name, list(fields.items())) for name, fields in FIELDS.items()}
        self._library = library
        self.classes = SimpleNamespace(**made)
        self.encode: Callable[[Any], bytes] = library.msgpack.Encoder().encode
        self.decoders = {name: library.msgpack.Decoder(cls).decode for name, cls in made.items()}

    def list_decoder(self, name: str) -> Callable[[bytes], list[Any]]:
        """Bytes to a list of messages of one name."""
        kind = GenericAlias(list, (getattr(self.classes, name),))
        decode: Callable[[bytes], list[Any]] = self._library.msgpack.Decoder(kind).decode
        return decode
