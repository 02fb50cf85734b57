"""A bridge inside an asyncio application: its own parts use the bus without sockets, other processes connect to it.

python embed_asyncio.py tcp://127.0.0.1:7777
mycelium req Order '{"number": 1, "item": "tea"}' Accepted
"""

import asyncio
import signal
import sys
from pathlib import Path

import mycelium

CONTRACTS = mycelium.load(Path(__file__).with_name("contracts.yaml"))
Order, Accepted, Stock = CONTRACTS.Order, CONTRACTS.Accepted, CONTRACTS.Stock


class Shop:
    """The application: it knows the bus, and nothing of sockets."""

    def __init__(self, bus):
        self.bus = bus
        self.left = {"tea": 100, "rice": 20}

    async def accept(self, order: Order):
        """Answers an order of this process or of another one."""
        self.left[order.item] = max(self.left.get(order.item, 0) - order.amount, 0)
        return Accepted(number=order.number, by="the shop")

    async def report(self):
        """Says now and then what there is; whoever comes later begins with the last word on each item."""
        while True:
            for item, left in self.left.items():
                await self.bus.publish(Stock(item=item, left=left))
            await asyncio.sleep(0.5)


async def main(*urls):
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    bus = mycelium.MessageBus(CONTRACTS)
    shop = Shop(bus)
    bus.reply(Order)(shop.accept)
    async with bus.serve(*urls, name="shop") as bridge, CONTRACTS.watching(), asyncio.TaskGroup() as parts:
        print("listening on", *bridge.urls, flush=True)
        reporting = parts.create_task(shop.report())
        await stop.wait()
        reporting.cancel()
    # The end of the block has drained: clients have got what was accepted for them.
    await bus.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:] or ["tcp://127.0.0.1:7777"]))
