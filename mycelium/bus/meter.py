"""What is counted by type of message, and timed: only while somebody asks for it, and once a run rather than a message.

Everything that touches messages asks whether there is a `Tally`; without one it costs that question.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from operator import sub
from time import perf_counter, time_ns
from typing import Final, TypeAlias, final

from mycelium.bus.histogram import Histogram
from mycelium.wire.buffer import Batch
from mycelium.wire.frames import HEADER

__all__ = ["UNKNOWN", "Mark", "Meter", "Tally"]

UNKNOWN: Final = 0
"""Stands for the type of messages that were on their way when the counting began: no message has that id."""
_MOST_BYTES: Final = 4 * 1024 * 1024
_BYTES: Final = tuple(float(4**exponent) for exponent in range(3, 12) if 4**exponent <= _MOST_BYTES)
_MICRO: Final = (1e-05, 2.5e-05, 5e-05)
_LATENCY: Final = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WAIT: Final = (*_MICRO, *_LATENCY[:-1])
_ROUTE: Final = _WAIT[:-2]
_NS: Final = 1e-9
_HEADER: Final = HEADER.size
Mark: TypeAlias = tuple[float, int | None]
"""When a run came, and when the first stamped message of it was published by its publisher's clock, in nanoseconds."""


@final
class Meter:
    """Of one bus.

    Attributes:
        began: When the bytes came that are being looked at.
        mark: Of the run that is being routed.
        stamp: The time of publication of the first stamped message among them; None where none is.
        sizes: Payloads of messages from sockets, by type id.
        latency: From the publisher's stamp to the subscriber's socket, by type id.
    """

    def __init__(self) -> None:
        self.began = perf_counter()
        self.stamp: int | None = None
        self.mark: Mark = (self.began, None)
        self.sizes: defaultdict[int, Histogram] = defaultdict(lambda: Histogram(_BYTES))
        self.latency: defaultdict[int, Histogram] = defaultdict(lambda: Histogram(_LATENCY))
        self._tallies: dict[str, Tally] = {}

    def __repr__(self) -> str:
        return f"<Meter of {', '.join(self._tallies)}>"

    @property
    def tallies(self) -> "Mapping[str, Tally]":
        """By transport."""
        return self._tallies

    def tally(self, transport: str) -> "Tally":
        """The counters of a transport."""
        found = self._tallies.get(transport)
        if found is None:
            found = self._tallies[transport] = Tally(self)
        return found

    def begin(self) -> None:
        """Bytes came from a socket."""
        self.began = perf_counter()

    def note(self) -> None:
        """A run is about to be routed."""
        self.mark = (perf_counter(), self.stamp)


@final
class Tally:
    """Of one transport.

    Args:
        meter: Of its bus.

    Attributes:
        meter: See above.
        received: Messages that came into the bus, by type id.
        delivered: Those that a receiver is done with, once each.
        dropped: Those that a receiver did not get, by type id and reason.
        route: Seconds from the read of a frame to the last queue that it was put into.
        wait: Seconds from there to the socket.
    """

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.received: Counter[int] = Counter()
        self.delivered: Counter[int] = Counter()
        self.dropped: Counter[tuple[int, str]] = Counter()
        self.route = Histogram(_ROUTE)
        self.wait = Histogram(_WAIT)

    def __repr__(self) -> str:
        return f"<Tally of {self.received.total()} messages received>"

    def came(self, batch: Batch, stamp: int | None) -> None:
        """Frames were let in, and are about to be routed.

        Args:
            batch: The frames.
            stamp: See `Meter`.
        """
        self.meter.stamp = stamp
        types, bounds, sizes = batch.type_ids, batch.bounds, self.meter.sizes
        count = len(types)
        if count == 1 or batch.is_even:
            self.received[types[0]] += count
            sizes[types[0]].observe(bounds[1] - bounds[0] - _HEADER, count)
            return
        for (type_id, size), number in Counter(zip(types, map(sub, bounds[1:], bounds), strict=False)).items():
            self.received[type_id] += number
            sizes[type_id].observe(size - _HEADER, number)

    def routed(self, messages: int) -> None:
        """They were."""
        self.route.observe(perf_counter() - self.meter.began, messages)

    def sent(self, mark: Mark | None, batch: Batch) -> Batch:
        """Frames that waited are given to a socket.

        Args:
            mark: What they were marked with when they came; None if that was before anything was counted.
            batch: The frames, which are given back.
        """
        if mark is None:
            return batch
        since, stamp = mark
        self.wait.observe(perf_counter() - since, len(batch.type_ids))
        if stamp is not None:
            seconds = max(time_ns() - stamp, 0) * _NS
            for type_id, number in Counter(batch.type_ids).items():
                self.meter.latency[type_id].observe(seconds, number)
        return batch
