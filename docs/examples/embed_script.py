"""A bridge in a plain script, without asyncio anywhere else in it: the loop has a thread of its own.

python embed_script.py
"""

import asyncio
import contextlib
import threading
from pathlib import Path

import mycelium

CONTRACTS = mycelium.load(Path(__file__).with_name("contracts.yaml"))
Order, Accepted = CONTRACTS.Order, CONTRACTS.Accepted


@contextlib.contextmanager
def bridge(url="tcp://127.0.0.1:0"):
    """Serves inside the block; gives the URL that clients connect to."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="bridge")
    thread.start()

    def run(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout=60)

    async def begin():
        bus = mycelium.MessageBus(CONTRACTS)  # it belongs to the thread that makes it
        served = bus.serve(url)
        await served.start()
        return bus, served

    try:
        bus, served = run(begin())
        try:
            yield served.urls[0]
        finally:
            run(served.close())
            run(bus.close())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def accept(order):
    """An ordinary function; the client calls it in a thread of its own."""
    return Accepted(number=order.number, by="a script")


def main():
    with bridge() as url:
        print("listening on", url, flush=True)
        with mycelium.sync.connect(url, CONTRACTS, name="script") as client:
            client.reply(Order)(accept)
            answer = client.request(Order(number=1, item="tea"), Accepted, timeout=5)
            print(f"order {answer.number} is accepted by {answer.by}")


if __name__ == "__main__":
    main()
