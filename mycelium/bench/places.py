"""What `mycelium bench` measures, place by place."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import Final

from attrs import evolve, frozen

from mycelium.bench.codec import codec_runs
from mycelium.bench.figures import Run
from mycelium.bench.ours import MYCELIUM
from mycelium.bench.scenes import Scene, delivered, in_process, paced, round_trips
from mycelium.bench.spec import Spec

__all__ = ["PLACES", "Amounts"]


@frozen
class Amounts:
    """How much of everything.

    Attributes:
        messages: Of a round of throughput.
        rate: Messages a second while latency is measured.
    """

    messages: int
    rate: int


_ROUND_TRIPS: Final = 1000
"""At the most: each takes as long as hundreds of messages that are not waited for."""
_LOCAL: Final = {"publish_nowait to a handler": "", "publish to an async handler": "handler", "async for": "iterator"}


def _through_a_bridge(scheme: str, amounts: Amounts, stack: ExitStack) -> Mapping[str, Run]:
    server = stack.enter_context(MYCELIUM.serve(scheme))
    running = evolve(MYCELIUM, serve=lambda _: nullcontext(server))  # one bridge for all rounds: it takes time to start
    scene = Scene(running, Spec("", messages=amounts.messages, rate=amounts.rate), scheme)
    stamped = evolve(scene.spec, workload="stamped", messages=min(amounts.rate, amounts.messages))
    trips = evolve(scene.spec, messages=min(amounts.messages, _ROUND_TRIPS))
    return {
        "throughput": partial(delivered, scene),
        f"latency at {amounts.rate:,}/s": partial(paced, evolve(scene, spec=stamped)),
        "request and reply": partial(round_trips, evolve(scene, spec=trips)),
    }


def _local(amounts: Amounts, _: ExitStack) -> Mapping[str, Run]:
    spec = Spec("", messages=amounts.messages)
    return {name: partial(in_process, Scene(evolve(MYCELIUM, way=way), spec)) for name, way in _LOCAL.items()}


PLACES: Final[Mapping[str, Callable[[Amounts, ExitStack], Mapping[str, Run]]]] = {
    "local": _local,
    "unix": partial(_through_a_bridge, "unix"),
    "tcp": partial(_through_a_bridge, "tcp"),
    "codec": lambda _, __: codec_runs(),
}
"""Where: inside a process, through a bridge that runs until the stack is closed, and what messages cost to make and
read."""
