"""Nanoseconds per message: construct and encode, encode a held message, decode, decode and read all fields.

    python tools/bench_codec.py                      # a table
    python tools/bench_codec.py --json > codec.json  # the same figures for machines
    python tools/bench_codec.py --only mycelium msgspec --rounds 15

Every contender does the same work on the same values in the way its users write it. Rounds alternate between
contenders, so that whatever else the machine does hits all of them; the figure is the median of the rounds, with the
fastest and the slowest. A peer that cannot be imported is said to be missing, and nothing else is.
"""

import argparse
import dataclasses
import importlib
import json
import platform
import statistics
import struct
import sys
import timeit
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mycelium.schema.parse import parse_text
from mycelium.schema.registry import Registry
from mycelium.wire.codec import compile_codec

OPERATIONS: Final = ("construct+encode", "encode held", "decode", "decode+read")


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
    names |= {name: getattr(codec, name) for name in ("encode", "decode", "check", "verify")}
    sources = statements(case, case.call("C"), "encode({})", "decode(payload)")
    return Entry({**sources, "check": "check(held)", "verify": "verify(payload)"}, names)


def mycelium_walk(case: Case) -> Entry:
    """The general walk, which is what the fast path saves."""
    names = _mycelium_names(case)
    names["walk"] = names["codec"].walk
    decode = "walk.decode(payload, 0, len(payload), 1, None)"
    return Entry(statements(case, case.call("C"), "walk.encode({}, 1)", decode), names)


_CODES: Final = {"u64": "Q", "i32": "i"}


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


def msgspec(case: Case) -> Entry:
    """MessagePack through msgspec's Structs, in C."""
    library = importlib.import_module("msgspec")
    kinds = [(name, str if kind == "String" else int) for name, kind in case.types.items()]
    cls = library.defstruct(case.name, kinds, frozen=True)
    encoder, decoder = library.msgpack.Encoder(), library.msgpack.Decoder(cls)
    held = cls(**case.values)
    names = {**case.values, "C": cls, "encode": encoder.encode, "decode": decoder.decode, "held": held}
    sources = statements(case, case.call("C"), "encode({})", "decode(payload)")
    return Entry(sources, {**names, "payload": encoder.encode(held)})


_PROTOBUF: Final = {"u64": "TYPE_UINT64", "i32": "TYPE_SINT32", "String": "TYPE_STRING"}


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


_AVRO: Final = {"u64": "long", "i32": "int", "String": "string"}


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


_CONSTRUCT: Final = {"u64": "Int64ul", "i32": "Int32sl"}


def construct(case: Case) -> Entry:
    """A declarative struct library."""
    library = importlib.import_module("construct")
    text = library.PascalString(library.Int32ul, "utf8")
    members = [name / getattr(library, _CONSTRUCT.get(kind, ""), text) for name, kind in case.types.items()]
    layout = library.Struct(*members)
    held = dict(case.values)
    names = {**case.values, "build": layout.build, "parse": layout.parse, "held": held, "payload": layout.build(held)}
    return Entry(statements(case, case.call("dict"), "build({})", "parse(payload)"), names)


CONTENDERS: Final = (
    Contender("mycelium", None, mycelium_user),
    Contender("mycelium codec", None, mycelium_codec),
    Contender("general walk", None, mycelium_walk),
    Contender("struct loop", None, struct_loop),
    Contender("protobuf", "google.protobuf", protobuf),
    Contender("msgspec", "msgspec", msgspec),
    Contender("fastavro", "fastavro", fastavro),
    Contender("construct", "construct", construct),
)


# --- measuring -------------------------------------------------------------------------------------------------------


@dataclass
class Series:
    """One statement, and what it took in each round."""

    case: str
    operation: str
    contender: str
    timer: timeit.Timer
    loops: int = 1
    rounds: list[float] = field(default_factory=list)

    def calibrate(self, seconds: float) -> None:
        """Finds how many loops a round takes."""
        self.timer.timeit(200)
        took = max(self.timer.timeit(1000), 1e-9)
        self.loops = max(200, int(1000 * seconds / took))

    def measure(self) -> None:
        """Runs a round."""
        self.rounds.append(self.timer.timeit(self.loops) / self.loops * 1e9)

    def as_json(self) -> dict[str, Any]:
        """Its figures, in nanoseconds."""
        return {
            "case": self.case,
            "operation": self.operation,
            "contender": self.contender,
            "median_ns": round(statistics.median(self.rounds), 1),
            "min_ns": round(min(self.rounds), 1),
            "max_ns": round(max(self.rounds), 1),
        }


def available(contenders: Iterable[Contender]) -> tuple[list[Contender], list[str]]:
    """Those that can take part, and the names of those that cannot."""
    present: list[Contender] = []
    missing: list[str] = []
    for one in contenders:
        try:
            importlib.import_module(one.module or "mycelium")
        except ImportError:
            missing.append(one.name)
        else:
            present.append(one)
    return present, missing


def run(contenders: Sequence[Contender], rounds: int, seconds: float) -> list[Series]:
    """Measures all contenders on all cases in alternating rounds."""
    series = [
        Series(case.name, operation, one.name, timeit.Timer(source, globals=dict(entry.names)))
        for case in CASES
        for one in contenders
        for entry in [one.enter(case)]
        for operation, source in entry.statements.items()
    ]
    for each in series:
        each.calibrate(seconds)
    for _ in range(rounds):
        for each in series:
            each.measure()
    return series


def table(results: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """Lines for people: each figure, and how many times the time of `mycelium` it is."""
    ours = {(one["case"], one["operation"]): one["median_ns"] for one in results if one["contender"] == "mycelium"}
    last = None
    for one in sorted(results, key=lambda one: (one["case"], one["operation"])):
        key = one["case"], one["operation"]
        if key != last:
            yield f"\n{one['case']}, {one['operation']}"
            last = key
        ratio = f"{one['median_ns'] / ours[key]:6.2f}x" if key in ours else ""
        spread = f"{one['min_ns']:8.0f} to {one['max_ns']:<8.0f}"
        yield f"  {one['contender']:<16}{one['median_ns']:9.0f} ns  {ratio:>8}  {spread}"


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="figures for machines")
    parser.add_argument("--rounds", type=int, default=9, help="alternating rounds (default: 9)")
    parser.add_argument("--seconds", type=float, default=0.02, help="of a round of one statement (default: 0.02)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these contenders alone")
    options = parser.parse_args()
    wanted = [one for one in CONTENDERS if options.only is None or one.name in options.only]
    present, missing = available(wanted)
    results = [each.as_json() for each in run(present, options.rounds, options.seconds)]
    if options.json:
        where = {"python": platform.python_version(), "machine": platform.machine(), "rounds": options.rounds}
        print(json.dumps({**where, "missing": missing, "results": results}, indent=1))
        return
    print(f"Python {platform.python_version()}, median of {options.rounds} rounds, fastest to slowest")
    for line in table(results):
        print(line)
    for name in missing:
        print(f"\n{name} is missing: it cannot be imported, install the `bench` extra")


if __name__ == "__main__":
    main()
