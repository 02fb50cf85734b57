"""Processes that are killed, stopped and told to end under load: what is lost is known, and nobody else notices."""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections import Counter, defaultdict

import pytest
from processes import ROOT, bridge, environment, line_with, started, stop

import mycelium
from mycelium.events import Connected
from peers import until

TYPES = mycelium.load(ROOT / "contracts.yaml")
CONNECTED = mycelium.ClientState.CONNECTED
RETURN_SECONDS = 30.0
"""For all to come back: a bridge that was away for a few seconds finds clients that wait for up to ten."""


class Numbered:
    """Publishes its own numbers, one after the other, until it is told to stop."""

    def __init__(self, client, number):
        self.client = client
        self.number = number
        self.sent = 0
        self._go = True

    async def run(self, seconds_between):
        while self._go:
            self.sent += 1
            await self.client.publish(TYPES.CounterUpdate(counter_id=self.number, value=self.sent, delta=0))
            await asyncio.sleep(seconds_between)

    def stop(self):
        self._go = False


class Listener:
    """What one subscriber got of each publisher, its gaps and its connections."""

    def __init__(self, client):
        self.client = client
        self.got = defaultdict(list)
        self.gaps = []
        self.epochs = []

    async def begin(self, **options):
        self.subscription = await self.client.subscribe(
            self.take, TYPES.CounterUpdate, on_gap=self.gaps.append, **options
        )
        self._events = asyncio.ensure_future(self._listen(self.client.events()))

    async def _listen(self, events):
        async for event in events:
            if isinstance(event, Connected):
                self.epochs.append(event.epoch)

    def take(self, message):
        self.got[message.counter_id].append(message.value)

    def holes(self, number, sent):
        """The numbers of a publisher that never came, as (first, last)."""
        have = set(self.got[number])
        missing = [each for each in range(1, sent + 1) if each not in have]
        runs = []
        for each in missing:
            if runs and runs[-1][1] == each - 1:
                runs[-1][1] = each
            else:
                runs.append([each, each])
        return runs


@contextlib.asynccontextmanager
async def clients(url, count, **options):
    """So many connected clients."""
    made = [mycelium.MyceliumClient(TYPES, name=f"client {number}", **options) for number in range(count)]
    await asyncio.gather(*(client.connect(url) for client in made))
    try:
        yield made
    finally:
        await asyncio.gather(*(client.close() for client in made))


async def outage(tmp_path, publishers, listeners):
    """Kill the bridge under load, start it again after a second, and account for every message."""
    url = f"unix://{tmp_path}/s"
    with contextlib.ExitStack() as processes:
        serving, _ = processes.enter_context(bridge(listen=url))
        async with clients(url, publishers + listeners) as made:
            hearing = [Listener(client) for client in made[:listeners]]
            speaking = [Numbered(client, number) for number, client in enumerate(made[listeners:])]
            await asyncio.gather(*(each.begin() for each in hearing))
            running = [asyncio.ensure_future(each.run(0.02)) for each in speaking]
            await until(lambda: all(len(each.got) == publishers for each in hearing))
            serving.kill()
            serving.wait()
            await asyncio.sleep(1)
            await asyncio.to_thread(lambda: processes.enter_context(bridge(listen=url)))
            await until(lambda: all(each.epochs == [2] for each in hearing), within=RETURN_SECONDS)
            await until(lambda: all(each.state is CONNECTED for each in made), within=RETURN_SECONDS)
            marks = [each.sent for each in speaking]
            await until(lambda: all(each.sent > mark + 20 for each, mark in zip(speaking, marks, strict=True)))
            for each in speaking:
                each.stop()
            await asyncio.gather(*running, *(each.client.flush() for each in speaking))
            await until(lambda: all(each.got[one.number][-1] == one.sent for each in hearing for one in speaking))
    return hearing, speaking


def account(hearing, speaking):
    """The report: what was published, what came, and where the hole is."""
    sent = sum(each.sent for each in speaking)
    lines = [f"published {sent} by {len(speaking)}"]
    for index, each in enumerate(hearing):
        got = sum(map(len, each.got.values()))
        holes = [hole for one in speaking for hole in each.holes(one.number, one.sent)]
        lost = sum(last - first + 1 for first, last in holes)
        lines.append(f"listener {index}: got {got}, lost {lost} in {len(holes)} holes, {len(each.gaps)} gap")
        assert got + lost == sent
    return "\n".join(lines)


async def check_outage(tmp_path, publishers, listeners):
    hearing, speaking = await outage(tmp_path, publishers, listeners)
    print(account(hearing, speaking))  # noqa: T201  for who runs it with -s
    for each in hearing:
        assert all(values == sorted(set(values)) for values in each.got.values())  # in order, and nothing twice
        assert [(gap.reason, gap.count) for gap in each.gaps] == [("reconnect", None)]
        assert each.subscription.stats().balanced
        for one in speaking:
            assert len(each.holes(one.number, one.sent)) <= 1  # what was on its way when the bridge died


async def test_p53_a_killed_bridge_costs_what_was_on_its_way_and_every_message_is_accounted_for(tmp_path):
    await check_outage(tmp_path, 5, 5)


@pytest.mark.slow
async def test_p53_the_same_with_fifty_clients(tmp_path):
    await check_outage(tmp_path, 25, 25)


STOPPABLE = """
import asyncio, json, sys, mycelium
async def main():
    seen = 0
    async with mycelium.connect(sys.argv[1], "contracts.yaml", name="stopped") as client:
        def take(message):
            nonlocal seen
            seen += 1
        subscription = await client.subscribe(take, client.types.CounterUpdate, queue=int(sys.argv[2]), window=64)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await client.flush()
        stats = subscription.stats()
        print(json.dumps({"seen": seen, "matched": stats.matched, "dropped": dict(stats.dropped)}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
asyncio.run(main())
"""


async def check_stopped(tmp_path, others, seconds, rate):
    """A subscriber is stopped for so long among others: they notice nothing, its drops are exact."""
    url = f"unix://{tmp_path}/s"
    command = [sys.executable, "-c", STOPPABLE, url, "100"]
    with bridge(listen=url), started(command=command, env=environment()) as stopped:
        assert await asyncio.to_thread(stopped.stdout.readline) == "ready\n"
        async with clients(url, others + 1) as made:
            speaking = Numbered(made[0], 0)
            hearing = [Listener(client) for client in made[1:]]
            await asyncio.gather(*(each.begin() for each in hearing))
            running = asyncio.ensure_future(speaking.run(1 / rate))
            await until(lambda: speaking.sent > 20)
            stopped.send_signal(signal.SIGSTOP)
            mark = speaking.sent
            await asyncio.sleep(seconds)
            await until(lambda: speaking.sent > mark + 300)  # more than its queue, its window and its socket take
            stopped.send_signal(signal.SIGCONT)
            mark = speaking.sent
            await until(lambda: speaking.sent > mark + 50)
            speaking.stop()
            await running
            await made[0].flush()
            await until(lambda: all(each.got[0] and each.got[0][-1] == speaking.sent for each in hearing))
            (totals, *chunks) = await made[0].query("stats")
            stopped.stdin.write("\n")
            stopped.stdin.flush()
            said = json.loads(await asyncio.to_thread(stopped.stdout.readline))
    rows = [row for chunk in chunks for row in chunk["subscriptions"]]
    return speaking, hearing, said, totals, next(row for row in rows if row["client"] == "stopped")


@pytest.mark.parametrize(("others", "seconds"), [(5, 1.0), pytest.param(100, 5.0, marks=pytest.mark.slow)])
async def test_p43_a_subscriber_that_is_stopped_disturbs_nobody_and_its_drops_are_exact(tmp_path, others, seconds):
    speaking, hearing, said, totals, row = await check_stopped(tmp_path, others, seconds, 300)
    print(f"published {speaking.sent}; stopped one: {said}; at the bridge: {row}")  # noqa: T201  the same
    for each in hearing:
        assert each.got[0] == list(range(1, speaking.sent + 1))
        assert each.gaps == []
    dropped = said["dropped"].get("dropped_oldest", 0)
    assert said["matched"] == said["seen"] + dropped == speaking.sent
    assert row["dropped"] == said["dropped"]
    assert dropped > 0
    assert totals["matched"] == speaking.sent * (others + 1)


# --- the end of a bridge process ---


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.slow)])
async def test_p90_a_bridge_that_is_told_to_stop_under_load_delivers_all_that_it_has_taken(tmp_path, count):
    url = f"unix://{tmp_path}/s"
    with bridge(listen=url) as (serving, _):
        async with clients(url, count, buffer=0) as made:
            half = count // 2
            hearing = [Listener(client) for client in made[:half]]
            await asyncio.gather(*(each.begin() for each in hearing))
            confirmed = Counter()

            async def speak(client, number):
                value = 0
                with contextlib.suppress(mycelium.BusError, TimeoutError):
                    while True:
                        value += 1
                        receipt = await client.publish(TYPES.CounterUpdate(number, value, 0), confirm=True)
                        assert receipt.enqueued == half
                        confirmed[number] = value

            speaking = [asyncio.ensure_future(speak(client, number)) for number, client in enumerate(made[half:])]
            await until(lambda: len(confirmed) == count - half)
            start = time.monotonic()
            assert await asyncio.to_thread(stop, serving) == 0
            assert time.monotonic() - start < 40
            for each in speaking:
                each.cancel()
            await asyncio.wait(speaking)
            for each in hearing:  # everything that was confirmed came before the bridge closed
                for number, value in confirmed.items():
                    assert each.got[number][:value] == list(range(1, value + 1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_p91_a_second_signal_stops_a_bridge_at_once(tmp_path, number):
    path = tmp_path / "s"
    with bridge(listen=f"unix://{path}") as (serving, url):
        async with clients(url, 1) as (client,):
            gate = asyncio.Event()

            async def stuck(_):
                await gate.wait()

            await client.subscribe(stuck, TYPES.Ping, window=1)
            for _ in range(5):
                await client.publish(TYPES.Ping(value="x"))
            await client.flush()
            serving.send_signal(number)
            await asyncio.to_thread(line_with, serving, "stopping")
            start = time.monotonic()
            serving.send_signal(number)
            assert await asyncio.to_thread(serving.wait, 10) == 0
            assert time.monotonic() - start < 2
            gate.set()
    assert not path.exists()


async def test_p91_a_bridge_that_is_told_to_stop_while_it_starts_ends_in_time(tmp_path):
    for delay in (0.0, 0.1, 0.2, 0.3, 0.4):
        path = tmp_path / f"s{delay}"
        with started("serve", "--listen", f"unix://{path}") as serving:
            await asyncio.sleep(delay)
            serving.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(serving.wait, 10) in (0, -signal.SIGTERM)
        assert not path.exists()


async def test_p91_a_bridge_that_is_told_to_stop_during_a_reload_ends_in_time(tmp_path):
    contracts = tmp_path / "contracts.yaml"
    contracts.write_text((ROOT / "contracts.yaml").read_text())
    path = tmp_path / "s"
    with bridge(str(contracts), listen=f"unix://{path}") as (serving, _):
        edited = contracts.read_text().replace("version: 1", "version: 2")
        contracts.write_text(edited)
        serving.send_signal(signal.SIGHUP)
        assert await asyncio.to_thread(stop, serving) == 0
    assert not path.exists()
