"""A bridge whose process has no file descriptor left: it waits without spinning, and goes on when there is room."""

import asyncio
import contextlib
import json
import os
import resource
import socket
import sys
import time
from pathlib import Path

import pytest
from processes import started

import mycelium
from mycelium.bus.filewatch import settled
from mycelium.bus.limits import http_room
from mycelium.contractfile import read_file
from peers import SECONDS, open_socket, peer_at, serving, until

TICKS = os.sysconf("SC_CLK_TCK")
CROWDED = """
import asyncio, contextlib, json, os, resource, sys, mycelium

contracts = mycelium.load(open(sys.argv[1]).read())
held = []

def footprint():
    loop = asyncio.get_running_loop()
    timers = sum(not timer.cancelled() and "Bridge._tick" not in repr(timer) for timer in loop._scheduled)
    return {"timers": timers, "watched": len(loop._selector.get_map())}

def fill():
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    with contextlib.suppress(OSError):
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))

def free():
    while held:
        os.close(held.pop())

async def main():
    bus = mycelium.MessageBus(contracts)

    def obey(message):
        {"fill": fill, "free": free, "look": lambda: None}[message.value]()
        bus.publish_nowait(contracts.Pong(value=json.dumps(footprint())))

    await bus.subscribe(obey, contracts.Ping)
    async with bus.serve("tcp://127.0.0.1:0") as bridge:
        print(bridge.urls[0], flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def seconds_of_cpu(process):
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def test_p38_without_descriptors_a_bridge_does_not_spin_and_takes_all_who_wait_when_there_is_room(contracts):
    file = Path(__file__).parents[2] / "contracts.yaml"
    with started(command=[sys.executable, "-W", "error", "-c", CROWDED, str(file)]) as process:
        url = (await asyncio.to_thread(process.stdout.readline)).strip()
        async with mycelium.connect(url, contracts) as client, client.messages(contracts.Pong) as pongs:

            async def tell(word):
                await client.publish(contracts.Ping(value=word))
                return json.loads((await pongs.next(SECONDS)).value)

            quiet = await tell("look")
            await tell("fill")
            waiting = [await open_socket(url) for _ in range(3)]
            crowded = await tell("look")
            while crowded["watched"] == quiet["watched"]:
                crowded = await tell("look")
            assert crowded == {"timers": 1, "watched": quiet["watched"] - 1}
            used, start = seconds_of_cpu(process), time.monotonic()
            while time.monotonic() - start < 1.5:
                assert (await tell("look"))["timers"] <= 1
                await asyncio.sleep(0.05)
            assert seconds_of_cpu(process) - used < 0.2 * 1.5
            await tell("free")
            start = time.monotonic()
            async with peer_at(url) as late:
                await late.barrier()
                assert time.monotonic() - start < 2
                assert await tell("look") == {"timers": 0, "watched": quiet["watched"] + 4}
            for _, writer in waiting:
                writer.close()
        process.kill()
        assert process.stderr.read().count("no room for more connections (too many open files)") == 1


@pytest.fixture
def few():
    """A process that may open 256 files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_p36_a_bridge_takes_no_more_connections_than_its_process_may_open_files_and_says_so(
    contracts, few, caplog
):
    async with serving(contracts) as (_, bridge):
        assert bridge.limits.connections == 192
    assert [record.getMessage() for record in caplog.records] == [
        "this process may open 256 files, so it takes 192 connections, not 10000; raise its limit (ulimit -n) for more"
    ]
    caplog.clear()
    async with serving(contracts, connections=192) as (_, bridge):
        assert bridge.limits.connections == 192
    assert caplog.text == ""


async def test_p36_with_few_files_one_place_has_a_quarter_of_the_connections_and_http_keeps_its_share(contracts, few):
    async with serving(contracts) as (bus, bridge):
        assert (bridge.limits.connections, bridge.limits.connections_per_origin) == (192, 48)
        beside = bus.serve("tcp://127.0.0.1:0")
        beside.other_files = http_room()
        async with beside:
            assert (http_room(), beside.limits.connections, beside.limits.connections_per_origin) == (32, 160, 40)


@pytest.fixture
def full(few):
    """Take every file that this process may open, and give them back when asked to, or at the end."""
    held = []

    def fill():
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))

    def free():
        while held:
            os.close(held.pop())

    yield fill, free
    free()


async def test_p38_a_bridge_that_waits_for_room_closes_at_once_and_leaves_nothing(contracts, full, caplog):
    fill, free = full
    bus = mycelium.MessageBus(contracts)
    async with bus.serve("tcp://127.0.0.1:0") as bridge:
        _, writer = await open_socket(bridge.urls[0])
        await until(lambda: bridge.sessions)
        place = writer.get_extra_info("peername")
        with contextlib.ExitStack() as stack:
            for late in [stack.enter_context(socket.socket()) for _ in range(10)]:
                fill()
                late.settimeout(0)
                late.connect_ex(place)
                await asyncio.sleep(0.01)
            await until(lambda: "no room" in caplog.text)
            free()
    writer.close()
    await writer.wait_closed()
    await bus.close()


async def test_a_file_that_no_descriptor_is_left_for_is_not_taken_for_gone(full, tmp_path, caplog):
    fill, free = full
    there, gone = tmp_path / "there", tmp_path / "gone"
    there.write_text("x")
    assert await settled([there, gone], read_file) == [b"x", None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mycelium.bus.filewatch._POLL_SECONDS", 0.05)
        fill()
        looking = asyncio.create_task(settled([there, gone], read_file))
        await until(lambda: "Too many open files" in caplog.text)
        free()
        assert await looking == [b"x", None]
    assert len(caplog.records) == 1
