"""Who is connected right now, and what an edit would do to them."""

from collections.abc import Mapping

from attrs import frozen

from mycelium.schema.compat.report import Policy, examine
from mycelium.schema.model import Schema

__all__ = ["Hurt", "hurt_clients"]


@frozen
class Hurt:
    """A client that an edit would hurt.

    Attributes:
        client: Its name.
        version: Of the contracts that it goes by.
        unread: What it writes and new readers do not read: rules and elements.
        unreadable: What new writers write and it does not read.
    """

    client: str
    version: int
    unread: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def deploy(self) -> str:
        """When it has to get the new contracts."""
        before = (("readers", self.unread), ("writers", self.unreadable))
        return f"deploy it before new {' and '.join(who for who, found in before if found)}"


def hurt_clients(clients: Mapping[str, Schema], current: Schema, policy: Policy) -> tuple[Hurt, ...]:
    """The clients that an edit would hurt, by name.

    Args:
        clients: Name of each, and the contracts that it goes by.
        current: The edited contracts.
        policy: What is looked at.
    """
    reports = {one.digest: examine(one, current, policy) for one in clients.values()}
    hurt = []
    for name, schema in sorted(clients.items()):
        found = reports[schema.digest].issues
        unread = tuple(f"{one.rule} {one.subject or one.path}" for one in found if not one.backward)
        unreadable = tuple(f"{one.rule} {one.subject or one.path}" for one in found if not one.forward)
        hurt.append(Hurt(name, schema.version, unread, unreadable))
    return tuple(one for one in hurt if one.unread or one.unreadable)
