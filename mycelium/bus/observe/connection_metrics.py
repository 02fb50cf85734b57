"""Metrics of connections, their handshakes, bytes and queues, and of the loop."""

from collections import Counter
from functools import reduce
from typing import Final

from mycelium.bus.histogram import Histogram
from mycelium.bus.observe.family import Family, Samples
from mycelium.bus.observe.scrape import Scrape

__all__ = ["CONNECTION_METRICS"]


def _connections(scrape: Scrape) -> Samples:
    now = Counter(one.traffic.transport for one in scrape.observed.sessions)
    return (((one.transport,), now[one.transport]) for one in scrape.sockets)


def _limit(scrape: Scrape) -> Samples:
    if scrape.observed.bridges:
        yield (), sum(one.limits.connections for one in scrape.observed.bridges)


def _opened(scrape: Scrape) -> Samples:
    return (((one.transport,), one.opened) for one in scrape.sockets)


def _closed(scrape: Scrape) -> Samples:
    return (((one.transport, reason), number) for one in scrape.sockets for reason, number in list(one.closed.items()))


def _handshakes(scrape: Scrape) -> Samples:
    return (
        ((one.transport, outcome), number) for one in scrape.sockets for outcome, number in list(one.handshakes.items())
    )


def _handshake_duration(scrape: Scrape) -> Samples:
    return (((one.transport,), one.handshake_seconds) for one in scrape.sockets)


def _received_bytes(scrape: Scrape) -> Samples:
    sums = Counter({one.transport: one.received_bytes for one in scrape.sockets})
    for one in scrape.observed.connections:
        sums[one.session.traffic.transport] += one.received_bytes
    return (((transport,), number) for transport, number in sums.items())


def _sent_bytes(scrape: Scrape) -> Samples:
    sums = Counter({one.transport: one.sent_bytes for one in scrape.sockets})
    for one in scrape.observed.sessions:
        sums[one.traffic.transport] += one.outgoing.written
    return (((transport,), number) for transport, number in sums.items())


def _invalid(scrape: Scrape) -> Samples:
    return (((one.transport, reason), number) for one in scrape.sockets for reason, number in list(one.invalid.items()))


def _queued(scrape: Scrape) -> Samples:
    sums: Counter[str] = Counter({one.transport: 0 for one in scrape.sockets})
    for row in scrape.rows:
        sums[row.transport] += row.stats.queued
    return (((transport,), number) for transport, number in sums.items())


def _queued_bytes(scrape: Scrape) -> Samples:
    sums: Counter[str] = Counter({one.transport: 0 for one in scrape.sockets})
    for row in scrape.rows:
        sums[row.transport] += row.queued_bytes or 0
    return (((transport,), sums[transport]) for transport in sums if transport != "local")


def _largest(scrape: Scrape) -> Samples:
    largest: dict[str, int] = {one.transport: 0 for one in scrape.sockets}
    for row in scrape.rows:
        largest[row.transport] = max(largest.get(row.transport, 0), row.stats.queued)
    return (((transport,), number) for transport, number in largest.items())


def _capacity(scrape: Scrape) -> Samples:
    if scrape.observed.bridges:
        yield (), max(one.limits.queue for one in scrape.observed.bridges)


def _slow(scrape: Scrape) -> Samples:
    yield (), sum(row.slow for row in scrape.rows)


def _slow_events(scrape: Scrape) -> Samples:
    return (((policy,), number) for policy, number in list(scrape.observed.exchange.slow.items()))


def _paused(scrape: Scrape) -> Samples:
    return (((one.transport,), one.blocked_seconds) for one in scrape.traffic)


def _lag(scrape: Scrape) -> Samples:
    if scrape.observed.bridges:
        yield (), reduce(Histogram.plus, (one.lag.seconds for one in scrape.observed.bridges))


_TRANSPORT: Final = ("transport",)
CONNECTION_METRICS: Final[tuple[Family[Scrape], ...]] = (
    Family("mycelium_connections", "gauge", "Connections now, handshakes included.", _TRANSPORT, _connections),
    Family("mycelium_connections_limit", "gauge", "Connections that may be open at the same time.", (), _limit),
    Family("mycelium_connections_opened_total", "counter", "Connections that were taken.", _TRANSPORT, _opened),
    Family(
        "mycelium_connections_closed_total",
        "counter",
        "Connections that have ended, by the name of the error, `client` or `eof`.",
        ("transport", "reason"),
        _closed,
    ),
    Family(
        "mycelium_handshakes_total",
        "counter",
        "Handshakes: accepted, or the reason of the end that came before.",
        ("transport", "outcome"),
        _handshakes,
    ),
    Family(
        "mycelium_handshake_duration_seconds",
        "histogram",
        "From the connection to Welcome.",
        _TRANSPORT,
        _handshake_duration,
    ),
    Family("mycelium_received_bytes_total", "counter", "Bytes from sockets.", _TRANSPORT, _received_bytes),
    Family("mycelium_sent_bytes_total", "counter", "Bytes to sockets.", _TRANSPORT, _sent_bytes),
    Family(
        "mycelium_frames_invalid_total",
        "counter",
        "Frames that were not taken, by the name of the error.",
        ("transport", "reason"),
        _invalid,
    ),
    Family("mycelium_queue_messages", "gauge", "Messages in all queues.", _TRANSPORT, _queued),
    Family("mycelium_queue_bytes", "gauge", "Bytes in the queues of socket clients.", _TRANSPORT, _queued_bytes),
    Family("mycelium_queue_largest_messages", "gauge", "Messages in the fullest queue.", _TRANSPORT, _largest),
    Family(
        "mycelium_queue_capacity_messages",
        "gauge",
        "Messages that may wait for a subscription, unless it has asked for less.",
        (),
        _capacity,
    ),
    Family("mycelium_slow_consumers", "gauge", "Subscriptions whose queue was full, and not empty since.", (), _slow),
    Family(
        "mycelium_slow_consumer_events_total",
        "counter",
        "Times that a queue became full, by the policy that acted.",
        ("action",),
        _slow_events,
    ),
    Family(
        "mycelium_publisher_paused_seconds_total",
        "counter",
        "Time for which publishers were made to wait for room.",
        _TRANSPORT,
        _paused,
    ),
    Family(
        "mycelium_event_loop_lag_seconds",
        "histogram",
        "How late the loop comes to what is due; looked at four times a second.",
        (),
        _lag,
    ),
)
