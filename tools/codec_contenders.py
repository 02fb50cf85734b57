"""Who takes part in bench_codec: ourselves, and the libraries that others would use, each as its users write it.

Where a library has a faster way that its users may well take, it takes part as well, under a name of its own.
"""

import dataclasses
import importlib
import json
import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mycelium.schema.parse import parse_text
from mycelium.schema.registry import Registry
from mycelium.wire.codec import compile_codec

RUNS: Final = (4, 32, 256, 2000)
"""Frames in a run; the figures are those of a single one."""


@dataclass(frozen=True)
class Case:
    """A message that is measured."""

    name: str
    type_id: int
    types: Mapping[str, str]
    """Name of a field to its type, in file order."""
    values: Mapping[str, Any]

    @property
    def contract(self) -> str:
        """The contracts file that declares it."""
        fields = {name: {"type": spelling} for name, spelling in self.types.items()}
        return json.dumps({"messages": {self.name: {"tlv_type": self.type_id, "fields": fields}}})

    def call(self, function: str) -> str:
        """Source of a call by keyword with the values as variables."""
        return f"{function}({', '.join(f'{name}={name}' for name in self.types)})"

    def read(self, message: str) -> str:
        """Source that reads every field of a message."""
        return "; ".join(f"{message}.{name}" for name in self.types)


CASES: Final = (
    Case(
        "CounterUpdate",
        1002,
        {"counter_id": "u64", "value": "i32", "delta": "i32"},
        {"counter_id": 1_099_511_627_776, "value": -500_000, "delta": 7},
    ),
    Case(
        "TextMessage",
        1001,
        {"sender": "String", "text": "String", "timestamp": "u64"},
        {"sender": "pricer-1", "text": "hello from python, how are you", "timestamp": 1_750_000_000_000_000_000},
    ),
)


@dataclass(frozen=True)
class Entry:
    """How one contender handles one case: statements, and the names that they use."""

    statements: Mapping[str, str]
    """Source by operation; what a contender does not have is left out."""
    names: Mapping[str, Any]


@dataclass(frozen=True)
class Contender:
    """Somebody who encodes and decodes."""

    name: str
    module: str | None
    """What has to be importable, None for what is here anyway."""
    enter: Callable[[Case], Entry]


def statements(case: Case, construct: str, encode: str, decode: str, read: str | None = None) -> dict[str, str]:
    """The four operations.

    Args:
        case: The message.
        construct: Source that makes a message of variables named like its fields.
        encode: Source with `{}` for the message.
        decode: Source that makes a message of `payload`.
        read: Source that reads every field of `m`.
    """
    return {
        "construct+encode": encode.format(construct),
        "encode held": encode.format("held"),
        "decode": decode,
        "decode+read": f"m = {decode}; {read or case.read('m')}",
    }


# --- ours ------------------------------------------------------------------------------------------------------------


def _no_pickle(*_: object) -> NoReturn:
    raise NotImplementedError


def _mycelium_names(case: Case) -> dict[str, Any]:
    registry = Registry.first(parse_text(case.contract), compile_codec, _no_pickle)
    cls, codec = registry.class_of(case.name), registry.codec_of(case.name)
    held = cls(**case.values)
    return {**case.values, "C": cls, "codec": codec, "held": held, "payload": codec.encode(held)}


def mycelium_user(case: Case) -> Entry:
    """What a user writes."""
    sources = statements(case, case.call("C"), "{}.to_bytes()", "C.from_bytes(payload)")
    return Entry(sources, _mycelium_names(case))


def mycelium_codec(case: Case) -> Entry:
    """What the bus calls."""
    names = _mycelium_names(case)
    codec = names["codec"]
    functions = ("encode", "encode_frame", "decode", "check", "verify", "decode_run", "verify_run")
    names |= {name: getattr(codec, name) for name in functions}
    frame = codec.encode_frame(names["held"])
    for count in RUNS:
        names |= {f"run{count}": frame * count, f"bounds{count}": range(0, len(frame) * count + 1, len(frame))}
    sources = statements(case, case.call("C"), "encode({})", "decode(payload)")
    sources |= {"check": "check(held)", "verify": "verify(payload)", "encode frame": "encode_frame(held)"}
    for what in ("decode_run", "verify_run"):
        sources |= {f"{what} of {count}": f"{what}(run{count}, bounds{count})" for count in RUNS}
    return Entry(sources, names)


def mycelium_walk(case: Case) -> Entry:
    """The general walk, which is what the fast path saves."""
    names = _mycelium_names(case)
    names["walk"] = names["codec"].walk
    decode = "walk.decode(payload, 0, len(payload), 1, None)"
    return Entry(statements(case, case.call("C"), "walk.encode({}, 1)", decode), names)


_CODES: Final = {"u64": "Q", "u32": "I", "i32": "i"}


def struct_loop(case: Case) -> Entry:
    """What one writes by hand on the first day: a frozen dataclass, and a loop over its fields."""
    cls = dataclasses.make_dataclass(case.name, list(case.types), frozen=True)
    fields = [(tag, name, _CODES.get(kind)) for tag, (name, kind) in enumerate(case.types.items(), 1)]
    by_tag = {tag: (name, code) for tag, name, code in fields}

    def encode(message: Any) -> bytes:
        parts = []
        for tag, name, code in fields:
            value = getattr(message, name)
            data = value.encode() if code is None else struct.pack(f"<{code}", value)
            parts.append(struct.pack("<HI", tag, len(data)) + data)
        return b"".join(parts)

    def decode(payload: bytes) -> Any:
        values, offset = {}, 0
        while offset < len(payload):
            tag, length = struct.unpack_from("<HI", payload, offset)
            name, code = by_tag[tag]
            data = payload[offset + 6 : offset + 6 + length]
            values[name] = data.decode() if code is None else struct.unpack(f"<{code}", data)[0]
            offset += 6 + length
        return cls(**values)

    held = cls(**case.values)
    names = {**case.values, "C": cls, "encode": encode, "decode": decode, "held": held, "payload": encode(held)}
    return Entry(statements(case, case.call("C"), "encode({})", "decode(payload)"), names)


# --- peers -----------------------------------------------------------------------------------------------------------


def msgspec(case: Case, **options: bool) -> Entry:
    """MessagePack through msgspec's Structs, in C."""
    library = importlib.import_module("msgspec")
    kinds = [(name, str if kind == "String" else int) for name, kind in case.types.items()]
    cls = library.defstruct(case.name, kinds, frozen=True, **options)
    encoder, decoder = library.msgpack.Encoder(), library.msgpack.Decoder(cls)
    held = cls(**case.values)
    names = {**case.values, "C": cls, "encode": encoder.encode, "decode": decoder.decode, "held": held}
    sources = statements(case, case.call("C"), "encode({})", "decode(payload)")
    return Entry(sources, {**names, "payload": encoder.encode(held)})


def msgspec_tuned(case: Case) -> Entry:
    """Arrays without names, and objects that the garbage collector does not see."""
    return msgspec(case, array_like=True, gc=False)


_PROTOBUF: Final = {"u64": "TYPE_UINT64", "u32": "TYPE_UINT32", "i32": "TYPE_SINT32", "String": "TYPE_STRING"}


def protobuf(case: Case) -> Entry:
    """Protocol Buffers with whatever runtime is installed, upb as a rule."""
    descriptors = importlib.import_module("google.protobuf.descriptor_pb2")
    pools = importlib.import_module("google.protobuf.descriptor_pool")
    factory = importlib.import_module("google.protobuf.message_factory")
    file = descriptors.FileDescriptorProto(name=f"{case.name}.proto", syntax="proto3")
    message = file.message_type.add(name=case.name)
    for tag, (name, kind) in enumerate(case.types.items(), 1):
        number = getattr(descriptors.FieldDescriptorProto, _PROTOBUF[kind])
        message.field.add(name=name, number=tag, type=number, label=1)
    pool = pools.DescriptorPool()
    pool.Add(file)
    cls = factory.GetMessageClass(pool.FindMessageTypeByName(case.name))
    held = cls(**case.values)
    names = {**case.values, "C": cls, "held": held, "payload": held.SerializeToString()}
    return Entry(statements(case, case.call("C"), "{}.SerializeToString()", "C.FromString(payload)"), names)


def protobuf_by_attributes(case: Case) -> Entry:
    """The same, with messages made empty and filled: the faster way."""
    fill = "; ".join(f"m.{name} = {name}" for name in case.types)
    return Entry({"construct+encode": f"m = C(); {fill}; m.SerializeToString()"}, protobuf(case).names)


_AVRO: Final = {"u64": "long", "u32": "long", "i32": "int", "String": "string"}


def fastavro(case: Case) -> Entry:
    """Avro without a container, dicts for messages."""
    library = importlib.import_module("fastavro")
    io = importlib.import_module("io")
    fields = [{"name": name, "type": _AVRO[kind]} for name, kind in case.types.items()]
    schema = library.parse_schema({"type": "record", "name": case.name, "fields": fields})

    def encode(message: dict[str, Any]) -> bytes:
        buffer = io.BytesIO()
        library.schemaless_writer(buffer, schema, message)
        data: bytes = buffer.getvalue()
        return data

    held = dict(case.values)
    names = {**case.values, "encode": encode, "held": held, "payload": encode(held)}
    names |= {"read": library.schemaless_reader, "BytesIO": io.BytesIO, "schema": schema}
    reads = "; ".join(f"m[{name!r}]" for name in case.types)
    decode = "read(BytesIO(payload), schema, None)"
    return Entry(statements(case, case.call("dict"), "encode({})", decode, reads), names)


_CONSTRUCT: Final = {"u64": "Int64ul", "u32": "Int32ul", "i32": "Int32sl"}


def construct(case: Case, *, compiled: bool = False) -> Entry:
    """A declarative struct library."""
    library = importlib.import_module("construct")
    text = library.PascalString(library.Int32ul, "utf8")
    members = [name / getattr(library, _CONSTRUCT.get(kind, ""), text) for name, kind in case.types.items()]
    layout = library.Struct(*members)
    if compiled:
        layout = layout.compile()
    held = dict(case.values)
    names = {**case.values, "build": layout.build, "parse": layout.parse, "held": held, "payload": layout.build(held)}
    return Entry(statements(case, case.call("dict"), "build({})", "parse(payload)"), names)


def construct_compiled(case: Case) -> Entry:
    """The same, compiled."""
    return construct(case, compiled=True)


CONTENDERS: Final = (
    Contender("mycelium", None, mycelium_user),
    Contender("mycelium codec", None, mycelium_codec),
    Contender("general walk", None, mycelium_walk),
    Contender("struct loop", None, struct_loop),
    Contender("protobuf", "google.protobuf", protobuf),
    Contender("protobuf, attributes", "google.protobuf", protobuf_by_attributes),
    Contender("msgspec", "msgspec", msgspec),
    Contender("msgspec, tuned", "msgspec", msgspec_tuned),
    Contender("fastavro", "fastavro", fastavro),
    Contender("construct", "construct", construct),
    Contender("construct, compiled", "construct", construct_compiled),
)
