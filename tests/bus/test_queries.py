"""What a client may ask about a bridge, and who may."""

import asyncio
import contextlib
import itertools
import json
import os
import socket

import pytest

import mycelium
from mycelium.bus.queries import _chunks
from mycelium.bus.questions import MOST_WAITING
from mycelium.bus.security.peer import Peer
from peers import CORE, peer_at, until

TEXT = """
schema: {id: 30, version: 1, min_compatible: 1}
messages:
  Ping: {tlv_type: 1010, fields: {value: {type: String}}}
  Pong: {tlv_type: 1011, fields: {value: {type: String}}}
"""
NEWER = TEXT.replace("version: 1", "version: 2").replace("String}", "String}, n: {type: u8, optional: true}")
BROKEN = TEXT.replace("String", "u64")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "contracts.yaml"
    path.write_text(TEXT)
    return path


async def test_info_says_what_a_bridge_is(file):
    bus = mycelium.MessageBus(file)
    async with bus.serve("tcp://127.0.0.1:0", name="here") as bridge, mycelium.connect(bridge.urls[0], TEXT) as client:
        (info,) = await client.query("info")
    assert (info["server"], info["protocol"], info["sessions"]) == ("here", 1, 1)
    assert info["schema"]["digest"] == bus.contracts.schema.digest
    assert info["limits"]["max_payload"] == 4_194_304
    assert info["pid"] == os.getpid()
    assert 0 <= info["uptime_s"] < 30
    assert info["loop"] in ("asyncio", "uvloop")


async def test_the_rows_of_subscriptions_name_clients_and_are_left_out_on_request_or_for_strangers(
    file, tmp_path, monkeypatch
):
    bus = mycelium.MessageBus(file)
    async with (
        bus.serve(f"unix://{tmp_path}/bus.sock") as bridge,
        mycelium.connect(bridge.urls[0], TEXT, name="me") as client,
    ):
        await client.subscribe(print, client.types.Ping)
        sums, rows = await client.query("stats")
        assert [row["client"] for row in rows["subscriptions"]] == ["me"]
        assert len(await client.query("stats", subscriptions=False)) == 1
        monkeypatch.setattr(os, "getuid", lambda: 4711)
        (alone,) = await client.query("stats")
        assert alone.keys() == sums.keys()
        assert alone["clock_s"] > sums["clock_s"]
        with pytest.raises(mycelium.Refused, match="sessions is for the bridge's own user"):
            await client.query("sessions", limit=1)


async def test_sessions_with_a_limit_are_those_that_matter_most(file):
    bus = mycelium.MessageBus(file)
    async with contextlib.AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(bus.serve("tcp://127.0.0.1:0"))
        clients = [
            await stack.enter_async_context(mycelium.connect(bridge.urls[0], TEXT, name=f"{number}"))
            for number in range(6)
        ]
        for number, client in enumerate(clients):  # each takes one message, has another waiting, and loses some
            await stack.enter_async_context(client.messages(client.types.Ping, window=1, queue=number + 1))
        await clients[4].publish(clients[4].types.Ping("x"))
        await clients[4].flush()
        for _ in range(9):
            bus.publish_nowait(bus.contracts.Ping("y"))
        await clients[0].flush()

        async def names(**options):
            (answer,) = await clients[0].query("sessions", **options)
            assert answer["open"] == 6
            return [row["client"] for row in answer["sessions"]]

        assert await names(limit=3) == await names(limit=3, sort="lag") == ["5", "4", "3"]
        assert await names(limit=2, sort="dropped") == ["0", "1"]
        assert await names(limit=1, sort="received") == ["4"]
        assert await names(sort="session") == list("012345")
        await clients[3].subscribe(lambda _: None, clients[3].types.Pong)
        bus.publish_nowait(bus.contracts.Pong("z"))
        await until(lambda: bus.stats().delivered == 1)
        assert await names(limit=1, sort="sent") == ["3"]
        for wrong in ({"limit": 0}, {"limit": 1001}, {"limit": True}, {"limit": "1"}, {"sort": "x"}, {"sort": []}):
            with pytest.raises(mycelium.Refused, match="give a number|cannot be sorted"):
                await clients[0].query("sessions", **wrong)


async def test_sessions_name_clients_and_the_contracts_that_they_go_by(file, tmp_path):
    bus = mycelium.MessageBus(file)
    async with (
        bus.serve(f"unix://{tmp_path}/bus.sock") as bridge,
        mycelium.connect(bridge.urls[0], NEWER, name="newer") as client,
        mycelium.connect(bridge.urls[0], from_bridge=True, name="none"),
    ):
        first, *documents = await client.query("sessions")
    assert {(row["name"], row["version"]) for row in first["sessions"]} == {("newer", 2), ("none", 1)}
    by_digest = {each["digest"]: each["contracts"] for each in documents}
    assert set(by_digest) == {row["digest"] for row in first["sessions"]}
    assert by_digest[first["digest"]]["schema"]["version"] == 1


async def test_reload_reads_the_file_again_and_force_goes_around_the_policy(file):
    bus = mycelium.MessageBus(file)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, mycelium.connect(bridge.urls[0], TEXT) as client:
        assert (await client.query("reload"))[0]["outcome"] == "unchanged"
        file.write_text(BROKEN)
        (refused,) = await client.query("reload")
        assert refused["outcome"] == "incompatible"
        assert refused["findings"][0]["rule"] == "FIELD_TYPE_CHANGED"
        (forced,) = await client.query("reload", force=True)
        assert forced["outcome"] == "applied"
        assert bus.contracts.Ping(3).to_bytes()


async def test_what_is_no_query_is_refused_and_the_client_goes_on(file):
    bus = mycelium.MessageBus(file)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, mycelium.connect(bridge.urls[0], TEXT) as client:
        with pytest.raises(mycelium.Refused, match="no query 'nonsense'; there are info, stats, sessions, reload"):
            await client.query("nonsense")
        await client.flush()
        answer, _ = client._life.conversation.query("info", b"[")
        with pytest.raises(mycelium.Refused, match="no JSON"):
            await answer


async def test_queries_of_a_connection_are_answered_in_order_and_one_in_a_turn_of_the_loop(file):
    """300 of them in one write do not hold up others, and those that are too many are refused one by one."""
    bus = mycelium.MessageBus(file)
    async with (
        bus.serve("tcp://127.0.0.1:0") as bridge,
        peer_at(bridge.urls[0]) as first,
        peer_at(bridge.urls[0]) as second,
    ):
        loop, asked, seen = asyncio.get_running_loop(), bridge._questions._asked, []

        def look():
            seen.append(sum(map(len, asked.values())))
            if asked or not any(seen):
                loop.call_soon(look)

        look()
        ask = [CORE.Query(request=number, what="stats", body=b'{"messages": 2}') for number in range(1, 301)]
        second.send(*ask[:5])
        first.send(b"".join(map(CORE.encode, ask)))
        told = [await first.next() for _ in range(300 + 17)]
        answered = [one.request for one in told if type(one).__name__ == "Answer"]
        refused = [one for one in told if type(one).__name__ == "Error"]
        await until(lambda: not asked)
        assert answered == sorted(2 * list(range(1, len(answered) // 2 + 1)))
        assert len(answered) // 2 == 300 - len(refused) == MOST_WAITING + 1
        assert {(one.code, one.fatal, one.message) for one in refused} == {
            (3, False, "over 16 queries of this connection wait; ask when others are answered")
        }
        assert max(before - after for before, after in itertools.pairwise(seen)) == 1
        assert [one.request for one in [await second.next() for _ in range(10)]] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


async def test_a_fault_in_a_query_is_told_to_who_asked_and_those_behind_it_are_answered(file, caplog):
    bus = mycelium.MessageBus(file)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, peer_at(bridge.urls[0]) as peer:
        listeners, bridge._listeners = bridge._listeners, None
        peer.send(CORE.Query(request=1, what="info"), CORE.Query(request=2, what="stats"))
        error, answer = await peer.next(), await peer.next()
        bridge._listeners = listeners
    assert (error.request, error.code, error.fatal, answer.request) == (1, 16, False, 2)
    assert "a query could not be answered" in caplog.text


async def test_rows_that_would_not_fit_a_frame_come_in_several_answers(file, tmp_path):
    """Ten subscriptions to 64,000 types have rows of 4.3 MiB, which is more than a client takes at once."""
    bus = mycelium.MessageBus(file)
    async with contextlib.AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(bus.serve(f"unix://{tmp_path}/bus.sock"))
        for _ in range(10):
            peer = await stack.enter_async_context(peer_at(bridge.urls[0], client="\U0010ffff" * 128))
            await peer.subscribe(1, list(range(1500, 65500)), group="\U0001f344" * 128)
        asker = await stack.enter_async_context(mycelium.connect(bridge.urls[0], TEXT))
        _, *bodies = await asker.query("stats")
        assert [len(body["subscriptions"]) for body in bodies] == [2] * 5
        assert all(len(json.dumps(body, ensure_ascii=False).encode()) <= 1024 * 1024 for body in bodies)
        assert len(_chunks([{}] * 1200)) == 3


async def test_a_bus_without_a_file_has_nothing_to_reload(contracts):
    bus = mycelium.MessageBus(contracts)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, mycelium.connect(bridge.urls[0], contracts) as client:
        with pytest.raises(mycelium.Refused, match="from no file"):
            await client.query("reload")


def test_the_kernel_names_the_user_at_the_other_end():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert (Peer.of(ours, "unix").uid, Peer.of(ours, "unix").is_owner) == (os.getuid(), True)
