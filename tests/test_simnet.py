"""The simulator's loop and network behave as asyncio's and the kernel's do."""

import asyncio
from random import Random

import pytest
from simloop import Deadlock, SimLoop
from simnet import Network


class Collector(asyncio.BufferedProtocol):
    """Remembers what asyncio says to it."""

    def __init__(self):
        self.got, self.calls, self.buffer = b"", [], memoryview(bytearray(1000))

    def connection_made(self, transport):
        self.transport = transport
        self.calls.append("made")

    def get_buffer(self, _):
        return self.buffer

    def buffer_updated(self, count):
        self.got += bytes(self.buffer[:count])

    def eof_received(self):
        self.calls.append("eof")

    def pause_writing(self):
        self.calls.append("pause")

    def resume_writing(self):
        self.calls.append("resume")

    def connection_lost(self, error):
        self.calls.append(type(error).__name__ if error else "lost")


@pytest.fixture(params=range(8))
def pair(request):
    """A loop, its network, a wire and the protocols at its two ends."""
    loop = SimLoop()
    network = Network(loop, Random(request.param))
    accepted = Collector()
    network.listen(("tcp", "there", 1), lambda: accepted)
    _, opened = loop.run_until_complete(loop.create_connection(Collector, "there", 1))
    yield loop, network.wires[0], opened, accepted
    assert not loop.unhandled
    loop.dispose()


def _pass(loop, seconds):
    loop.run_until_complete(asyncio.sleep(seconds))


def test_bytes_come_whole_and_in_order(pair):
    loop, _, opened, accepted = pair
    sent = bytes(range(256)) * 1000
    for start in range(0, len(sent), 5000):
        opened.transport.write(sent[start : start + 5000])
    opened.transport.close()
    _pass(loop, 60)
    assert accepted.got == sent
    assert opened.calls[-1] == "lost"
    assert accepted.calls == ["made", "eof", "lost"]


def test_who_writes_to_a_peer_that_does_not_read_is_paused_and_resumed(pair):
    loop, wire, opened, accepted = pair
    wire.server.stall(stalled=True)
    opened.transport.write(bytes(1_000_000))
    _pass(loop, 10)
    assert opened.calls == ["made", "pause"]
    assert accepted.got == b""
    assert opened.transport.get_write_buffer_size() > 64 * 1024
    wire.server.stall(stalled=False)
    _pass(loop, 120)
    assert opened.calls == ["made", "pause", "resume"]
    assert len(accepted.got) == 1_000_000


def test_a_cut_wire_says_nothing_and_gives_everything_when_it_is_healed(pair):
    loop, wire, opened, accepted = pair
    wire.cut(up=True, down=False)
    opened.transport.write(b"ping")
    accepted.transport.write(b"pong")
    _pass(loop, 100)
    assert (opened.got, accepted.got) == (b"pong", b"")
    wire.heal()
    opened.transport.write(b" and more")
    _pass(loop, 1)
    assert accepted.got == b"ping and more"
    assert opened.calls == accepted.calls == ["made"]


def test_a_reset_and_a_crash_end_each_side_once(pair):
    loop, wire, opened, accepted = pair
    wire.server.vanish(silent=False)
    opened.transport.write(b"x")
    _pass(loop, 1)
    wire.reset()
    opened.transport.abort()
    _pass(loop, 1)
    assert opened.calls == ["made", "ConnectionResetError"]
    assert accepted.calls == ["made", "ConnectionAbortedError"]


def test_who_writes_to_a_closed_connection_is_reset(pair):
    loop, _, opened, accepted = pair
    accepted.transport.abort()
    opened.eof_received = lambda: True
    _pass(loop, 1)
    opened.transport.write(b"x")
    _pass(loop, 1)
    assert opened.calls == ["made", "ConnectionResetError"]


def test_nobody_listens_means_refused():
    loop = SimLoop()
    Network(loop, Random(0))
    with pytest.raises(ConnectionRefusedError):
        loop.run_until_complete(loop.create_unix_connection(Collector, "/nowhere"))
    loop.dispose()


def test_time_passes_only_when_there_is_nothing_to_do():
    loop = SimLoop()
    seen = []

    async def main():
        loop.call_later(3600, seen.append, "later")
        await asyncio.sleep(1800)
        seen.append(loop.time())
        assert await asyncio.to_thread(sum, [1, 2]) == 3
        assert loop.time() == 1800
        await asyncio.sleep(1801)

    loop.run_until_complete(main())
    loop.dispose()
    assert seen == [1800, "later"]


def test_who_waits_for_nothing_is_told():
    loop = SimLoop()
    with pytest.raises(Deadlock, match="everybody waits"):
        loop.run_until_complete(loop.create_future())
    loop.dispose()


def test_who_spins_is_told():
    loop = SimLoop()

    async def spin():
        while True:  # noqa: ASYNC110  it is what must not be
            await asyncio.sleep(0)

    with pytest.raises(Deadlock, match="without waiting"):
        loop.run_until_complete(spin())
    loop.dispose()
