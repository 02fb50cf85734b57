"""Throws bytes at the wire: anything must give a value or a documented error, and nothing else.

    python tools/fuzz_wire.py --minutes 1                        # every target, a seed of its own, which is printed
    python tools/fuzz_wire.py --seed 7 --count 100000 --target decoder
    python tools/fuzz_wire.py --corpus .fuzz                     # starts from kept inputs, keeps new ones
    python tools/fuzz_wire.py --target decoder --input 03ff00    # one input again

Exits with 0 if nothing was found, with 1 and a command that reproduces it if something was, with 2 for wrong usage.
A target makes inputs, checks one, and says what kind of outcome it had; inputs with an outcome not seen before are
mutated further and, with a corpus, kept.
"""

import argparse
import hashlib
import random
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from connection_wire import check_stream, generate_stream, prepare_streams
from mycelium.bus.errors import SecurityError
from mycelium.bus.security.aclfile import parse_acl
from mycelium.bus.security.tokens import Tokens
from mycelium.wire.annotate import annotate
from mycelium.wire.codec import Codec
from mycelium.wire.errors import DecodeError, Misfit
from mycelium.wire.frames import encode_frame
from mycelium.wire.metadata import KINDS, Metadata
from random_wire import Values, World, chance, load, mutate, random_contract, seeded
from rust_wire import check_structs, generate_structs, prepare_structs
from socket_wire import check_talk, generate_talk, prepare_bridge

ROOT: Final = Path(__file__).resolve().parent.parent
SLOWEST: Final = 2.0
"""Seconds that one input of a few kilobytes may take before it counts as a finding."""
MOST_KEPT: Final = 2_000
"""Inputs that are held for mutation."""


class Finding(Exception):
    """Something that must not be."""


@dataclass(frozen=True)
class Target:
    """Something to throw bytes at."""

    about: str
    prepare: Callable[[], Any]
    """Makes what the other two get; the same for every seed, so that an input says everything."""
    generate: Callable[[Any, random.Random], bytes]
    """Makes an input that is worth mutating."""
    check: Callable[[Any, bytes], str]
    """Runs an input and gives the kind of its outcome; raises Finding, or whatever escapes."""


# --- the decoder -----------------------------------------------------------------------------------------------------

CONTRACTS: Final = 12
"""Random contracts, beside those that come with the tests."""


def prepare_codecs() -> list[tuple[World, Codec]]:
    """Messages of many shapes; the first byte of an input picks one."""
    texts = [path.read_text() for path in sorted((ROOT / "tests" / "contracts").glob("*.yaml"))]
    texts += [random_contract(seeded(f"contract {number}")) for number in range(CONTRACTS)]
    pairs = [(world, codec) for world in map(load, texts) for codec in world.codecs]
    # One byte picks: of a large file a few messages have to do.
    return sorted(pairs, key=lambda pair: (-len(pair[1].message.fields), pair[1].message.name))[:256]


def generate_payload(codecs: Sequence[tuple[World, Codec]], rng: random.Random) -> bytes:
    """A canonical payload of some message, now and then with metadata."""
    number = rng.randrange(len(codecs))
    world, codec = codecs[number]
    payload = codec.encode(Values(world, rng).message(codec.message.name))
    if chance(rng, 0.3):
        kind = rng.choice(list(KINDS.values()))
        payload += Metadata.from_tags({tag: rng.randbytes(kind.size) for tag in KINDS if KINDS[tag] is kind}).encode()
    return bytes([number]) + payload


def check_payload(codecs: Sequence[tuple[World, Codec]], data: bytes) -> str:
    """Fast path, verify and general walk agree; what was decoded is encoded the same twice; every byte is explained."""
    if not data:
        return "empty"
    world, codec = codecs[data[0] % len(codecs)]
    payload = data[1:]
    _explained(world, codec, payload)
    found: dict[int, bytes] = {}
    decoded = _outcome(lambda: codec.decode(payload, found))
    walked = _walked(codec, payload)
    if decoded[1:] != walked[1:]:
        raise Finding(f"{codec}: decode says {decoded[1:]}, the general walk {walked[1:]}")
    verified = _outcome(lambda: codec.verify(payload))
    _run_of_one(codec, payload, decoded[1])
    if decoded[0] is None:
        if verified != decoded:
            raise Finding(f"{codec}: decode says {decoded[1:]}, verify {verified[1:]}")
        return f"{codec.message.name}: {re.sub('[0-9]+', '#', decoded[2])}"
    if verified[0] is None or dict(verified[0]) != found:
        raise Finding(f"{codec}: decode finds {found}, verify {verified[1:]}")
    _stable(codec, decoded[0])
    return f"{codec.message.name}: {len(payload).bit_length()} bits of length, {sorted(found)}"


def _run_of_one(codec: Codec, payload: bytes, shown: str) -> None:
    frame = encode_frame(codec.message.type_id, payload)
    run = codec.decode_run(frame, [0, len(frame)])
    if codec.verify_run(frame, [0, len(frame)]) is not (run is not None):
        raise Finding(f"{codec}: verify_run and decode_run disagree")
    if run is not None and _shown(run[0]) != shown:
        raise Finding(f"{codec}: decode says {shown}, decode_run {_shown(run[0])}")


def _explained(world: World, codec: Codec, payload: bytes) -> None:
    rows = annotate(codec.message, payload, world.schema)
    if b"".join(row.data for row in rows) != payload:
        raise Finding(f"{codec}: the annotation leaves bytes out")


def _stable(codec: Codec, message: Any) -> None:
    again = codec.encode(message)
    if again != codec.walk.encode(message, 1):
        raise Finding(f"{codec}: fast path and general walk encode {message} differently")
    if codec.encode(codec.decode(again)) != again:
        raise Finding(f"{codec}: {again.hex()} is canonical and changes when it is decoded and encoded")
    codec.check(message)


Outcome = tuple[Any, str, str]
"""A value, or None; what it looks like; the error."""


def _outcome(call: Callable[[], Any]) -> Outcome:
    try:
        value = call()
    except DecodeError as error:
        return None, "", repr(error.args)
    return value, _shown(value), ""


def _shown(value: Any) -> str:
    """What a value holds, also where the contract keeps it out of sight."""
    return repr(attrs.asdict(value, recurse=False) if attrs.has(type(value)) else value)


def _walked(codec: Codec, payload: bytes) -> Outcome:
    try:
        value = codec.walk.decode(payload, 0, len(payload), 1, None)
    except Misfit as misfit:
        found = misfit.path, misfit.problem, misfit.offset, misfit.rule, misfit.value
        return None, "", repr((codec.message.name, *found))
    return value, _shown(value), ""


# --- files of the security settings ----------------------------------------------------------------------------------

SETTINGS: Final = (
    b"\0# who\nann: 0123456789abcdef\nbob: sha256:" + b"0" * 64 + b"\n",
    b"\1principals:\n  ann: {publish: [Tick, 'topic:market-data'], admin: true}\n  '*': {subscribe: {deny: ['*']}}\n",
)


def generate_settings(_: object, rng: random.Random) -> bytes:
    """A file that is fine; the first byte says of which kind."""
    return rng.choice(SETTINGS)


def check_settings(_: object, data: bytes) -> str:
    """Settings, or a SecurityError that says where; never a token of the file."""
    try:
        if data[:1] == b"\0":
            return repr(Tokens.parse(data[1:].decode("ascii", "replace"), "file"))
        return f"{len(parse_acl(data[1:], 'file').grants)} principals"
    except SecurityError as error:
        if "0123456789abcdef" in str(error) and data[:1] == b"\0":
            raise Finding(f"the error shows a token: {error}") from None
        return re.sub("[0-9]+|'.*?'", "#", str(error))


TARGETS: Final[Mapping[str, Target]] = {
    "decoder": Target("payloads of many messages", prepare_codecs, generate_payload, check_payload),
    "connection": Target("streams, whole and in pieces", prepare_streams, generate_stream, check_stream),
    "rust": Target("streams of the Rust dialect", prepare_structs, generate_structs, check_structs),
    "settings": Target("files of tokens and access rules", lambda: None, generate_settings, check_settings),
    "socket": Target("streams to a running bridge", prepare_bridge, generate_talk, check_talk),
}


# --- running ---------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """One target under fire."""

    name: str
    target: Target
    rng: random.Random
    corpus: Path | None
    state: Any = None
    seen: set[str] = field(default_factory=set)
    kept: list[bytes] = field(default_factory=list)
    inputs: int = 0

    def start(self) -> None:
        """Prepares the target and runs what the corpus holds."""
        self.state = self.target.prepare()
        if self.corpus is not None:
            self.corpus.mkdir(parents=True, exist_ok=True)
            for path in sorted(self.corpus.glob(f"{self.name}-*")):
                self.run(path.read_bytes())

    def step(self) -> None:
        """Makes an input and runs it."""
        if not self.kept or chance(self.rng, 0.2):
            self.run(self.target.generate(self.state, self.rng))
        else:
            self.run(mutate(self.rng.choice(self.kept), self.rng.choice(self.kept), self.rng))

    def run(self, data: bytes) -> None:
        """Runs one input; an outcome that is new makes it worth keeping.

        Raises:
            Finding: Something is wrong with it.
        """
        self.inputs += 1
        started = time.perf_counter()
        try:
            outcome = self.target.check(self.state, data)
        except Finding as finding:
            self._found(data, str(finding))
        except Exception:  # noqa: BLE001  whatever escapes is what is looked for
            self._found(data, traceback.format_exc())
        took = time.perf_counter() - started
        if took > SLOWEST:
            self._found(data, f"took {took:.1f} s")
        if outcome not in self.seen:
            self.seen.add(outcome)
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        if len(self.kept) < MOST_KEPT:
            self.kept.append(data)
        else:
            self.kept[self.rng.randrange(MOST_KEPT)] = data
        if self.corpus is not None:
            (self.corpus / f"{self.name}-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)

    def _found(self, data: bytes, what: str) -> NoReturn:
        again = f"python tools/fuzz_wire.py --target {self.name} --input {data.hex() or '-'}"
        raise Finding(f"{self.name}, after {self.inputs} inputs: {what}\nreproduce with:\n  {again}") from None


def until(seconds: float | None, count: int | None) -> Iterator[int]:
    """Counts until the time is up, or the count is reached."""
    end = None if seconds is None else time.monotonic() + seconds
    number = 0
    while (count is None or number < count) and (end is None or time.monotonic() < end):
        yield number
        number += 1


def fuzz(options: argparse.Namespace) -> None:
    """Runs the targets in turns.

    Raises:
        Finding: Something is wrong.
    """
    names = options.target or list(TARGETS)
    corpus = Path(options.corpus) if options.corpus else None
    runs = [Run(name, TARGETS[name], seeded(f"{options.seed} {name}"), corpus) for name in names]
    if options.input is not None:
        for run in runs:
            run.start()
            run.run(bytes.fromhex(options.input.strip("-")))
            print(f"{run.name}: nothing found, {run.seen}")
        return
    print(f"seed {options.seed}, targets {', '.join(names)}")
    for run in runs:
        run.start()
    for number in until(options.seconds, options.count):
        runs[number % len(runs)].step()
    for run in runs:
        print(f"{run.name}: {run.inputs} inputs, {len(run.seen)} kinds of outcome, nothing found")


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, help="the same seed makes the same inputs (default: drawn, and printed)")
    parser.add_argument("--seconds", type=float, help="how long (default: 10, without --count)")
    parser.add_argument("--minutes", type=float, help="the same in minutes")
    parser.add_argument("--count", type=int, help="how many inputs")
    parser.add_argument("--corpus", metavar="DIR", help="start from the inputs in it, keep new ones there")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="this one alone; may be repeated")
    parser.add_argument("--input", metavar="HEX", help="run this input; - is an empty one")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(2**32)
    if options.minutes is not None:
        options.seconds = (options.seconds or 0.0) + options.minutes * 60
    if options.seconds is None and options.count is None:
        options.seconds = 10.0
    if options.input is not None and not re.fullmatch(r"-|([0-9a-fA-F]{2})+", options.input):
        parser.error("--input takes hex digits, two for a byte")
    try:
        fuzz(options)
    except Finding as finding:
        print(finding)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
