"""What is measured, who takes part, and what is wanted of the ratios."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final, TypeAlias

from attrs import evolve, field, frozen

from mycelium.bench.claims import Claim
from mycelium.bench.contender import Contender
from mycelium.bench.figures import Run
from mycelium.bench.ours import MYCELIUM, WATCHED
from mycelium.bench.scenes import (
    Figures,
    Scene,
    confirmed,
    delivered,
    idle_memory,
    in_process,
    paced,
    round_trips,
)
from mycelium.bench.spec import Spec
from peers import jetstream, nats, redis, relay, signals, traced, zmq, zmqasync

__all__ = ["CLAIMS", "GROWTH", "ROWS", "Amounts", "Row", "runs_of"]


@frozen
class Amounts:
    """How much of everything.

    Attributes:
        messages: Of a row with the share 1, for Mycelium.
        uvloop: Whether client processes run on it.
    """

    messages: int
    uvloop: bool = False


Measure: TypeAlias = Callable[[Scene], Figures]


@frozen
class Row:
    """A scene that several contenders play.

    Attributes:
        title: What it is.
        measure: The scene's function.
        contenders: Who takes part.
        scene: What is the same for all.
        spec: The same of their processes.
        share: Of the messages of the command line.
        is_even: Whether all contenders get the same number of messages.
    """

    title: str
    measure: Measure
    contenders: tuple[Contender, ...]
    scene: Callable[[Contender, Spec], Scene] = Scene
    spec: Spec = field(factory=partial(Spec, ""))
    share: float = 1.0
    is_even: bool = False


def runs_of(row: Row, amounts: Amounts, only: Collection[str] | None, missing: dict[str, str]) -> Mapping[str, Run]:
    """A function for each contender that is here; `missing` learns of the others."""
    runs: dict[str, Run] = {}
    for contender in row.contenders:
        if only and contender.name not in only:
            continue
        lack = contender.missing()
        if lack is not None:
            missing[contender.name] = lack
            continue
        share = row.share * (1 if row.is_even else contender.share)
        spec = evolve(row.spec, messages=max(int(amounts.messages * share), 1), uvloop=amounts.uvloop)
        runs[contender.name] = partial(row.measure, row.scene(contender, spec))
    return runs


_spec: Final = partial(Spec, "")
_HANDLER: Final = evolve(MYCELIUM, name="handler", way="handler")
_ITERATOR: Final = evolve(MYCELIUM, way="iterator")
_WITH_NATS: Final = (MYCELIUM, nats.CONTENDER)
_TRACING: Final = (MYCELIUM, traced.INSTALLED, traced.SAMPLED, traced.UNLIMITED)
_LONG: Final = evolve(MYCELIUM, share=zmq.CONTENDER.share)
"""As many messages as pyzmq has: what they begin with must not weigh more for one than for the other."""
_MANY: Final = evolve(_LONG, name="publish_many", way="many")
"""Mycelium's publisher hands over an iterator, in place of awaiting a call for each message."""
_BROKERS: Final = (
    _LONG,
    _MANY,
    nats.CONTENDER,
    zmq.CONTENDER,
    zmqasync.CONTENDER,
    redis.CONTENDER,
    redis.PIPELINE,
)


def _by_receiver(contender: Contender, spec: Spec) -> Scene:
    return Scene(contender, spec, receiver="iterator" if contender.way == "iterator" else "subscriber")


ROWS: Final[Mapping[str, Row]] = {
    "tcp-counter": Row("C, process to process over TCP", delivered, (*_BROKERS, nats.BATCHED, relay.CONTENDER)),
    "unix-counter": Row(
        "C over Unix sockets; nats-server has TCP only", delivered, _BROKERS, partial(Scene, scheme="unix")
    ),
    "tcp-mix": Row("four types at random", delivered, _WITH_NATS, spec=_spec(workload="mix"), share=0.7),
    "tcp-text": Row("T, two strings and a u64", delivered, _WITH_NATS, spec=_spec(workload="text"), share=0.7),
    "tcp-ruled": Row(
        "T with a max_length and not_empty for each string",
        delivered,
        _WITH_NATS,
        spec=_spec(workload="ruled"),
        share=0.7,
    ),
    "publishers-50": Row("C from 50 connections", delivered, _WITH_NATS, partial(Scene, publishers=50)),
    "payload-1k": Row("1 KiB of bytes", delivered, _WITH_NATS, spec=_spec(workload="blob"), share=0.4),
    "latency": Row(
        "20,000 a second in an open loop", paced, _WITH_NATS, spec=_spec(workload="stamped"), share=0.6, is_even=True
    ),
    "round-trip": Row("a request and its reply", round_trips, _WITH_NATS, share=0.01, is_even=True),
    "confirmed": Row("256 confirmed publishes in flight", confirmed, (MYCELIUM, jetstream.CONTENDER), share=0.2),
    "fan-out": Row("C to 50 subscriber connections", delivered, _WITH_NATS, partial(Scene, subscribers=50), share=0.02),
    "in-process": Row(
        "publish_nowait to one sync handler",
        in_process,
        (MYCELIUM, signals.BLINKER, signals.PYEE),
        share=3.0,
        is_even=True,
    ),
    "iterator": Row("async for, process to process over TCP", delivered, (_ITERATOR, _HANDLER), _by_receiver),
    "watched": Row("C over TCP with metrics on, and off", delivered, (MYCELIUM, *WATCHED), is_even=True),
    "watched-mix": Row(
        "four types at random, the same", delivered, (MYCELIUM, *WATCHED), spec=_spec(workload="mix"), share=0.7
    ),
    "iterator-local": Row("async for in the process", in_process, (_ITERATOR, _HANDLER)),
    "traces": Row("C, 1 % sampled by OpenTelemetry", delivered, _TRACING),
    "traces-text": Row(
        "T, 1 % sampled by OpenTelemetry", delivered, _TRACING, spec=_spec(workload="text"), share=0.7, is_even=True
    ),
    "traces-latency": Row(
        "20,000 a second, 1 % sampled by OpenTelemetry",
        paced,
        _TRACING,
        spec=_spec(workload="stamped"),
        share=0.2,
        is_even=True,
    ),
    "idle-memory": Row(
        "1,000 idle connections with a subscription",
        idle_memory,
        (MYCELIUM, nats.CONTENDER, redis.CONTENDER),
        partial(Scene, subscribers=1000),
    ),
}
_SIZES: Final = (16, 64, 256, 1024, 4096, 16384, 65536)
_SUBSCRIBERS: Final = (1, 5, 20, 50, 100, 200, 500)
_WHOLE_SHARE_BYTES: Final = 1024
GROWTH: Final[Mapping[str, Row]] = {
    **{
        f"payload/{size}": Row(
            f"{size} bytes",
            delivered,
            _WITH_NATS,
            spec=_spec(workload="blob", size=size),
            share=0.5 * min(1.0, _WHOLE_SHARE_BYTES / size),
        )
        for size in _SIZES
    },
    **{
        f"subscribers/{count}": Row(
            f"{count} subscribers", delivered, _WITH_NATS, partial(Scene, subscribers=count), share=1 / count
        )
        for count in _SUBSCRIBERS
    },
}
"""How cost grows: the name says what is on the x axis, and where."""

_WATCHING: Final = {"metrics": 0.95}
"""The share of the throughput that has to be left with somebody watching."""
_UNUSED: Final = "an SDK that is not used"
_TRACED: Final = "without traces"
_STORED: Final = "its ack means stored, ours routed"
CLAIMS: Final[tuple[Claim, ...]] = (
    Claim("tcp-counter", "rate", "nats", 2.5, 4),
    Claim("unix-counter", "rate", "nats", 2.5, 4, note="nats over TCP"),
    Claim("tcp-counter", "rate", "zmq", 1, 1.5, note="no broker"),
    Claim("unix-counter", "rate", "zmq", 1, 1.5, note="no broker"),
    Claim("tcp-counter", "rate", "zmq", 1, 1.5, ours="publish_many", note="no broker"),
    Claim("unix-counter", "rate", "zmq", 1, 1.5, ours="publish_many", note="no broker"),
    *(
        Claim(row, "rate", "zmq-asyncio", None, None, note="a call awaited for each, no broker")
        for row in ("tcp-counter", "unix-counter")
    ),
    Claim("tcp-counter", "rate", "redis", 10, 20),
    Claim("unix-counter", "rate", "redis", 10, 20),
    Claim("tcp-counter", "rate", "redis-pipeline", None, None, note="256 at a time"),
    Claim("unix-counter", "rate", "redis-pipeline", None, None, note="256 at a time"),
    Claim("tcp-mix", "rate", "nats", 2, 3.5),
    Claim("tcp-text", "rate", "nats", 2, 3.5),
    Claim("tcp-ruled", "rate", "nats", None, None, note="which checks none"),
    Claim("publishers-50", "rate", "nats", 2, 4),
    Claim("payload-1k", "rate", "nats", 1.5, 3),
    Claim("tcp-counter", "rate", "nats-batched", None, 0.5, note="256 a message by hand"),
    Claim("latency", "p50", "nats", 1, 0.5),
    Claim("latency", "p99", "nats", 1, 0.5),
    Claim("latency", "p99_9", "nats", 1, 0.5),
    Claim("round-trip", "p50", "nats", 0.8, 0.333),
    Claim("round-trip", "p99", "nats", 0.8, 0.333),
    Claim("confirmed", "rate", "jetstream", 3, 10, note=_STORED),
    Claim("fan-out", "rate", "nats", 2.5, 5),
    Claim("tcp-counter", "cpu", "nats", 0.5, 0.25),
    Claim("unix-counter", "cpu", "nats", 0.5, 0.25),
    Claim("in-process", "rate", "blinker", 2, 4),
    Claim("in-process", "rate", "pyee", 1.5, 2),
    Claim("iterator", "rate", "handler", 0.667, 0.833),
    Claim("iterator-local", "rate", "handler", 0.667, 0.833, note="an async one"),
    *(
        Claim(row, "rate", "mycelium", least, None, ours=name, note="against nobody watching")
        for row in ("watched", "watched-mix")
        for name, least in _WATCHING.items()
    ),
    Claim("tcp-counter", "server_cpu", "relay", 6, 4, note="bytes in, bytes out"),
    *(Claim(row, "rate", "mycelium", 0.97, None, ours="installed", note=_UNUSED) for row in ("traces", "traces-text")),
    *(Claim(row, "rate", "mycelium", 0.9, None, ours="sampled", note=_TRACED) for row in ("traces", "traces-text")),
    *(Claim(row, "rate", "mycelium", None, None, ours="unlimited", note=_TRACED) for row in ("traces", "traces-text")),
    Claim("traces-latency", "p50", "mycelium", 1.1, None, ours="sampled", note=_TRACED),
    Claim("traces-latency", "p99", "mycelium", None, None, ours="sampled", note=_TRACED),
    Claim("idle-memory", "connection_bytes", "nats", 16384, 8192, is_absolute=True),
    Claim("idle-memory", "connection_bytes", "redis", None, None),
)
"""In the order in which they are shown."""
