"""Which publishes are offered to OpenTelemetry at all: asking its sampler costs more than publishing a message.

A publish without a span around it begins a trace, and the sampler decides whether that is kept. Where it is known to
keep a share of them by their trace ids alone, which is what OTEL_TRACES_SAMPLER=parentbased_traceidratio asks for, the
number of publishes up to the next one that it keeps is drawn at once, and those before cost a countdown. That one gets
a trace id out of the share, so that the sampler, which is asked as ever, and everybody else who goes by the id, decides
alike. Any other sampler is asked each time.
"""

import copy
import math
import random
import re
from typing import Any, Final, final

from attrs import frozen

__all__ = ["ALWAYS_ASK", "Pace", "Share", "share_of"]

_LOW: Final = 1 << 64
"""A sampler by ratio looks at the 64 lower bits of a trace id."""
_NEVER: Final = 1 << 62
_LONGEST: Final = 32
"""Strides of a pace, so that after a rush a slow publisher is not forgotten for long."""
_BY_PARENT: Final = (
    r",remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler"
    r",localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler\}"
)
_ROOT: Final = r"(?:AlwaysOffSampler|TraceIdRatioBased\{([0-9.e+-]+)\})"
_DESCRIPTION: Final = re.compile(rf"{_ROOT}|ParentBased\{{root:{_ROOT}{_BY_PARENT}")
"""How the specification has samplers describe themselves."""


@final
@frozen
class Share:
    """The share of traces that a sampler keeps, where it is known.

    Attributes:
        rate: 1 where it is not known: then each publish is offered.
        tracer: Begins those that are kept; None for the usual one.
    """

    rate: float = 1.0
    tracer: Any = None

    def draw(self) -> int:
        """How many publishes there are up to the next one that is offered, that one included."""
        if self.rate >= 1:
            return 1
        if self.rate <= 0:
            return _NEVER
        return int(math.log(1 - random.random()) / math.log(1 - self.rate)) + 1  # noqa: S311  no secret


ALWAYS_ASK: Final = Share()


@final
class Pace:
    """How many traces may begin in a second, evenly spread but for a tenth of them at a time.

    Args:
        most: See above.

    Attributes:
        stride: How many times fewer need be asked for, since so many were refused: each refusal doubles it.
    """

    def __init__(self, most: float) -> None:
        self.stride = 1
        self._most = most
        self._room = max(most / 10, 1.0)
        self._left = self._room
        self._last = 0.0

    def __repr__(self) -> str:
        return f"<Pace of {self._most:g} a second>"

    def admit(self, now: float) -> bool:
        """Whether one more may begin.

        Args:
            now: Seconds of a monotonic clock.
        """
        self._left = min(self._room, self._left + (now - self._last) * self._most)
        self._last = now
        if self._left < 1:
            self.stride = min(2 * self.stride, _LONGEST)
            return False
        self.stride = max(self.stride // 2, 1)
        self._left -= 1
        return True


def share_of(tracer: Any) -> Share:
    """What is known of the sampler behind a tracer.

    Args:
        tracer: OpenTelemetry's; of an SDK, it has a `sampler` and an `id_generator`.
    """
    sampler, source = getattr(tracer, "sampler", None), getattr(tracer, "id_generator", None)
    describe = getattr(sampler, "get_description", None)
    found = None if describe is None or source is None else _DESCRIPTION.fullmatch(describe())
    if found is None:
        return ALWAYS_ASK
    rate = float(found[1] or found[2] or 0)
    bound = round(rate * _LOW)
    if not 0 < bound < _LOW:
        return Share(rate)
    return _proved(tracer, sampler, rate, _Ids(source, bound))


def _proved(tracer: Any, sampler: Any, rate: float, ids: "_Ids") -> Share:
    """The share, if the sampler does keep those ids and no others."""
    inside, outside = ids.generate_trace_id(), ids.outside()
    kept = [sampler.should_sample(None, one, "publish").decision.is_sampled() for one in (inside, outside)]
    if kept != [True, False]:
        return ALWAYS_ASK
    made = copy.copy(tracer)  # the tracer itself is everybody's
    made.id_generator = ids
    return Share(rate, made)


@final
class _Ids:
    """Trace ids of those that a sampler keeps.

    Args:
        source: Where ids are from.
        bound: What their lower 64 bits are below.
    """

    def __init__(self, source: Any, bound: int) -> None:
        self._source = source
        self._bound = bound
        self.generate_span_id = source.generate_span_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def generate_trace_id(self) -> int:
        """One of them."""
        high: int = self._source.generate_trace_id() & ~(_LOW - 1)
        return high | random.randrange(self._bound)  # noqa: S311  no secret

    def outside(self) -> int:
        """One that is none of them."""
        return int(self._source.generate_trace_id() | (_LOW - 1))
