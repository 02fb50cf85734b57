"""What happens to a bus, a bridge or a client, as one typed stream: `async for event in client.events()`."""

from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from mycelium.schema.compat.report import Report

__all__ = [
    "AccessRevoked",
    "Closed",
    "Connected",
    "Connecting",
    "Disconnected",
    "Draining",
    "Event",
    "Gap",
    "HandlerFailing",
    "PublishExpired",
    "PublishRefused",
    "Reconnecting",
    "Recovered",
    "SchemaChanged",
    "SchemaRefused",
    "SecurityChanged",
    "SecurityRefused",
    "SlowConsumer",
    "SubscriptionRefused",
]


@frozen
class Event:
    """The base of every event."""


@frozen
class SchemaChanged(Event):
    """Another schema is in force.

    Attributes:
        source: The file, or the bridge, that it came from.
        version: Its `schema.version`.
        old_digest: Of the schema before, in hex.
        new_digest: Of the one in force.
        report: What changed; None where it was not compared.
    """

    source: str
    version: int
    old_digest: str
    new_digest: str
    report: "Report | None" = field(default=None, repr=False)


@frozen
class SchemaRefused(Event):
    """An edit is not applied; what was in force goes on.

    Attributes:
        source: The file, or the bridge, that it came from.
        outcome: `incompatible`, `invalid` (the file has faults) or `error` (it could not be read).
        reasons: A line for each reason, in the checker's or the loader's own words.
        report: The comparison, where there was one.
        clients: Names of the connected clients that it would have hurt.
    """

    source: str
    outcome: str
    reasons: tuple[str, ...]
    report: "Report | None" = field(default=None, repr=False)
    clients: tuple[str, ...] = ()


@frozen
class SecurityChanged(Event):
    """A bridge goes by other tokens, certificates or access rules now.

    Attributes:
        sources: The files that have changed.
    """

    sources: tuple[str, ...]


@frozen
class SecurityRefused(Event):
    """Files with tokens, certificates or access rules have changed and cannot be used; what was in force goes on.

    Attributes:
        reasons: A line for each.
    """

    reasons: tuple[str, ...]


@frozen
class AccessRevoked(Event):
    """The bridge does not deliver types any more to which a client has subscribed: its access rules have changed.

    Attributes:
        reason: What the bridge said.
    """

    reason: str


@frozen
class Connecting(Event):
    """A client asks a bridge in for the first time."""

    url: str


@frozen
class Connected(Event):
    """A client is in: subscribed to everything that it had, with nothing left in its send buffer from before.

    Attributes:
        url: Of the bridge.
        session: The number that the bridge gave this connection.
        epoch: How many connections the client has had with this one.
    """

    url: str
    session: int
    epoch: int


@frozen
class Disconnected(Event):
    """The connection of a client is gone."""

    reason: str


@frozen
class Reconnecting(Event):
    """A client tries again.

    Attributes:
        attempt: From 1, since the connection was lost.
        delay: Seconds until then.
        reason: What went wrong last.
    """

    attempt: int
    delay: float
    reason: str


@frozen
class Draining(Event):
    """A client, or a bus, takes nothing new, and finishes what it has."""


@frozen
class Closed(Event):
    """It is over; no event comes after this one."""

    reason: str


@frozen
class Gap(Event):
    """A subscriber did not get everything.

    Attributes:
        types: Names of the messages that are missing, or may be.
        count: How many; None where nobody can know, as after a reconnect.
        reason: Why, as counters have it: `dropped_oldest`, `dropped_newest`, `memory`; `reconnect`; or `disconnected`
            where the subscription has ended.
        subscriber: The handler's name, or `an iterator`.
    """

    types: tuple[str, ...]
    count: int | None
    reason: str
    subscriber: str


@frozen
class SlowConsumer(Event):
    """A subscriber's queue is full, and its lag policy acts; told once, until `Recovered`.

    Attributes:
        subscriber: The handler's name, `an iterator`, or the client's name and the number of its subscription.
        types: Names of the messages that it has subscribed to; empty for all.
        on_lag: The policy.
        queued: Messages that wait; None at a client, whose queue is the bridge's.
    """

    subscriber: str
    types: tuple[str, ...]
    on_lag: str
    queued: int | None


@frozen
class Recovered(Event):
    """The queue of a slow subscriber has been empty again; at a client: the bridge has dropped nothing for a while.

    Attributes:
        subscriber: As in `SlowConsumer`.
        types: The same.
        dropped: Messages that it lost meanwhile.
    """

    subscriber: str
    types: tuple[str, ...]
    dropped: int


@frozen
class HandlerFailing(Event):
    """A handler has raised a hundred times in a row; its subscription goes on.

    Attributes:
        handler: Its name.
        failures: In a row.
        error: The name of the last exception's class.
    """

    handler: str
    failures: int
    error: str


@frozen
class PublishRefused(Event):
    """The bridge refused messages that nobody waits for a receipt of.

    Attributes:
        code: The wire protocol's error code.
        name: Its name, as logs and metrics have it.
        type_id: The type of the message, where the bridge said it.
    """

    code: int
    name: str
    type_id: int | None


@frozen
class PublishExpired(Event):
    """Messages are dropped that waited to be sent for over 30 s, or that could not wait since there is no buffer.

    Attributes:
        count: How many; told once a second at most.
    """

    count: int


@frozen
class SubscriptionRefused(Event):
    """After a reconnect the bridge did not carry a subscription any more, which has ended with its error.

    Attributes:
        subscriber: The handler's name, or `an iterator`.
        types: Names of the messages that it had subscribed to.
        code: The wire protocol's error code.
        reason: What the bridge said.
    """

    subscriber: str
    types: tuple[str, ...]
    code: int
    reason: str
