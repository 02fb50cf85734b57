"""Metrics of messages: how many, what became of them, how large they were, and how long they took."""

from typing import Final

from mycelium.bus.observe.family import Family, Samples
from mycelium.bus.observe.scrape import Scrape

__all__ = ["MESSAGE_METRICS"]


def _subscriptions(scrape: Scrape) -> Samples:
    known = scrape.observed.exchange.registry.by_id
    return scrape.by_message((type_id, (), scrape.figures.subscriptions(type_id)) for type_id in known)


def _received(scrape: Scrape) -> Samples:
    counts = scrape.figures.received.items()
    return scrape.by_message((type_id, (transport,), number) for (type_id, transport), number in counts)


def _delivered(scrape: Scrape) -> Samples:
    counts = scrape.figures.delivered.items()
    return scrape.by_message((type_id, (transport,), number) for (type_id, transport), number in counts)


def _dropped(scrape: Scrape) -> Samples:
    counts = scrape.figures.dropped.items()
    return scrape.by_message((type_id, (transport, why), number) for (type_id, transport, why), number in counts)


def _unknown(scrape: Scrape) -> Samples:
    return (((one.transport, policy), number) for one in scrape.sockets for policy, number in list(one.unknown.items()))


def _broken(scrape: Scrape) -> Samples:
    counts = (each for one in scrape.sockets for each in list(one.broken.items()))
    return scrape.by_message((type_id, (rule,), number) for (type_id, rule), number in counts)


def _sizes(scrape: Scrape) -> Samples:
    return scrape.histograms(scrape.observed.meter.sizes)


def _latency(scrape: Scrape) -> Samples:
    return scrape.histograms(scrape.observed.meter.latency)


def _route(scrape: Scrape) -> Samples:
    tallies = scrape.observed.meter.tallies
    return (((one.transport,), tallies[one.transport].route) for one in scrape.sockets if one.transport in tallies)


def _wait(scrape: Scrape) -> Samples:
    tallies = scrape.observed.meter.tallies
    return (((one.transport,), tallies[one.transport].wait) for one in scrape.sockets if one.transport in tallies)


def _requests(scrape: Scrape) -> Samples:
    counts = list(scrape.observed.exchange.answers.outcomes.items())
    return scrape.by_message((type_id, (outcome,), number) for (type_id, outcome), number in counts)


def _retained(scrape: Scrape) -> Samples:
    kept = scrape.observed.exchange.catalog.retained
    return scrape.by_message((type_id, (), scrape.figures.retained[type_id]) for type_id in kept)


_MESSAGE: Final = ("message",)
_ON_ITS_WAY: Final = ("message", "transport")
MESSAGE_METRICS: Final[tuple[Family[Scrape], ...]] = (
    Family("mycelium_subscriptions", "gauge", "Subscriptions that the message fits.", _MESSAGE, _subscriptions),
    Family(
        "mycelium_messages_received_total",
        "counter",
        "Messages that came into the bus.",
        _ON_ITS_WAY,
        _received,
    ),
    Family(
        "mycelium_messages_delivered_total",
        "counter",
        "Messages that a receiver is done with, counted once for each receiver.",
        _ON_ITS_WAY,
        _delivered,
    ),
    Family(
        "mycelium_messages_dropped_total",
        "counter",
        "Messages that a receiver did not get, by reason.",
        ("message", "transport", "reason"),
        _dropped,
    ),
    Family(
        "mycelium_messages_unknown_total",
        "counter",
        "Frames of types that the bridge does not know: skipped where the client's contracts have them, else refused.",
        ("transport", "policy"),
        _unknown,
    ),
    Family(
        "mycelium_validation_failures_total",
        "counter",
        "Frames with a value that breaks a rule of the contract.",
        ("message", "rule"),
        _broken,
    ),
    Family(
        "mycelium_message_size_bytes",
        "histogram",
        "Payloads of messages from sockets.",
        _MESSAGE,
        _sizes,
    ),
    Family(
        "mycelium_route_duration_seconds",
        "histogram",
        "From the read of a frame to the last queue that it was put into.",
        ("transport",),
        _route,
    ),
    Family(
        "mycelium_queue_wait_seconds",
        "histogram",
        "From there to the socket.",
        ("transport",),
        _wait,
    ),
    Family(
        "mycelium_delivery_latency_seconds",
        "histogram",
        "From the publisher's stamp to the subscriber's socket, by two clocks; of stamped messages alone.",
        _MESSAGE,
        _latency,
    ),
    Family(
        "mycelium_requests_total",
        "counter",
        "Requests: replied, no_responders, or timeout where nothing came as long as it was waited for.",
        ("message", "outcome"),
        _requests,
    ),
    Family("mycelium_retained_messages", "gauge", "Last values that are kept.", _MESSAGE, _retained),
)
