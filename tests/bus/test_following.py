"""Contracts that change while bridge and clients run, and clients that come with other versions."""

import asyncio
import contextlib
import json
import re

import pytest
from following import BASE, NEW_TYPE, served

import mycelium
from mycelium.bus.reload import Reloader
from mycelium.events import SchemaChanged
from mycelium.schema.document import document_bytes
from peers import CORE, peer_at

MORE = BASE.replace("version: 1", "version: 2").replace(
    "Ping: {tlv_type: 1010, domain: Greetings, fields: {value: {type: String}",
    "Ping: {tlv_type: 1010, domain: Greetings, fields: {value: {type: String}, venue: {type: u16, default: 7}",
)
RETYPED = BASE.replace(
    "Pong: {tlv_type: 1011, domain: Greetings, fields: {value: {type: String}",
    "Pong: {tlv_type: 1011, domain: Greetings, fields: {value: {type: u64}",
)


async def changed(events):
    event = await events.next(5)
    assert isinstance(event, SchemaChanged)
    return event


async def test_a_client_with_the_same_contracts_follows_a_reload_and_its_types_gain_the_field(tmp_path):
    async with served(tmp_path) as (bus, bridge, edit):
        mine = mycelium.load(BASE)
        async with mycelium.connect(bridge.urls[0], mine) as client, client.messages(mine.Ping) as stream:
            Ping, events = mine.Ping, client.events()  # noqa: N806
            assert (await edit(MORE)).outcome == "applied"
            event = await changed(events)
            assert (event.version, event.new_digest) == (2, bus.contracts.schema.digest)
            await client.publish(Ping("x", venue=9))
            assert await stream.next(5) == Ping("x", venue=9)
            bus.publish_nowait(bus.contracts.Ping("y", 3))
            assert (await stream.next(5)).venue == 3


async def test_a_client_without_contracts_follows_too(tmp_path):
    async with served(tmp_path) as (_, bridge, edit), mycelium.connect(bridge.urls[0], from_bridge=True) as client:
        events = client.events()
        await edit(MORE)
        await changed(events)
        assert client.types.Ping("x").venue == 7


async def test_a_client_that_pins_its_contracts_goes_on_with_them(tmp_path):
    async with served(tmp_path) as (bus, bridge, edit):
        pinned = mycelium.load(BASE)
        async with mycelium.connect(bridge.urls[0], pinned, follow=False) as client:
            async with client.messages(pinned.Ping) as stream:
                await edit(MORE)
                await client.publish(pinned.Ping("old"))
                assert await stream.next(5) == pinned.Ping("old")
                bus.publish_nowait(bus.contracts.Ping("new", venue=1))
                assert await stream.next(5) == pinned.Ping("new")
                assert pinned.schema.version == 1


async def test_a_client_of_an_older_version_that_can_be_talked_to_is_let_in(tmp_path):
    async with served(tmp_path, MORE) as (bus, bridge, _):
        older = mycelium.load(BASE)
        async with mycelium.connect(bridge.urls[0], older) as client, client.messages(older.Ping) as stream:
            bus.publish_nowait(bus.contracts.Ping("x", venue=9))
            assert await stream.next(5) == older.Ping("x")
            assert older.schema.version == 1


async def test_a_client_that_was_away_during_a_reload_catches_up_when_it_comes_back(tmp_path):
    async with served(tmp_path) as (_, bridge, edit):
        await edit(MORE)
        mine = mycelium.load(BASE)
        async with mycelium.connect(bridge.urls[0], mine):
            assert mine.schema.version == 2
            assert mine.Ping("x").venue == 7


async def test_p20_contracts_that_cannot_talk_are_refused_with_rules_and_fields(tmp_path):
    async with served(tmp_path) as (_, bridge, _):
        for other in (RETYPED, BASE.replace("id: 21", "id: 22")):
            with pytest.raises(mycelium.SchemaMismatch) as caught:
                async with mycelium.connect(bridge.urls[0], other):
                    pass
            assert "FIELD_TYPE_CHANGED Pong.value" in str(caught.value) or "another protocol" in str(caught.value)


async def test_types_unknown_to_one_side_are_skipped_there_and_the_publisher_is_told_once(tmp_path):
    async with served(tmp_path) as (_, bridge, _):
        knows_more, told = mycelium.load(NEW_TYPE), []
        async with mycelium.connect(bridge.urls[0], knows_more, on_error=told.append) as client:
            for _ in range(1000):
                client.publish_nowait(knows_more.Peng(1))
            await client.flush()
            assert [refused.code for refused in told] == [8]
            async with client.messages(knows_more.Ping) as stream:
                await client.publish(knows_more.Ping("still here"))
                assert (await stream.next(5)).value == "still here"


async def test_a_topic_gains_a_new_type_on_bus_and_client(tmp_path):
    async with served(tmp_path) as (bus, bridge, edit):
        mine, seen = mycelium.load(BASE), []
        await bus.subscribe(seen.append, topic="greetings")
        async with mycelium.connect(bridge.urls[0], mine) as client, client.messages(topic="greetings") as stream:
            events = client.events()
            await edit(NEW_TYPE)
            await changed(events)
            await client.flush()
            bus.publish_nowait(bus.contracts.Peng(5))
            assert (await stream.next(5)).n == 5
            assert [type(message).__name__ for message in seen] == ["Peng"]


async def test_a_forced_reload_takes_from_pinned_sessions_just_the_types_that_broke(tmp_path):
    async with served(tmp_path) as (bus, bridge, edit):
        pinned, told = mycelium.load(BASE), []
        async with mycelium.connect(bridge.urls[0], pinned, follow=False, on_error=told.append) as client:
            async with client.messages(pinned.Ping, pinned.Pong) as stream:
                assert (await edit(RETYPED)).outcome == "incompatible"
                assert (await edit(RETYPED, force=True)).outcome == "applied"
                while not told:  # it is found out beside the loop
                    await client.flush()
                assert (told[0].code, "FIELD_TYPE_CHANGED Pong.value" in told[0].text) == (7, True)
                bus.publish_nowait(bus.contracts.Pong(3))
                bus.publish_nowait(bus.contracts.Ping("x"))
                assert await stream.next(5) == pinned.Ping("x")
                await client.publish(pinned.Pong("old"))
                await client.publish(pinned.Ping("y"))
                assert await stream.next(5) == pinned.Ping("y")
                assert [refused.code for refused in told] == [7, 7]


async def test_a_rule_that_a_reload_adds_counts_against_nobody(tmp_path):
    stricter = BASE.replace(
        "1010, domain: Greetings, fields: {value: {type: String}",
        "1010, domain: Greetings, fields: {value: {type: String, validation: [{max_length: 2}]}",
    )
    async with served(tmp_path) as (_, bridge, edit):
        pinned, told = mycelium.load(BASE), []
        async with mycelium.connect(bridge.urls[0], pinned, follow=False, on_error=told.append) as client:
            await edit(stricter)
            for _ in range(500):
                client.publish_nowait(pinned.Ping("too long"))
            await client.flush()
            assert {refused.code for refused in told} == {9}
            assert len(told) < 5


async def test_who_would_be_hurt_by_an_edit_is_known_by_name(tmp_path):
    async with served(tmp_path) as (_, bridge, _):
        async with mycelium.connect(bridge.urls[0], BASE, name="pricer"):
            hurt = await bridge.hurt_by(mycelium.load(RETYPED).schema)
            assert list(hurt) == ["pricer"]
            assert "FIELD_TYPE_CHANGED" in hurt["pricer"].reasons[0]
            assert await bridge.hurt_by(mycelium.load(MORE).schema) == {}


async def test_p74_nothing_is_lost_reordered_or_disconnected_by_reloads_under_load(tmp_path):
    mine, received = mycelium.load(BASE), []
    async with served(tmp_path) as (_, bridge, edit), contextlib.AsyncExitStack() as stack:
        for number in range(20):
            client = await stack.enter_async_context(mycelium.connect(bridge.urls[0], mine, name=f"c{number}"))
            got = []
            await client.subscribe(lambda message, got=got: got.append(message.value), mine.Pong)
            received.append((client, got))
        publisher, sent = received[0][0], []
        for version in range(2, 7):
            text = re.sub(r"version: \d", f"version: {version}", MORE if version % 2 else BASE, count=1)
            reload = asyncio.ensure_future(edit(text))
            while not reload.done():
                for _ in range(100):
                    sent.append(str(len(sent)))
                    await publisher.publish(mine.Pong(sent[-1]))
                await asyncio.gather(*(client.flush() for client, _ in received))  # as fast as all take it
            assert (await reload).outcome == "applied"
        assert all(got == sent for _, got in received)
        assert len(sent) > 100


async def test_contracts_are_documents_that_any_json_reader_takes(tmp_path):
    async with served(tmp_path) as (_, bridge, _):
        assert json.loads(bridge.document())["schema"]["id"] == 21


async def test_a_client_with_a_file_of_its_own_keeps_it_however_often_it_comes(tmp_path):
    async with served(tmp_path) as (_, bridge, _):
        for _ in range(3):
            mine = mycelium.load(MORE)
            async with mycelium.connect(bridge.urls[0], mine) as client:
                assert mine.schema.version == 2
                await client.publish(mine.Ping("x", venue=9))
                await client.flush()


async def test_versions_are_judged_for_each_client_though_a_digest_leaves_them_out(tmp_path):
    same = MORE.replace("version: 2", "version: 1")
    too_new = MORE.replace("version: 2, min_compatible: 1", "version: 9, min_compatible: 9")
    async with served(tmp_path) as (_, bridge, _):
        async with mycelium.connect(bridge.urls[0], same):
            pass
        with pytest.raises(mycelium.SchemaMismatch, match="below 9, the oldest that is still read"):
            async with mycelium.connect(bridge.urls[0], too_new):
                pass


async def test_a_bus_that_does_not_serve_tells_of_edits_too(tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text(BASE)
    bus = mycelium.MessageBus(file)
    events = bus.events()
    file.write_text(MORE)
    await Reloader(bus.contracts).reload()
    assert (await changed(events)).version == 2
    await bus.close()


async def test_contracts_are_asked_for_unless_the_bridge_had_them_or_the_lockfile_has(tmp_path):
    newer, released = mycelium.load(MORE).schema, mycelium.load(NEW_TYPE).schema
    async with served(tmp_path) as (bus, bridge, edit):
        bridge.remember(released)
        await edit(MORE)
        for schema, answer in ((newer, "Welcome"), (mycelium.load(BASE).schema, "Welcome"), (released, "Welcome")):
            async with peer_at(bridge.urls[0], hello=False) as peer:
                peer.send(CORE.Hello(protocol=1, client="raw", schema_digest=bytes.fromhex(schema.digest)))
                peer._connection.send(CORE.Hello(protocol=1, client="raw"))
                assert type(await peer.next()).__name__ == answer
        stranger = mycelium.load(MORE.replace("venue", "place")).schema
        async with peer_at(bridge.urls[0], hello=False) as peer:
            digest = bytes.fromhex(stranger.digest)
            peer.send(peer._connection.send(CORE.Hello(protocol=1, client="raw", schema_digest=digest)))
            assert type(await peer.next()).__name__ == "NeedContracts"
            document = document_bytes(stranger)
            second = CORE.Hello(protocol=1, client="raw", schema_digest=digest, contracts=document)
            peer.send(peer._connection.send(second))
            welcome = await peer.next()
            assert welcome.schema_digest.hex() == bus.contracts.schema.digest


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"{", "the contracts have faults"),
        (b'{"messages": 3}', "the contracts have faults"),
        (None, "no contracts in the"),
    ],
)
async def test_a_second_hello_without_proper_contracts_ends_the_connection_with_a_reason(tmp_path, document, said):
    async with served(tmp_path) as (_, bridge, _), peer_at(bridge.urls[0], hello=False) as peer:
        peer.send(peer._connection.send(CORE.Hello(protocol=1, client="raw", schema_digest=bytes(32))))
        assert type(await peer.next()).__name__ == "NeedContracts"
        peer.send(
            peer._connection.send(CORE.Hello(protocol=1, client="raw", schema_digest=bytes(32), contracts=document))
        )
        error = await peer.next()
        assert (type(error).__name__, error.fatal) == ("Error", True)
        assert said in error.message


async def test_what_a_bridge_delivers_is_not_checked_by_the_clients_own_rules(tmp_path):
    fields = "1010, domain: Greetings, fields: {value: {type: String"
    stricter = mycelium.load(BASE.replace(fields, f"{fields}, validation: [{{max_length: 2}}]"))
    async with served(tmp_path) as (bus, bridge, _), mycelium.connect(bridge.urls[0], stricter) as client:
        async with client.messages(stricter.Ping) as stream:
            bus.publish_nowait(bus.contracts.Ping("longer than two"))
            assert (await stream.next(5)).value == "longer than two"
        with pytest.raises(mycelium.RuleError):
            await client.publish(stricter.Ping("longer than two"))


async def test_a_type_that_comes_to_a_topic_is_subscribed_on_the_terms_of_the_others(tmp_path):
    async with served(tmp_path) as (_, bridge, edit):
        mine = mycelium.load(BASE)
        async with mycelium.connect(bridge.urls[0], mine) as client:
            feed, options = client.events(), {"on_lag": "latest", "queue": 7, "no_echo": True, "group": "workers"}
            await client.subscribe(print, topic="greetings", **options)
            await edit(NEW_TYPE)
            await changed(feed)
            await client.flush()
            [session] = bridge.sessions
            assert {
                tuple(sorted(one.type_ids)): (one.on_lag.word, one.outbox.limit, one.no_echo, one.group)
                for one in session.subscriptions
            } == {(1010, 1011): tuple(options.values()), (1013,): tuple(options.values())}


async def test_of_contracts_that_overtake_each_other_while_they_are_read_the_newest_hold(tmp_path, monkeypatch):
    reading = []

    async def aside(work, *args):
        reading.append(asyncio.get_running_loop().create_future())
        await reading[-1]
        return work(*args)

    monkeypatch.setattr("mycelium.bus.accord.aside", aside)
    async with served(tmp_path) as (_, bridge, edit):
        mine = mycelium.load(BASE)
        async with mycelium.connect(bridge.urls[0], mine) as client:
            await edit(NEW_TYPE)
            await edit(NEW_TYPE + "  Last: {tlv_type: 1014, fields: {}}\n")
            while len(reading) < 2:  # noqa: ASYNC110  there is no event for that
                await asyncio.sleep(0.001)
            feed = client.events()
            reading[1].set_result(None)
            await changed(feed)
            reading[0].set_result(None)
            await client.flush()
            assert "Last" in mine
