"""What is measured across processes, the same for every contender: each scene starts its processes, and ends them.

A scene returns numbers by name: `rate` in deliveries a second, `cpu` in seconds of all processes per million
deliveries, `server_cpu` of the server alone, `lost` messages, percentiles in microseconds, `connection_bytes`.
"""

import contextlib
import time
from typing import TypeAlias

from attrs import evolve, frozen

from mycelium.bench.contender import Contender
from mycelium.bench.process import Process, cpu_seconds, memory_bytes
from mycelium.bench.spec import Spec
from mycelium.bench.workload import WORKLOADS

__all__ = ["Figures", "Scene", "confirmed", "delivered", "idle_memory", "paced", "round_trips"]

Figures: TypeAlias = dict[str, float]
_MILLION = 1e6


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

    def role(self, name: str, url: str, connections: int = 1) -> Spec:
        """The task of one of its processes, with the contender's share of the messages."""
        share = self.contender.share * WORKLOADS[self.spec.workload].share
        messages = max(int(self.spec.messages * share), 1)
        return evolve(self.spec, role=name, url=url, connections=connections, messages=messages)


def delivered(scene: Scene) -> Figures:
    """A publisher process, the server if there is one, and a subscriber process; as fast as they can."""
    return _flow(scene, "publisher")


def paced(scene: Scene) -> Figures:
    """The same at a fixed rate: how late each message is against the time at which it was due."""
    return _flow(scene, "pacer")


def _flow(scene: Scene, sender: str) -> Figures:
    contender = scene.contender
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contender.serve(scene.scheme))
        receiving = scene.role(scene.receiver, server.url, scene.subscribers)
        subscriber = stack.enter_context(contender.start(receiving))
        subscriber.facts()
        sending = scene.role(sender, server.url, scene.publishers)
        publisher = stack.enter_context(contender.start(sending))
        publisher.facts()
        parties = [publisher, subscriber, *([server.process] if server.process else [])]
        meter = _Meter(parties, server.process)
        publisher.say()
        start = publisher.facts()["start"]
        facts = subscriber.facts()
        expected = receiving.messages * scene.subscribers
        return {**_counted(facts, start, expected), **meter.per_million(facts["delivered"])}


def _counted(facts: dict[str, float], start: float, expected: int) -> Figures:
    found = {name: facts[name] for name in facts if name.startswith("p")}
    count = facts["delivered"]
    return {"rate": count / max(facts["last"] - start, 1e-9), "lost": expected - count, **found}


class _Meter:
    """What processes compute from now on."""

    def __init__(self, parties: list[Process], server: Process | None) -> None:
        self._parties = parties
        self._server = [server] if server else []
        self._before = cpu_seconds(parties), cpu_seconds(self._server)

    def per_million(self, delivered: float) -> Figures:
        """CPU seconds by name; nothing where nobody counts them."""
        found = {}
        sides = ("cpu", self._parties), ("server_cpu", self._server)
        for (name, processes), before in zip(sides, self._before, strict=True):
            after = cpu_seconds(processes)
            if processes and before is not None and after is not None and delivered:
                found[name] = (after - before) / delivered * _MILLION
        return found


def round_trips(scene: Scene) -> Figures:
    """Requests from one process, answered by another, one at a time."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(scene.contender.serve(scene.scheme))
        replier = stack.enter_context(scene.contender.start(evolve(scene.spec, role="replier", url=server.url)))
        replier.facts()
        asker = stack.enter_context(scene.contender.start(evolve(scene.spec, role="asker", url=server.url)))
        asker.facts()
        asker.say()
        return asker.facts()


def confirmed(scene: Scene) -> Figures:
    """Publishes whose receipt is waited for, with a subscriber process that takes what is published."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(scene.contender.serve(scene.scheme))
        subscriber = stack.enter_context(scene.contender.start(scene.role("subscriber", server.url)))
        subscriber.facts()
        publisher = stack.enter_context(scene.contender.start(scene.role("confirmer", server.url)))
        publisher.facts()
        publisher.say()
        facts = publisher.facts()
        taken = subscriber.facts()["delivered"]
        return _counted({**facts}, facts["start"], scene.role("", "").messages) | {"lost": facts["delivered"] - taken}


def idle_memory(scene: Scene) -> Figures:
    """Memory of the server per connection with a subscription, after a tenth of them warmed it up."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(scene.contender.serve(scene.scheme))
        assert server.process is not None  # noqa: S101  there is nothing to measure without a server
        clients = stack.enter_context(scene.contender.start(evolve(scene.spec, role="idler", url=server.url)))
        clients.facts()
        before = memory_bytes(server.process)
        clients.say()
        count = clients.facts()["connections"]
        time.sleep(0.5)  # what the server does after the last one is part of it
        after = memory_bytes(server.process)
        if before is None or after is None:
            return {}
        return {"connection_bytes": (after - before) / count}
