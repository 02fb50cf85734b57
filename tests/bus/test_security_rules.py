"""Access rules over real sockets: what they refuse, whom they show what, and what follows when they change."""

import asyncio
import contextlib

import pytest
import rustbus
from guarding import ANN, BOB, TOKENS, guarded, lines, rules, write

import mycelium
from mycelium import AuthError, Security
from mycelium.bus.reload import Change, Reloader
from mycelium.events import AccessRevoked, SubscriptionRefused
from mycelium.wire.buffer import Batch
from mycelium.wire.frames import encode_frame
from mycelium.wire.metadata import Metadata
from peers import PING, peer_at, until


@contextlib.asynccontextmanager
async def ruled(contracts, acl):
    """A bridge with rules; gives it, and a function that makes connected clients."""
    security = Security(tokens=TOKENS, acl_file=acl)
    async with guarded(contracts, security, "tcp://127.0.0.1:0") as (bus, bridge), contextlib.AsyncExitStack() as stack:

        async def new(token, **options):
            client = mycelium.MyceliumClient(contracts, token=token, **options)
            await client.connect(bridge.urls[0])
            stack.push_async_callback(client.close)
            return client

        yield bus, bridge, new


async def test_p27_what_is_not_allowed_is_refused_at_publish_and_at_subscribe(contracts, acl, caplog):
    refused, got = [], []
    async with ruled(contracts, acl) as (bus, _, new):
        ann, bob = await new(ANN, on_error=refused.append), await new(BOB)
        await bob.subscribe(got.append, contracts.Ping, contracts.Pong)
        with pytest.raises(AuthError, match="denied.*ann may not receive Ping"):
            await ann.subscribe(got.append, contracts.Ping)
        with pytest.raises(AuthError, match="denied.*bob may not publish Ping"):
            await bob.publish(contracts.Ping(value="no"), confirm=True)
        bob.publish_nowait(contracts.Ping(value="neither"))
        receipt = await ann.publish(contracts.Ping(value="yes"), confirm=True)
        assert (receipt.matched, receipt.enqueued) == (1, 1)
        await bob.flush()
        await until(lambda: got == [contracts.Ping(value="yes")])
        assert bob.stats().refused == 1
        assert bus.stats().balanced
    said = {line.partition("session ")[2][3:] for line in lines(caplog)}
    assert said >= {"denied: ann may not receive Ping", "denied: bob may not publish Ping"}


async def test_p27_a_subscription_to_all_gets_what_may_be_received_and_learns_of_nothing_else(contracts, acl):
    async with ruled(contracts, acl) as (bus, bridge, _), peer_at(bridge.urls[0], token=ANN) as peer:
        await peer.subscribe(1, [])
        bus.publish_nowait(contracts.Ping(value="hidden"))
        bus.publish_nowait(contracts.Pong(value="shown"))
        events = await peer.barrier()
        assert [event.type_ids for event in events] == [[1011]]
        assert bus.stats().matched == 1


async def test_a_rule_that_changes_while_messages_flow_holds_for_the_next_one(contracts, acl, caplog):
    async with ruled(contracts, acl) as (bus, bridge, new):
        held, got = asyncio.Event(), []

        async def take(message):
            got.append(message)
            await held.wait()

        bob = await new(BOB)
        events = bob.events()
        subscription = await bob.subscribe(take, contracts.Ping, window=1)
        for number in range(10):
            bus.publish_nowait(contracts.Ping(value=str(number)))
        await until(lambda: got)
        write(acl, rules(ann="{publish: ['*']}", bob="{subscribe: [Pong]}"))
        assert await bridge.reload_security()
        bus.publish_nowait(contracts.Ping(value="after"))
        revoked = await events.next(timeout=5)
        while not isinstance(revoked, AccessRevoked):
            revoked = await events.next(timeout=5)
        assert revoked.reason == "bob may not receive Ping: the access rules say so"
        held.set()
        await bob.flush()
        assert got == [contracts.Ping(value="0")]
        await until(lambda: subscription.stats().dropped == {"denied": 9})
        stats = bus.stats()
        assert (stats.matched, stats.dropped, stats.balanced) == (10, {"denied": 9}, True)

        write(acl, rules(bob="{subscribe: [Ping]}"))
        assert await bridge.reload_security()
        bus.publish_nowait(contracts.Ping(value="again"))
        await until(lambda: got[1:] == [contracts.Ping(value="again")])
        assert bob.stats().reconnects == 0
    assert [line.partition(": ")[2] for line in lines(caplog)] == [
        "denied: bob may not receive Ping: the access rules say so"
    ]


async def test_who_publishes_what_it_might_before_is_told_and_not_sent_away(contracts, acl):
    refused = []
    async with ruled(contracts, acl) as (_, bridge, new):
        ann = await new(ANN, on_error=refused.append, reconnect=False)
        await ann.publish(contracts.Ping(value="x"), confirm=True)
        write(acl, rules(ann="{publish: [Pong]}"))
        assert await bridge.reload_security()
        for _ in range(300):
            ann.publish_nowait(contracts.Ping(value="x"))
        await ann.flush()
        assert (await ann.publish(contracts.Pong(value="x"), confirm=True)).matched == 0
        assert bridge.sessions[0].intake.refused == 300
    assert {str(each) for each in refused} == {"the bridge refused (denied): ann may not publish Ping"}
    assert len(refused) < 10


async def test_who_never_might_is_sent_away_for_trying_on_and_on(contracts, acl):
    async with ruled(contracts, acl) as (_, bridge, _), peer_at(bridge.urls[0], token=BOB) as peer:
        peer.send(PING * 101)
        *told, last = await peer.ending()
        assert [each.code for each in told] == [10] * 100
        assert (last.code, last.message) == (3, "over 100 errors in 10 s")


async def test_a_request_that_is_not_allowed_fails_at_once_and_so_does_one_whose_reply_is_not(contracts, acl):
    async with ruled(contracts, acl) as (_, bridge, new):
        ann, bob = await new(ANN), await new(BOB)
        with pytest.raises(AuthError, match="bob may not publish Ping"):
            await bob.request(contracts.Ping(value="?"), contracts.Pong, timeout=20)
        write(acl, rules(ann="{publish: [Pong], subscribe: [Ping]}", bob="{publish: [Ping], subscribe: [Ping]}"))
        assert await bridge.reload_security()

        async def answer(message, delivery):
            await delivery.reply(contracts.Pong(value=message.value))

        await ann.subscribe(answer, contracts.Ping)
        with pytest.raises(AuthError, match="the reply is a Pong, which this client may not receive"):
            await bob.request(contracts.Ping(value="?"), contracts.Pong, timeout=20)


async def test_last_values_of_what_may_not_be_received_stay_where_they_are(tmp_path):
    kept = "{{tlv_type: {}, retain: last, fields: {{}}}}".format
    contracts = mycelium.load(f"messages:\n  Price: {kept(1001)}\n  Open: {kept(1002)}\n")
    acl = write(tmp_path / "acl.yaml", rules(ann="{subscribe: [Open]}"))
    async with ruled(contracts, acl) as (bus, bridge, _):
        bus.publish_nowait(contracts.Price())
        bus.publish_nowait(contracts.Open())
        async with peer_at(bridge.urls[0], token=ANN) as peer:
            await peer.subscribe(1, [])
            retained, batch = await peer.next(), await peer.next()
            assert (retained.messages, batch.type_ids) == (1, [1002])
            assert await peer.barrier() == []


async def test_after_a_reconnect_a_subscription_that_is_not_allowed_any_more_ends(contracts, acl):
    async with ruled(contracts, acl) as (_, bridge, new):
        bob = await new(BOB)
        events = bob.events()
        await bob.subscribe(print, contracts.Ping)
        write(acl, rules(bob="{subscribe: [Pong]}"))
        assert await bridge.reload_security()
        bridge.abort()
        while not isinstance(event := await events.next(timeout=5), SubscriptionRefused):
            pass
        assert (event.types, event.code) == (("Ping",), 10)


async def test_rules_follow_contracts_that_change(tmp_path, acl):
    text = "messages:\n  Ping: {tlv_type: 1010, domain: One, fields: {}}\n"
    path = tmp_path / "contracts.yaml"
    path.write_text(text)
    write(acl, rules(bob="{subscribe: {allow: ['*'], deny: ['topic:two']}}"))
    contracts = mycelium.load(path)
    async with ruled(contracts, acl) as (bus, bridge, _), peer_at(bridge.urls[0], token=BOB) as peer:
        await peer.subscribe(1, [])
        path.write_text(text + "  Secret: {tlv_type: 1011, domain: Two, fields: {}}\n")
        await Reloader(contracts).reload()
        bus.publish_nowait(contracts["Secret"]())
        bus.publish_nowait(contracts.Ping())
        batches = [event for event in await peer.barrier() if hasattr(event, "type_ids")]
        assert [each.type_ids for each in batches] == [[1010]]


SECRET = "  Secret: {tlv_type: 1011, fields: {number: {type: u8}}}\n"


@pytest.mark.parametrize("is_told", [True, False], ids=["all that a reload does", "nobody is told yet"])
async def test_frames_that_wait_while_contracts_change_are_judged_by_the_rules_for_the_new_ones(tmp_path, acl, is_told):
    text = "messages:\n  Open: {tlv_type: 1010, fields: {number: {type: u8}}}\n"
    contracts, wider = mycelium.load(text), mycelium.load(text + SECRET)
    change = Change("applied", "a test", contracts.schema, wider.schema)
    most = "{allow: ['*'], deny: [Secret]}"
    few = f"{{publish: {most}, subscribe: {most}}}"
    write(acl, rules(ann="{publish: ['*'], subscribe: ['*']}", bob=few, **{"'rust:peer'": few}))

    def reload():
        contracts.apply(change.current)
        if is_told:
            contracts.tell(change)

    bus = mycelium.MessageBus(contracts)
    async with (
        bus.serve(
            "tcp://127.0.0.1:0", "rust+tcp://127.0.0.1:0", security=Security(tokens=TOKENS, acl_file=acl)
        ) as bridge,
        peer_at(bridge.urls[0], token=ANN) as ann,
        peer_at(bridge.urls[0], token=BOB) as bob,
    ):
        for peer in (ann, bob):
            await peer.subscribe(1, [], no_echo=True)
        old = await rustbus.Peer.connect(bridge.urls[1])
        await until(lambda: bus.stats().subscriptions == 3)
        asyncio.get_running_loop().call_soon(reload)  # it runs first, and in that same turn the sockets are read
        for number, peer in enumerate((ann, bob)):
            peer.send(
                *[encode_frame(kind.TYPE_ID, kind(number=number).to_bytes()) for kind in (wider.Secret, wider.Open)]
            )
        old.send(1011, b"\2")
        old.send(1010, b"\2")
        assert [await old.receive() for _ in range(3)] == [(1010, bytes([number])) for number in range(3)]
        events = await bob.barrier()
        assert {1010} == {one for event in events if isinstance(event, Batch) for one in event.type_ids}
        assert "bob may not publish Secret" in {getattr(event, "message", "") for event in events}
        events = await ann.barrier()
        assert [one for event in events if isinstance(event, Batch) for one in event.type_ids] == [1010] * 2
        await old.close()
    assert bus.stats().balanced
    await bus.close()


async def test_a_reply_of_a_type_that_is_new_goes_to_nobody_who_may_not_have_it(tmp_path, acl):
    text = "messages:\n  Open: {tlv_type: 1010, fields: {number: {type: u8}}}\n"
    contracts, wider = mycelium.load(text), mycelium.load(text + SECRET).schema
    write(acl, rules(bob="{publish: [Open], subscribe: {allow: ['*'], deny: [Secret]}}"))
    async with ruled(contracts, acl) as (bus, bridge, _), peer_at(bridge.urls[0], token=BOB) as peer:

        async def answer(message, delivery: mycelium.Delivery):
            contracts.apply(wider)
            await delivery.reply(contracts["Secret"](number=1))

        await bus.subscribe(answer, contracts.Open)
        asked = contracts.Open(number=1).to_bytes() + Metadata(correlation=bytes(16), reply_to=peer.session).encode()
        peer.send(encode_frame(1010, asked))
        error = await peer.until("Error")
        assert error.message == "the reply is a Secret, which this client may not receive"
        assert bus.stats().replies_dropped == {"denied": 1}


async def test_of_a_group_only_those_get_messages_who_may_have_them(contracts, acl):
    ours, theirs = [], []
    async with ruled(contracts, acl) as (bus, bridge, new):
        write(acl, rules(ann="{subscribe: [Ping]}", bob="{subscribe: [Ping]}"))
        assert await bridge.reload_security()
        ann, bob = await new(ANN), await new(BOB)
        await ann.subscribe(ours.append, contracts.Ping, group="g")
        await bob.subscribe(theirs.append, contracts.Ping, group="g")
        for _ in range(4):
            bus.publish_nowait(contracts.Ping(value="both"))
        await until(lambda: len(ours) == len(theirs) == 2)
        write(acl, rules(ann="{subscribe: [Ping]}"))
        assert await bridge.reload_security()
        for _ in range(4):
            bus.publish_nowait(contracts.Ping(value="one"))
        await until(lambda: len(ours) == 6)
        await bob.flush()
        assert len(theirs) == 2
        assert bus.stats().balanced


async def test_counters_of_subscriptions_are_shown_to_an_admin_and_to_nobody_else(contracts, acl):
    write(acl, rules(ann="{admin: true, subscribe: ['*']}", bob="{subscribe: ['*']}"))
    async with ruled(contracts, acl) as (_, _, new):
        ann, bob = await new(ANN, name="a"), await new(BOB, name="b")
        await ann.subscribe(print, contracts.Ping)
        await bob.subscribe(print, contracts.Ping)
        seen = {}
        for client in (ann, bob):
            _, *chunks = await client.query("stats")
            seen[client.name] = {row["client"] for chunk in chunks for row in chunk["subscriptions"]}
        assert seen == {"a": {"a", "b"}, "b": set()}


async def test_what_goes_on_with_types_is_shown_to_an_admin_and_to_those_who_take_part_in_it(contracts, acl):
    write(acl, rules(ann="{admin: true}", bob="{publish: [Ping], subscribe: [Pong]}"))
    async with ruled(contracts, acl) as (_, _, new):
        seen = {}
        for token in (ANN, BOB):
            client = await new(token)
            for limit in (1000, 2):
                _, rows, *_ = await client.query("stats", messages=limit)
                seen[token, limit] = [row["name"] for row in rows["messages"]]
        everything = list(contracts.schema.messages)
        assert seen == {
            (ANN, 1000): everything,
            (ANN, 2): everything[:2],
            (BOB, 1000): ["Ping", "Pong"],
            (BOB, 2): ["Ping", "Pong"],
        }


async def test_an_admin_sees_who_is_there_and_nobody_else_does(contracts, acl):
    write(acl, rules(ann="{admin: true}"))
    async with ruled(contracts, acl) as (_, _, new):
        ann, bob = await new(ANN, name="a"), await new(BOB, name="b")
        first, *_ = await ann.query("sessions")
        assert {(row["name"], row["principal"], row["transport"]) for row in first["sessions"]} == {
            ("a", "ann", "tcp"),
            ("b", "bob", "tcp"),
        }
        with pytest.raises(AuthError):
            await bob.query("sessions")
        with pytest.raises(AuthError):
            await bob.query("reload")


async def test_a_slip_in_a_pattern_is_told(contracts, acl, caplog):
    write(acl, rules(ann="{publish: [Pingg]}"))
    async with ruled(contracts, acl):
        pass
    assert lines(caplog, "mycelium.security") == [f"{acl}: ann: publish: no message fits 'Pingg'; did you mean Ping?"]


async def test_rules_that_make_no_sense_any_more_change_nothing(contracts, acl):
    async with ruled(contracts, acl) as (bus, bridge, new):
        events = bus.events()
        bob = await new(BOB)
        write(acl, "principals: {bob: {subscribe: nothing}}")
        assert not await bridge.reload_security()
        assert "must be a mapping" in (await events.next(timeout=5)).reasons[0]
        await bob.subscribe(print, contracts.Ping)
