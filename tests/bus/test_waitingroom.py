"""Clients whose contracts have to be read: once, one at a time, and not for those that are gone."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest
from following import NEW_TYPE, served

import mycelium
from mycelium.bus.waitingroom import MOST_WAITING, WaitingRoom
from mycelium.schema.document import document_bytes
from mycelium.wire.errors import ProtocolError
from peers import CORE, peer_at, until


async def bring(peer, text, extra=b""):
    """Answer NeedContracts with a document; `extra` makes it another one."""
    own = mycelium.load(text)
    hello = {"protocol": 1, "client": "own", "schema_digest": bytes.fromhex(own.schema.digest)}
    peer.send(peer._connection.send(CORE.Hello(**hello)))
    await peer.until("NeedContracts")
    peer.send(peer._connection.send(CORE.Hello(**hello, contracts=document_bytes(own.schema) + extra)))


async def test_equal_documents_are_read_once(tmp_path):
    async with (
        served(tmp_path) as (_, bridge, _),
        peer_at(bridge.urls[0], hello=False) as first,
        peer_at(bridge.urls[0], hello=False) as second,
    ):
        for peer in (first, second):
            await bring(peer, NEW_TYPE)
            await peer.until("Welcome")
        one, other = bridge.sessions
        assert one.terms.contracts is other.terms.contracts


async def test_documents_are_read_one_at_a_time_and_not_for_clients_that_are_gone(tmp_path):
    """Whoever has 40 of them read and leaves holds up neither newcomers nor the reload of tokens and rules."""
    async with served(tmp_path) as (_, bridge, _):
        parley = bridge._parley
        async with parley._room.turn(SimpleNamespace(is_over=False), 0):  # somebody whose document takes very long
            for number in range(40):
                async with peer_at(bridge.urls[0], hello=False) as peer:
                    await bring(peer, NEW_TYPE, b" " * number)
            await until(lambda: not bridge.sessions)
            async with peer_at(bridge.urls[0]) as peer:  # with the bridge's own contracts nothing has to be read
                assert await peer.barrier() == []
            assert await bridge.reload_security()
        async with peer_at(bridge.urls[0], hello=False) as peer:
            await bring(peer, NEW_TYPE)
            await peer.until("Welcome")
        assert len(parley._acquaintances._read) == 1


async def test_a_client_whose_document_cannot_even_wait_is_told_to_come_again(tmp_path, caplog):
    async with served(tmp_path) as (_, bridge, _), contextlib.AsyncExitStack() as stack:
        room = bridge._parley._room
        async with room.turn(SimpleNamespace(is_over=False), 0):
            peers = [
                await stack.enter_async_context(peer_at(bridge.urls[0], hello=False)) for _ in range(MOST_WAITING + 1)
            ]
            for number, peer in enumerate(peers):
                await bring(peer, NEW_TYPE, b" " * number)
            error = await peers[-1].until("Error")
            await until(lambda: len(room._places) == MOST_WAITING)
        text = "the contracts of 32 other clients wait to be read; try again soon"
        assert (error.code, error.fatal, error.message) == (3, True, text)
        assert [await peer.until("Welcome") for peer in peers[:-1]]
        assert caplog.text.count(text) == 1


async def test_who_waits_is_called_in_turn_unless_it_is_gone_or_cancelled():
    room, served = WaitingRoom(most=3, most_bytes=10), []

    async def come(guest, size):
        async with room.turn(guest, size):
            served.append(guest.name)
            await asyncio.sleep(0)

    names = ("first", "second", "gone", "cancelled")
    guests = {name: SimpleNamespace(name=name, is_over=False) for name in names}
    tasks = {name: asyncio.create_task(come(guest, 3)) for name, guest in guests.items()}
    await asyncio.sleep(0)
    late = SimpleNamespace(name="late", is_over=False)
    with pytest.raises(ProtocolError, match="the contracts of 3 other clients wait"):
        await come(late, 1)
    guests["gone"].is_over = True
    with pytest.raises(ProtocolError, match="the contracts of 2 other clients wait"):
        await come(late, 5)
    last = asyncio.create_task(come(late, 4))
    tasks["cancelled"].cancel()
    await asyncio.wait([*tasks.values(), last])
    assert served == ["first", "second", "late"]
    assert {name for name, task in tasks.items() if task.cancelled()} == {"gone", "cancelled"}

    holder = asyncio.create_task(come(late, 1))
    called = asyncio.create_task(come(late, 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    called.cancel()  # in the moment in which it is called
    await asyncio.wait([holder, called])
    await come(late, 1)
    assert served[3:] == ["late", "late"]
