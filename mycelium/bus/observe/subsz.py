"""`/subsz` and `/queuez`: who wants what, and what waits for whom."""

from collections.abc import Iterator, Mapping
from typing import Final

from attrs import asdict, frozen

from mycelium.bus.observe.observed import OWN_SESSION, Observed
from mycelium.bus.observe.paging import Json, Page, chosen
from mycelium.bus.remotesubscription import RemoteSubscription
from mycelium.bus.session import Session
from mycelium.bus.stats import SubscriptionStats
from mycelium.bus.subscription import LocalSubscription
from mycelium.bus.traffic import LOCAL

__all__ = ["Row", "queuez", "rows", "subsz"]

_YES_NO: Final = ("no", "yes")


@frozen
class Row:
    """A subscription, here or behind a socket.

    Attributes:
        session: Of the client; 0 for the bus's own process.
        client: Its name.
        transport: What it runs over.
        number: The client's own number for it; in the process its place in a list.
        subscriber: The name of the handler, in the process.
        type_ids: Empty for all.
        on_lag: The policy; None for what each message's contract says.
        group: Who shares its messages.
        no_echo: Whether it leaves out what its own side publishes.
        window: Messages that are sent ahead; None where nothing is, or whatever the socket takes.
        stats: Its counters.
        queued_bytes: Of what waits; None in the process, where objects have none.
        capacity: Messages that may wait.
        capacity_bytes: Bytes that may.
        slow: Whether its queue was full, and has not been empty since.
    """

    session: int
    client: str
    transport: str
    number: int
    subscriber: str | None
    type_ids: frozenset[int]
    on_lag: str | None
    group: str | None
    no_echo: bool
    window: int | None
    stats: SubscriptionStats
    queued_bytes: int | None
    capacity: int
    capacity_bytes: int | None
    slow: bool


def rows(observed: Observed) -> Iterator[Row]:
    """All subscriptions."""
    for number, one in enumerate(observed.local, 1):
        yield _local_row(number, one)
    for session in observed.sessions:
        for subscription in session.subscriptions:
            yield _remote_row(session, subscription)


def subsz(observed: Observed, query: Mapping[str, str]) -> Json:
    """Subscriptions; `type=Ping` and `session=3` leave out others.

    Raises:
        UsageError: The query makes no sense.
    """
    page, wanted, session = Page.of(query), query.get("type"), query.get("session")
    name = observed.exchange.name_of
    found = [
        one
        for one in rows(observed)
        if (wanted is None or not one.type_ids or wanted in map(name, one.type_ids))
        and (session is None or session == str(one.session))
    ]

    def describe(one: Row) -> Json:
        return {
            **_who(observed, one),
            "on_lag": one.on_lag,
            "group": one.group,
            "no_echo": one.no_echo,
            "window": one.window,
            **asdict(one.stats, recurse=False),
        }

    return page.cut("subscriptions", found, describe)


def queuez(observed: Observed, query: Mapping[str, str]) -> Json:
    """Queues with something in them, the fullest first; with `all=yes` the empty ones too.

    Raises:
        UsageError: The query makes no sense.
    """
    page, everything = Page.of(query), chosen(query, "all", _YES_NO) == "yes"
    found = [one for one in rows(observed) if everything or one.slow or one.stats.queued or one.stats.in_flight]
    found.sort(key=lambda one: (-one.stats.queued, -one.stats.in_flight, one.session, one.number))
    ledger = observed.exchange.ledger

    def describe(one: Row) -> Json:
        return {
            **_who(observed, one),
            "on_lag": one.on_lag,
            "queued_messages": one.stats.queued,
            "queued_bytes": one.queued_bytes,
            "capacity_messages": one.capacity,
            "capacity_bytes": one.capacity_bytes,
            "in_flight_messages": one.stats.in_flight,
            "window": one.window,
            "dropped": dict(one.stats.dropped),
            "slow": one.slow,
        }

    memory = {"used_bytes": ledger.total, "limit_bytes": ledger.limit}
    return {"memory": memory, **page.cut("queues", found, describe)}


def _who(observed: Observed, one: Row) -> Json:
    types = sorted(map(observed.exchange.name_of, one.type_ids)) if one.type_ids else None
    return {
        "session": one.session,
        "client": one.client,
        "transport": one.transport,
        "subscription": one.number,
        "subscriber": one.subscriber,
        "types": types,
    }


def _local_row(number: int, one: LocalSubscription) -> Row:
    options, queue = one.options, one.queue
    return Row(
        OWN_SESSION,
        "",
        LOCAL,
        number,
        subscriber=one.name,
        type_ids=one.type_ids,
        on_lag=None if options.on_lag is None else options.on_lag.word,
        group=one.group,
        no_echo=options.no_echo,
        window=None,
        stats=one.stats(),
        queued_bytes=None,
        capacity=queue.limit,
        capacity_bytes=None,
        slow=queue.is_slow,
    )


def _remote_row(session: Session, one: RemoteSubscription) -> Row:
    outbox = one.outbox
    return Row(
        session.number,
        session.client,
        session.traffic.transport,
        one.number,
        subscriber=None,
        type_ids=one.type_ids,
        on_lag=None if one.on_lag is None else one.on_lag.word,
        group=one.group,
        no_echo=one.no_echo,
        window=outbox.window,
        stats=outbox.stats(),
        queued_bytes=outbox.queued_bytes,
        capacity=outbox.limit,
        capacity_bytes=outbox.limit_bytes,
        slow=outbox.is_slow,
    )
