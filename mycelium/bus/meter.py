"""What is counted by type of message, and timed: only while somebody asks for it, and once a run rather than a message.

Everything that touches messages asks whether there is a `Tally`; without one it costs that question.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from operator import sub
from time import perf_counter, time_ns
from typing import Final, Protocol, TypeAlias, final

from mycelium.bus.histogram import Histogram
from mycelium.bus.traffic import LOCAL
from mycelium.schema.classes import Message
from mycelium.wire.buffer import Batch
from mycelium.wire.frames import HEADER

__all__ = ["UNKNOWN", "Mark", "Meter", "Tally", "Tap"]

UNKNOWN: Final = 0
"""Stands for the type of messages that were on their way when the counting began: no message has that id."""
_MOST_BYTES: Final = 4 * 1024 * 1024
_BYTES: Final = tuple(float(4**exponent) for exponent in range(3, 12) if 4**exponent <= _MOST_BYTES)
_MICRO: Final = (1e-05, 2.5e-05, 5e-05)
_LATENCY: Final = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WAIT: Final = (*_MICRO, *_LATENCY[:-1])
_ROUTE: Final = _WAIT[:-2]
_NS: Final = 1e-9
_TRACE_ID: Final = slice(1, 17)
_RECORDED: Final = 0x01
_FEW: Final = 8
"""Frames of several types whose lengths are all looked at."""
_SAMPLE: Final = 17
"""Of more of them one in so many is: a number that no pattern in which types take turns is likely to have."""
_FEW_TYPES: Final = 4
"""That are counted one after the other."""
_MOST_SHAPES: Final = 4096
"""Types and lengths that are counted by themselves before they are put into buckets."""
_HEADER: Final = HEADER.size
Mark: TypeAlias = tuple[float, int | None, str | None]
"""When a run came, when the first stamped message of it was published by its publisher's clock, in nanoseconds, and the
id of the trace that the first one is part of whose trace is recorded."""


class Tap(Protocol):
    """Who is shown what is published."""

    def take(self, message: Message) -> None:
        """A message of this process."""

    def take_batch(self, batch: Batch, client: str) -> None:
        """Frames of a client, of which the name is given."""


@final
class Meter:
    """Of one bus.

    Attributes:
        began: When the bytes came that are being looked at.
        stamp: The time of publication of the first stamped message among them; None where none is.
        trace: The id of the trace that is recorded of the first one that is part of one.
        mark: Of the run that is being routed.
        latency: From the publisher's stamp to the subscriber's socket, by type id.
        tap: Who is shown what is published; None where nobody watches.
    """

    def __init__(self) -> None:
        self.began = perf_counter()
        self.stamp: int | None = None
        self.trace: str | None = None
        self.mark: Mark = (self.began, None, None)
        self.latency: defaultdict[int, Histogram] = defaultdict(lambda: Histogram(_LATENCY))
        self.tap: Tap | None = None
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
        """A run from a socket is about to be routed."""
        self.mark = (perf_counter(), self.stamp, self.trace)

    def note_own(self) -> None:
        """A message of the process itself is."""
        self.mark = (perf_counter(), None, None)

    def took(self, message: Message) -> None:
        """A message of this process is about to be handed on, not by a plan."""
        self.tally(LOCAL).take(message.TYPE_ID)
        if self.tap is not None:
            self.tap.take(message)


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

    def take_all(self, received: Counter[int], delivered: Counter[int]) -> None:
        """So many messages of each type were published in the process, and so many delivered there."""
        self._received.update(received)
        self.delivered.update(delivered)

    def came(self, batch: Batch, stamp: int | None, trace: bytes | None = None) -> None:
        """Frames were let in, and are about to be routed.

        Args:
            batch: The frames.
            stamp: See `Meter`.
            trace: The trace context of the first of them that has one.
        """
        self.meter.stamp = stamp
        self.meter.trace = None if trace is None else _recorded(trace)
        types, bounds = batch.type_ids, batch.bounds
        count = len(types)
        if count == 1 or batch.is_even:
            self._shapes[types[0], bounds[1] - bounds[0]] += count
        elif count <= _FEW:
            self._shapes.update(zip(types, map(sub, bounds[1:], bounds), strict=False))
        else:
            self._sample(batch)
        if len(self._shapes) + len(self._samples) > _MOST_SHAPES:
            self.sort()

    def _sample(self, batch: Batch) -> None:
        """Count many frames of several types; the lengths of some stand for the others of their type."""
        types, bounds = batch.type_ids, batch.bounds
        seen: defaultdict[int, list[int]] = defaultdict(list)
        for place in range(0, len(types), _SAMPLE):
            seen[types[place]].append(bounds[place + 1] - bounds[place])
        for type_id, number in _counts(batch).items():
            self._received[type_id] += number
            lengths = seen[type_id]
            if not lengths:
                place = types.index(type_id)
                lengths.append(bounds[place + 1] - bounds[place])
            each, rest = divmod(number, len(lengths))
            for length in lengths:
                self._samples[type_id, length] += each
            self._samples[type_id, lengths[0]] += rest

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
        _observe(self.route, perf_counter() - self.meter.began, messages, self.meter.trace)

    def sent(self, mark: Mark | None, batch: Batch) -> Batch:
        """Frames that waited are given to a socket.

        Args:
            mark: What they were marked with when they came; None if that was before anything was counted.
            batch: The frames, which are given back.
        """
        if mark is None:
            return batch
        since, stamp, trace = mark
        _observe(self.wait, perf_counter() - since, len(batch.type_ids), trace)
        if stamp is not None:
            seconds = max(time_ns() - stamp, 0) * _NS
            for type_id, number in Counter(batch.type_ids).items():
                _observe(self.meter.latency[type_id], seconds, number, trace)
        return batch


def _counts(batch: Batch) -> Mapping[int, int]:
    """How many frames of each type there are."""
    types = batch.type_ids
    first, *others = batch.types
    if len(others) >= _FEW_TYPES:
        return Counter(types)
    found = {type_id: types.count(type_id) for type_id in others}
    return {**found, first: len(types) - sum(found.values())}


def _observe(histogram: Histogram, seconds: float, messages: int, trace: str | None) -> None:
    histogram.observe(seconds, messages)
    if trace is not None:
        histogram.example(seconds, trace)


def _recorded(context: bytes) -> str | None:
    """The id of a trace, if it is recorded (wire protocol, "Envelope metadata")."""
    return context[_TRACE_ID].hex() if context[-1] & _RECORDED else None
