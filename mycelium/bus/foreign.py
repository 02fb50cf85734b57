"""What a client does in another way on a bus in Mycelium's own dialect, and what it cannot do there."""

from functools import partial
from typing import Final

from mycelium.bus.clientparts import Parts, Settings
from mycelium.bus.conversation import Connect
from mycelium.bus.errors import UsageError
from mycelium.bus.link import open_link
from mycelium.bus.urls import Address

__all__ = ["refuse", "way_to"]

_LACKS: Final = {
    "confirm": "has no receipts; publish without confirm and mandatory",
    "request": "has no requests; publish, and subscribe to what is published in return",
    "reply": "has no replies; subscribe, and publish in return",
    "group": "shares no messages among a group; subscribe without it",
    "no_echo": "does not say whose a message is; connect without echo=True, and all own ones are left out",
    "stamp": "carries no metadata; make the client without stamp=True",
    "query": "answers no questions about itself; ask a Mycelium bridge that has joined it",
    "ping": "answers no pings; look whether messages come with `mycelium sub`",
}
"""Ability -> what there is none of, and what to do then. The table for users is in docs/rust.md."""


def refuse(address: Address | None, ability: str) -> None:
    """Refuse what the bus at an address has no word for.

    Raises:
        UsageError: It has none.
    """
    if address is not None and address.is_rust:
        raise UsageError(f"a bus in Mycelium's own dialect {_LACKS[ability]}")


def way_to(address: Address, settings: Settings, parts: Parts) -> Connect:
    """How a link to an address is made.

    Raises:
        UsageError: The client has asked for what cannot be had there.
    """
    if not address.is_rust:
        return partial(open_link, credentials=settings.credentials)
    from mycelium.bus.outpost import open_outpost

    contracts, outlet = parts.accord.contracts, parts.outlet
    if outlet.stamps:
        refuse(address, "stamp")
    if contracts is None:
        raise UsageError(f"{address}: such a bus hands out no contracts; give the client a contracts file")
    return partial(open_outpost, contracts=contracts, echo=settings.echo, block_seconds=outlet.block_seconds)
