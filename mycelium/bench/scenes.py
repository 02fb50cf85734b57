"""What is measured across processes, the same for every contender: each scene starts its processes, and ends them.

A scene returns numbers by name: `rate` in deliveries a second, `cpu` in seconds of all processes per million
deliveries, `server_cpu` of the server alone, `lost` messages, percentiles in microseconds, `connection_bytes`.
"""

import contextlib
import time
from contextlib import AbstractContextManager
from typing import Final, TypeAlias

from attrs import evolve, frozen

from mycelium.bench.contender import Contender
from mycelium.bench.process import Process, cpu_seconds, memory_bytes
from mycelium.bench.spec import Spec

__all__ = ["Figures", "Scene", "confirmed", "delivered", "idle_memory", "in_process", "paced", "round_trips"]

Figures: TypeAlias = dict[str, float]
_MILLION: Final = 1e6
_SETTLE_SECONDS: Final = 0.5


@frozen
class Scene:
    """Who does what, and how much of it.

    Attributes:
        contender: Who.
        spec: Workload and amounts; url and role are filled in.
        scheme: `tcp` or `unix`.
        publishers: Connections of the publisher process.
        subscribers: Connections of the subscriber process.
        receiver: Role of the subscriber process.
    """

    contender: Contender
    spec: Spec
    scheme: str = "tcp"
    publishers: int = 1
    subscribers: int = 1
    receiver: str = "subscriber"

    def start(self, role: str, url: str, connections: int = 1) -> AbstractContextManager[Process]:
        """One of its processes, which is set up or says what has gone wrong."""
        return self.contender.start(evolve(self.spec, role=role, url=url, connections=connections))


def delivered(scene: Scene) -> Figures:
    """A publisher process, the server if there is one, and a subscriber process; as fast as they can."""
    return _flow(scene, "publisher")


def paced(scene: Scene) -> Figures:
    """The same at a fixed rate: how late each message is against the time at which it was due."""
    return _flow(scene, "pacer")


def _flow(scene: Scene, sender: str) -> Figures:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(scene.contender.serve(scene.scheme))
        subscriber = stack.enter_context(scene.start(scene.receiver, server.url, scene.subscribers))
        publisher = stack.enter_context(scene.start(sender, server.url, scene.publishers))
        for process in (subscriber, publisher):
            process.facts()
        parties = [publisher, subscriber, *([server.process] if server.process else [])]
        meter = _Meter(parties, server.process)
        publisher.say()
        start = publisher.facts()["start"]
        facts = subscriber.facts()
        counted = _counted(facts, start, scene.spec.messages * scene.subscribers)
        return {**counted, **meter.per_million(facts["delivered"])}


def _counted(facts: Figures, start: float, expected: int) -> Figures:
    """Rate and losses, and the percentiles if there are any."""
    found = {name: facts[name] for name in facts if name.startswith("p")}
    count = facts["delivered"]
    return {"rate": count / max(facts["last"] - start, 1e-9), "lost": expected - count, **found}


class _Meter:
    """What processes compute from now on."""

    def __init__(self, parties: list[Process], server: Process | None) -> None:
        self._sides = {"cpu": parties, "server_cpu": [server] if server else []}
        self._before = {name: cpu_seconds(processes) for name, processes in self._sides.items()}

    def per_million(self, delivered: float) -> Figures:
        """CPU seconds by name; nothing where nobody counts them."""
        found = {}
        for name, processes in self._sides.items():
            before, after = self._before[name], cpu_seconds(processes)
            if before is not None and after is not None and after > before and delivered:
                found[name] = (after - before) / delivered * _MILLION
        return found


def round_trips(scene: Scene) -> Figures:
    """Requests from one process, answered by another, one at a time."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(scene.contender.serve(scene.scheme))
        stack.enter_context(scene.start("replier", server.url)).facts()
        asker = stack.enter_context(scene.start("asker", server.url))
        asker.facts()
        asker.say()
        return asker.facts()


def confirmed(scene: Scene) -> Figures:
    """Publishes whose receipt is waited for, with a subscriber process that takes what is published."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(scene.contender.serve(scene.scheme))
        subscriber = stack.enter_context(scene.start(scene.receiver, server.url))
        publisher = stack.enter_context(scene.start("confirmer", server.url))
        for process in (subscriber, publisher):
            process.facts()
        publisher.say()
        facts = publisher.facts()
        taken = subscriber.facts()["delivered"]
        return {**_counted(facts, facts["start"], scene.spec.messages), "lost": scene.spec.messages - taken}


def idle_memory(scene: Scene) -> Figures:
    """Memory of the server per connection with a subscription, after a tenth of them warmed it up."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(scene.contender.serve(scene.scheme))
        assert server.process is not None  # noqa: S101  there is nothing to measure without a server
        clients = stack.enter_context(scene.start("idler", server.url, scene.subscribers))
        clients.facts()
        before = memory_bytes(server.process)
        clients.say()
        count = clients.facts()["connections"]
        time.sleep(_SETTLE_SECONDS)  # what the server does after the last one is part of it
        after = memory_bytes(server.process)
        if before is None or after is None:
            return {}
        return {"connection_bytes": (after - before) / count}


def in_process(scene: Scene) -> Figures:
    """One process that publishes to itself."""
    with scene.start("caller", "") as process:
        process.facts()
        process.say()
        facts = process.facts()
        return _counted(facts, facts["start"], scene.spec.messages)
