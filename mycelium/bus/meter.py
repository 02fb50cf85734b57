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
_FEW: Final = 8
"""Frames of several types whose lengths are all looked at."""
_SAMPLE: Final = 16
"""Of more of them one in so many is, and stands for the others."""
_FEW_TYPES: Final = 4
"""That are counted one after the other."""
_MOST_SHAPES: Final = 4096
"""Types and lengths that are counted by themselves before they are put into buckets."""
_HEADER: Final = HEADER.size
Mark: TypeAlias = tuple[float, int | None]
"""When a run came, and when the first stamped message of it was published by its publisher's clock, in nanoseconds."""


@final
class Meter:
    """Of one bus.

    Attributes:
        began: When the bytes came that are being looked at.
        stamp: The time of publication of the first stamped message among them; None where none is.
        mark: Of the run that is being routed.
        latency: From the publisher's stamp to the subscriber's socket, by type id.
    """

    def __init__(self) -> None:
        self.began = perf_counter()
        self.stamp: int | None = None
        self.mark: Mark = (self.began, None)
        self.latency: defaultdict[int, Histogram] = defaultdict(lambda: Histogram(_LATENCY))
        self._tallies: dict[str, Tally] = {}
        self._sizes: defaultdict[int, Histogram] = defaultdict(lambda: Histogram(_BYTES))

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
            found = self._tallies[transport] = Tally(self, self._sizes)
        return found

    @property
    def sizes(self) -> Mapping[int, Histogram]:
        """Payloads of messages from sockets, by type id."""
        for one in self._tallies.values():
            one.sort()
        return self._sizes

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
        sizes: Where the sizes of payloads are put, by type id.

    Attributes:
        meter: See above.
        delivered: Messages that a receiver is done with, once each, by type id.
        dropped: Those that a receiver did not get, by type id and reason.
        route: Seconds from the read of a frame to the last queue that it was put into.
        wait: Seconds from there to the socket.
    """

    def __init__(self, meter: Meter, sizes: Mapping[int, Histogram]) -> None:
        self.meter = meter
        self.delivered: Counter[int] = Counter()
        self.dropped: Counter[tuple[int, str]] = Counter()
        self.route = Histogram(_ROUTE)
        self.wait = Histogram(_WAIT)
        self._sizes = sizes
        self._received: Counter[int] = Counter()
        self._shapes: Counter[tuple[int, int]] = Counter()
        """Frames by type and length, which are in `_received` and `_sizes` once they are sorted."""
        self._samples: Counter[tuple[int, int]] = Counter()
        """Frames that are in `_received` already, so that only their lengths matter."""

    def __repr__(self) -> str:
        return f"<Tally of {self.received.total()} messages received>"

    @property
    def received(self) -> Counter[int]:
        """Messages that came into the bus, by type id."""
        self.sort()
        return self._received

    def take(self, type_id: int) -> None:
        """A message was published in the process."""
        self._received[type_id] += 1

    def came(self, batch: Batch, stamp: int | None) -> None:
        """Frames were let in, and are about to be routed.

        Args:
            batch: The frames.
            stamp: See `Meter`.
        """
        self.meter.stamp = stamp
        types, bounds = batch.type_ids, batch.bounds
        count = len(types)
        if count == 1 or batch.is_even:
            self._shapes[types[0], bounds[1] - bounds[0]] += count
        elif count <= _FEW:
            self._shapes.update(zip(types, map(sub, bounds[1:], bounds), strict=False))
        else:
            self._sample(batch, count)
        if len(self._shapes) + len(self._samples) > _MOST_SHAPES:
            self.sort()

    def _sample(self, batch: Batch, count: int) -> None:
        """Count many frames of several types, and look at the lengths of some."""
        types, bounds = batch.type_ids, batch.bounds
        first, *others = batch.types
        if len(others) < _FEW_TYPES:
            left = count
            for type_id in others:
                number = types.count(type_id)
                self._received[type_id] += number
                left -= number
            self._received[first] += left
        else:
            self._received.update(types)
        looked_at = -(-count // _SAMPLE)
        each = count // looked_at
        samples = self._samples
        for shape in zip(types[::_SAMPLE], map(sub, bounds[1::_SAMPLE], bounds[::_SAMPLE]), strict=False):
            samples[shape] += each
        samples[types[0], bounds[1] - bounds[0]] += count - looked_at * each

    def sort(self) -> None:
        """Put lengths into buckets, which is not done run by run."""
        for (type_id, _), number in self._shapes.items():
            self._received[type_id] += number
        for shapes in (self._shapes, self._samples):
            for (type_id, length), number in shapes.items():
                self._sizes[type_id].observe(length - _HEADER, number)
            shapes.clear()

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
