"""What happens to a bus, a bridge or a client, as one typed stream: `async for event in client.events()`."""

from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from mycelium.schema.compat.report import Report

__all__ = ["Event", "SchemaChanged", "SchemaRefused"]


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
