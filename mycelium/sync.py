"""A client for code without asyncio: blocking, and for any number of threads.

    with mycelium.sync.connect("localhost:7777") as client:
        client.subscribe(on_pong)
        client.publish(Ping(value="hello"))

Its calls are those of `mycelium.MyceliumClient`; `SyncClient` says what is different.
"""

from mycelium.bus.plain import SyncDelivery
from mycelium.bus.sync import SyncClient, connect
from mycelium.bus.syncstream import SyncEvents, SyncStream
from mycelium.bus.syncsubscription import SyncSubscription

__all__ = ["SyncClient", "SyncDelivery", "SyncEvents", "SyncStream", "SyncSubscription", "connect"]
