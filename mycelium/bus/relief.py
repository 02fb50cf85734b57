"""What is given up when queues hold more memory than they may."""

from collections.abc import Iterable
from heapq import heapify, heapreplace
from typing import TYPE_CHECKING, Final

from mycelium.bus.ledger import Ledger

if TYPE_CHECKING:
    from mycelium.bus.remotesubscription import RemoteSubscription

__all__ = ["relieve"]

_BYTES: Final = 64 * 1024
"""Given up at once."""


def relieve(ledger: Ledger, subscriptions: Iterable["RemoteSubscription"]) -> None:
    """Have whoever holds most lose its oldest, whatever its policy, until it is enough.

    What many hold is free when the last of them has given it up, so each may have its turn: hence the heap.
    """
    queue = [(-one.outbox.queued_bytes, number, one) for number, one in enumerate(subscriptions)]
    heapify(queue)
    while ledger.is_over and queue and queue[0][0]:
        _, number, most = queue[0]
        most.relieve(_BYTES)
        heapreplace(queue, (-most.outbox.queued_bytes, number, most))
