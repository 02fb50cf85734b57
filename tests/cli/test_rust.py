"""`mycelium serve` beside peers of Mycelium's own dialect, as processes: what a deployment would do."""

import asyncio
import json
import re
import signal
import subprocess

import pytest
import rustbus
from processes import ROOT, call, environment, mycelium
from rustbus import BATCH, COUNTER, TEXT, Bus, Peer

CONTRACTS = ROOT / "tests" / "contracts" / "mycelium-protocol.yaml"
STRUCTS = [
    (TEXT, rustbus.text("bot", "ping", 123456)),
    (COUNTER, rustbus.counter(7, -1000, 3)),
    (BATCH, rustbus.batch(1, [b"\1" * 20, b"\2" * 20], 2)),
]
MESSAGES = [
    ("TextMessage", {"sender": "bot", "content": "ping", "timestamp": 123456}),
    ("CounterUpdate", {"counter_id": 7, "value": -1000, "delta": 3}),
    ("BatchOperation", {"operation_id": 1, "items": ["0x" + "01" * 20, "0x" + "02" * 20], "total_count": 2}),
]


class Command:
    """A command that runs beside the test."""

    def __init__(self, process):
        self.process = process
        self.said = []

    @classmethod
    async def start(cls, *arguments, **env):
        return cls(
            await asyncio.create_subprocess_exec(
                *mycelium(*arguments),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=ROOT,
                env=environment(**env),
            )
        )

    async def says(self, pattern):
        """Wait for a line on stderr; what the pattern's group found."""
        while True:
            line = (await self.process.stderr.readline()).decode()
            assert line, f"ended without {pattern!r}: {self.said}"
            self.said.append(line)
            if (found := re.search(pattern, line)) is not None:
                return found.group(found.lastindex or 0)

    async def ends(self):
        """Its exit code and stdout."""
        out, _ = await self.process.communicate()
        return self.process.returncode, out.decode()

    async def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert (await self.ends())[0] == 0


async def _subscribe(url):
    """A native subscriber that ends after three messages."""
    sub = await Command.start("sub", "--url", url, "--contracts", CONTRACTS, "--count", 3, "-o", "json")
    await sub.says("subscribed")
    return sub


async def _publish(url):
    for name, fields in MESSAGES:
        pub = await Command.start("pub", name, json.dumps(fields), "--url", url, "--contracts", CONTRACTS)
        assert (await pub.ends())[0] == 0


async def _received(sub):
    code, out = await sub.ends()
    assert code == 0
    assert [(line["type"], line["fields"]) for line in map(json.loads, out.splitlines())] == MESSAGES


@pytest.mark.slow
async def test_a_script_that_knows_only_the_text_speaks_with_native_clients_through_serve(tmp_path):
    """Over Unix with a preamble, and over TCP without."""
    unix = f"rust+unix://{tmp_path}/rust.sock"
    serve = await Command.start(
        "serve",
        CONTRACTS,
        "--listen",
        f"unix://{tmp_path}/n.sock",
        "--listen",
        unix,
        "--listen",
        "rust+tcp://127.0.0.1:0",
    )
    tcp = await serve.says(r"listening on (rust\+tcp://\S+)")
    for url, first in ((unix, rustbus.preamble(CONTRACTS.read_bytes())), (tcp, b"")):
        peer = await Peer.connect(url, first)
        sub = await _subscribe(f"unix://{tmp_path}/n.sock")
        for struct_ in STRUCTS:
            peer.send(*struct_)
        await _received(sub)
        await _publish(f"unix://{tmp_path}/n.sock")
        assert [await peer.receive() for _ in range(6)] == STRUCTS * 2, "its own, and those of the native client"
        await peer.close()
    await serve.stop()


@pytest.mark.slow
async def test_a_bridge_that_joins_such_a_script_carries_messages_both_ways(tmp_path):
    rust = Bus()
    url = await rust.listen(f"rust+unix://{tmp_path}/bus.sock")
    serve = await Command.start("serve", CONTRACTS, "--listen", f"unix://{tmp_path}/n.sock", "--join", url)
    await serve.says("joining")
    await rust.until(lambda: rust.members)
    sub = await _subscribe(f"unix://{tmp_path}/n.sock")
    for struct_ in STRUCTS:
        rust.say(*struct_)
    await _received(sub)
    await _publish(f"unix://{tmp_path}/n.sock")
    await rust.until(lambda: len(rust.seen) == 3)
    assert rust.seen == STRUCTS
    await serve.stop()
    await rust.close()


async def test_a_worker_that_was_spawned_is_in_without_a_word(tmp_path):
    digest = rustbus.preamble(CONTRACTS.read_bytes())[2:]
    rust = Bus(digest=digest)
    await rust.listen(f"rust+unix://{tmp_path}/bus.sock")
    env = {"MYCELIUM_SOCKET": f"{tmp_path}/bus.sock", "MYCELIUM_SCHEMA_DIGEST": digest.hex()}
    name, fields = MESSAGES[1]
    pub = await Command.start("pub", name, json.dumps(fields), "--contracts", CONTRACTS, **env)
    assert (await pub.ends())[0] == 0
    await rust.until(lambda: rust.seen)
    assert rust.seen == [STRUCTS[1]]
    other = tmp_path / "other.yaml"
    other.write_text(CONTRACTS.read_text() + "# another text\n")
    pub = await Command.start("pub", name, json.dumps(fields), "--contracts", other, **env)
    out = (await pub.process.communicate())[1].decode()
    assert pub.process.returncode == 2
    assert digest.hex() in out
    await rust.close()


def test_what_cannot_be_said_there_is_refused_in_a_line(tmp_path):
    odd = tmp_path / "odd.yaml"
    odd.write_text("messages:\n  Odd:\n    tlv_type: 1001\n    fields: {table: {type: 'Map<u8, u8>'}}\n")
    for arguments, code, words in [
        (["serve", odd, "--listen", "rust+tcp://127.0.0.1:0"], 3, "Odd.table"),
        (["serve", CONTRACTS, "--join", "tcp://127.0.0.1:1"], 2, "cannot be joined"),
        (["ping", "--url", "rust+tcp://127.0.0.1:1"], 2, "no pings"),
        (["serve", CONTRACTS, "--listen", "rust+tcp://0.0.0.0:0"], 1, "other machines"),
    ]:
        done = call(*arguments)
        assert done.returncode == code, done
        assert words in done.stderr
        assert "Traceback" not in done.stderr
