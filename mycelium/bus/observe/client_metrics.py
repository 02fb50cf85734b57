"""Metrics of clients."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Final, final

from mycelium.bus.clientmeter import ClientMeter
from mycelium.bus.clientstate import ClientState
from mycelium.bus.histogram import Histogram
from mycelium.bus.observe.family import Family, Samples, Value
from mycelium.bus.observe.scrape import labels_of

__all__ = ["CLIENT_METRICS", "ClientScrape"]


@final
class ClientScrape:
    """What all metrics of one scrape are made from.

    Args:
        meters: Of clients, by their names.
    """

    def __init__(self, meters: Mapping[str, ClientMeter]) -> None:
        self.meters = meters

    def __repr__(self) -> str:
        return f"<ClientScrape of {', '.join(self.meters)}>"

    @cached_property
    def labels(self) -> Mapping[str, Mapping[int, str]]:
        """The label of each type id, by client; none before it was connected."""
        found = {}
        for name, meter in self.meters.items():
            contracts = meter.contracts
            found[name] = {} if contracts is None else labels_of(contracts.schema)
        return found

    def by_type(self, client: str, counts: Iterable[tuple[int, tuple[str, ...], int]]) -> Samples:
        """Figures of a client with the labels of client and message first."""
        sums: Counter[tuple[str, ...]] = Counter()
        for type_id, more, number in counts:
            label = self.labels[client].get(type_id)
            if label is not None:
                sums[(client, label, *more)] += number
        return sums.items()


def _connected(scrape: ClientScrape) -> Samples:
    return (((name,), int(meter.state is ClientState.CONNECTED)) for name, meter in scrape.meters.items())


def _reconnects(scrape: ClientScrape) -> Samples:
    return (((name, why), n) for name, meter in scrape.meters.items() for why, n in meter.reconnects.copy().items())


def _published(scrape: ClientScrape) -> Samples:
    for name, meter in scrape.meters.items():
        counts = meter.published.copy()
        for cls, posted in meter.posted.copy().items():
            counts[_name(cls), "published"] += posted.number
        yield from (((name, *labels), number) for labels, number in counts.items())


def _publish_duration(scrape: ClientScrape) -> Samples:
    for name, meter in scrape.meters.items():
        found = {label: one.copy() for label, one in meter.publish_seconds.copy().items()}
        for cls, posted in meter.posted.copy().items():
            found.setdefault(_name(cls), meter.empty()).observe(0.0, posted.number)  # they have waited for nothing
        yield from (((name, label), one) for label, one in found.items())


def _buffer_messages(scrape: ClientScrape) -> Samples:
    return (((name,), meter.unsent[0]) for name, meter in scrape.meters.items())


def _buffer_bytes(scrape: ClientScrape) -> Samples:
    return (((name,), meter.unsent[1]) for name, meter in scrape.meters.items())


def _received(scrape: ClientScrape) -> Samples:
    for name, meter in scrape.meters.items():
        yield from scrape.by_type(name, ((one, (), number) for one, number in meter.received.copy().items()))


def _waiting(scrape: ClientScrape) -> Samples:
    for name, meter in scrape.meters.items():
        yield from scrape.by_type(name, ((one, (), number) for one, number in meter.waiting.items()))


def _dropped(scrape: ClientScrape) -> Samples:
    for name, meter in scrape.meters.items():
        counts = meter.tally.dropped.copy().items()
        yield from scrape.by_type(name, ((one, (reason,), number) for (one, reason), number in counts))


def _handler_duration(scrape: ClientScrape) -> Samples:
    return _named(scrape, {name: meter.handler_seconds for name, meter in scrape.meters.items()})


def _handlers(scrape: ClientScrape) -> Samples:
    return (((name,), meter.handlers) for name, meter in scrape.meters.items())


def _exceptions(scrape: ClientScrape) -> Samples:
    return (
        ((name, *labels), number)
        for name, meter in scrape.meters.items()
        for labels, number in meter.exceptions.copy().items()
    )


def _request_duration(scrape: ClientScrape) -> Samples:
    for name, meter in scrape.meters.items():
        yield from (((name, *labels), one) for labels, one in meter.request_seconds.copy().items())


def _named(
    scrape: ClientScrape, found: Mapping[str, Mapping[str, Histogram]]
) -> Iterator[tuple[tuple[str, ...], Value]]:
    return (((name, label), one) for name in scrape.meters for label, one in dict(found[name]).items())


def _name(cls: type) -> str:
    name: str = cls.__mycelium__.message.name  # type: ignore[attr-defined]  # it is a message
    return name


_CLIENT: Final = ("client",)
_MESSAGE: Final = ("client", "message")
CLIENT_METRICS: Final[tuple[Family[ClientScrape], ...]] = (
    Family("mycelium_client_connected", "gauge", "1 while the client is connected.", _CLIENT, _connected),
    Family(
        "mycelium_client_reconnects_total",
        "counter",
        "Connections after the first, by why the one before was lost.",
        ("client", "reason"),
        _reconnects,
    ),
    Family(
        "mycelium_client_published_total",
        "counter",
        "Messages: published once they are in the send buffer, or confirmed, else the name of the exception.",
        ("client", "message", "outcome"),
        _published,
    ),
    Family(
        "mycelium_client_publish_duration_seconds",
        "histogram",
        "Time of a publish; 0 for one that has to wait for nothing.",
        _MESSAGE,
        _publish_duration,
    ),
    Family(
        "mycelium_client_send_buffer_messages", "gauge", "Messages that wait to be sent.", _CLIENT, _buffer_messages
    ),
    Family("mycelium_client_send_buffer_bytes", "gauge", "Their bytes.", _CLIENT, _buffer_bytes),
    Family(
        "mycelium_client_received_total", "counter", "Messages from the bridge, replies included.", _MESSAGE, _received
    ),
    Family(
        "mycelium_client_receive_queue_messages",
        "gauge",
        "Messages that wait for handlers and iterators.",
        _MESSAGE,
        _waiting,
    ),
    Family(
        "mycelium_client_dropped_total",
        "counter",
        "Messages that a handler or an iterator did not get, by reason.",
        ("client", "message", "reason"),
        _dropped,
    ),
    Family(
        "mycelium_client_handler_duration_seconds",
        "histogram",
        "Time of a handler's call.",
        _MESSAGE,
        _handler_duration,
    ),
    Family("mycelium_client_handlers_in_progress", "gauge", "Calls of handlers that are going on.", _CLIENT, _handlers),
    Family(
        "mycelium_client_handler_exceptions_total",
        "counter",
        "What handlers have raised, by the name of the exception.",
        ("client", "message", "exception"),
        _exceptions,
    ),
    Family(
        "mycelium_client_request_duration_seconds",
        "histogram",
        "Time of a request: replied, timeout, or the name of the exception.",
        ("client", "message", "outcome"),
        _request_duration,
    ),
)
