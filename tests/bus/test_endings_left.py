"""Nothing is left: of clients and bridges that were closed, of programs that never close, in real processes."""

import asyncio
import gc
import subprocess
import sys
import warnings

import pytest
from processes import ROOT, bridge, environment, started, stop

import mycelium
from mycelium import MyceliumClient
from peers import SECONDS, serving, sockets

# --- nothing is left ---


async def test_nothing_is_left_of_clients_and_bridges(contracts, tmp_path):
    gc.collect()
    before = sockets()
    for listen in ("tcp://127.0.0.1:0", f"unix://{tmp_path}/bus.sock"):
        async with serving(contracts, listen) as (bus, bridge):
            async with mycelium.connect(bridge.urls[0], contracts) as client, client.messages(contracts.Ping) as stream:
                bus.publish_nowait(contracts.Ping(value="x"))
                await stream.next(timeout=SECONDS)
    assert sockets() == before
    assert len(asyncio.all_tasks()) == 1
    gc.collect()


def test_a_program_that_never_closes_leaves_no_warning_and_loses_nothing():
    """In one process, so that every warning and every unhandled exception would be seen here."""
    contracts = mycelium.load((ROOT / "contracts.yaml").read_text())
    got = []

    async def program():
        bus = mycelium.MessageBus(contracts)
        await bus.subscribe(got.append, contracts.Ping)
        bridge = bus.serve("tcp://127.0.0.1:0")
        await bridge.start()
        client = MyceliumClient(contracts, reconnect=False)
        await client.connect(bridge.urls[0])

        async def forever(_):
            await asyncio.Event().wait()

        await client.subscribe(forever, contracts.Pong)
        await bus.subscribe(forever, contracts.Pong)
        bus.publish_nowait(contracts.Pong(value="x"))
        client.publish_nowait(contracts.Ping(value="last words"))
        await client.flush()
        waiting = asyncio.ensure_future(client.messages(contracts.Ping).next())
        await asyncio.sleep(0)
        waiting.cancel()
        bridge.abort()
        await client.closed()
        await bridge.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(program(), debug=False)
        gc.collect()
    assert got == [contracts.Ping(value="last words")]


# --- real processes ---


EXAMPLE = """
import asyncio
from mycelium import MyceliumClient
from mycelium.contracts import Ping, Pong

async def main():
    client = MyceliumClient()
    await client.connect("{url}")
    async def on_pong(message: Pong):
        print(f"Received Pong: {{message.value}}")
    await client.subscribe(on_pong)
    await client.publish(Ping(value="hello from python"))

asyncio.run(main())
"""
SHORTEST = """
import asyncio
from mycelium import MyceliumClient
from mycelium.contracts import Ping

async def main():
    client = MyceliumClient()
    await client.connect("{url}")
    await client.publish(Ping(value="hello from python"))

asyncio.run(main())
"""
INTERRUPTED = """
import asyncio, os, signal
from mycelium import MyceliumClient
from mycelium.contracts import Ping

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have had it ignored

async def main():
    client = MyceliumClient()
    await client.connect("{url}")
    await client.publish(Ping(value="hello from python"))
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(60)

try:
    asyncio.run(main())
except KeyboardInterrupt:
    pass
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """One bridge on TCP and a Unix socket; its URLs by transport."""
    path = tmp_path_factory.mktemp("bridge") / "bus.sock"
    with bridge("--listen", "tcp://127.0.0.1:0", listen=f"unix://{path}") as (process, url):
        yield {"tcp": url, "unix": f"unix://{path}"}
        assert stop(process) == 0


@pytest.mark.parametrize(
    ("program", "transport"),
    [(EXAMPLE, "tcp"), (EXAMPLE, "unix"), (SHORTEST, "tcp"), (INTERRUPTED, "unix")],
    ids=["example-tcp", "example-unix", "shortest", "interrupted"],
)
def test_a_program_that_just_ends_has_published_and_says_nothing_on_stderr(served, program, transport, tmp_path):
    url = served[transport]
    script = tmp_path / "program.py"
    script.write_text(program.format(url=url.removeprefix("tcp://")))
    with started("sub", "Ping", "--count", "1", "-o", "json", "--url", url) as subscriber:
        assert "subscribed" in subscriber.stderr.readline()
        ended = run_script(script)
        assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "")
        out, _ = subscriber.communicate(timeout=30)
    assert out == '{"type": "Ping", "fields": {"value": "hello from python"}}\n'


def test_a_pong_that_comes_in_time_is_printed_by_the_example(served, tmp_path):
    script = tmp_path / "program.py"
    waiting = EXAMPLE.replace(
        '    await client.publish(Ping(value="hello from python"))',
        '    await client.publish(Pong(value="hello"))\n    await printed.wait()',
    )
    waiting = waiting.replace("async def main():", "printed = asyncio.Event()\n\nasync def main():")
    waiting = waiting.replace('{{message.value}}")', '{{message.value}}")\n        printed.set()')
    script.write_text(waiting.format(url=served["tcp"]))
    ended = run_script(script)
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "Received Pong: hello\n")


def run_script(script):
    """Run it with every warning an error; what asyncio's debug mode says of a slow machine is left out."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(PYTHONASYNCIODEBUG="1", PYTHONPATH=str(ROOT)),
        timeout=30,
        check=False,
    )
    ended.stderr = "\n".join(line for line in ended.stderr.splitlines() if not line.startswith("Executing <"))
    return ended
