"""Metrics of a bus: what they say after a known story, and in which form."""

import asyncio
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from asking import ask
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text

import mycelium
from mycelium.bus.observe.collector import FAMILIES
from mycelium.bus.observe.scrape import MOST_MESSAGES
from mycelium.wire.errors import ErrorCode
from mycelium.wire.frames import encode_frame
from peers import CORE, PING, peer_at, until

TEXT = """
schema: {id: 31, version: 1, min_compatible: 1}
domains:
  Trading: {latency_slo_p99_ms: 100, error_rate_slo_pct: 0.5}
messages:
  Tick: {tlv_type: 1000, domain: Trading, fields: {number: {type: u64}}}
  State: {tlv_type: 1001, domain: Trading, retain: last, fields: {number: {type: u64, validation: [{max: 100}]}}}
  Ask: {tlv_type: 1002, fields: {text: {type: String}}}
"""
OPEN = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def bus():
    return mycelium.MessageBus(TEXT)


def figures(text, *, is_open=False):
    """Sample name and labels to value."""
    families = (parse_open if is_open else parse_text)(text)
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


async def scrape(app, accept="text/plain"):
    answer = await ask(app, "/metrics", accept=accept)
    assert answer.status == 200
    return figures(answer.text, is_open=accept == OPEN)


def sums(found, name, *labels):
    """The sums of a metric over all labels but these."""
    counts = Counter()
    for (sample, *pairs), value in found.items():
        if sample == name:
            counts[tuple(dict(pairs)[one] for one in labels)] += value
    return counts


async def story(bus, bridge):
    """Messages of all kinds over TCP, Unix and in the process; what was published by type."""
    tcp, unix = bridge.urls
    local, counted = [], []
    types = bus.contracts
    await bus.subscribe(local.append, types.Tick, types.State)

    @bus.reply(types.Ask)
    async def answer(message):
        return types.Ask(f"re: {message.text}")

    async with (
        mycelium.connect(tcp, TEXT, name="publisher", stamp=True) as publisher,
        mycelium.connect(unix, TEXT, name="subscriber") as subscriber,
    ):
        await subscriber.subscribe(counted.append, subscriber.types.Tick)
        slow = subscriber.messages(subscriber.types.State, queue=2, window=1, on_lag="drop_newest")
        async with slow:
            for number in range(20):
                await publisher.publish(publisher.types.Tick(number))
                await publisher.publish(publisher.types.State(number))
            await publisher.flush()
            bus.publish_nowait(types.Tick(99))
            await publisher.request(publisher.types.Ask("?"), publisher.types.Ask)
            await bus.request(types.Ask("?"), types.Ask)
            await until(lambda: len(counted) == 21 and len(local) == 41)
            while subscriber.stats().matched < 41:
                await slow.next(timeout=5)
    async with peer_at(tcp) as peer:
        peer.send(encode_frame(1001, bytes.fromhex("010008000000") + (101).to_bytes(8, "little")))
        peer.send(encode_frame(1500, b""), encode_frame(1000, b"nonsense"))
        await peer.barrier()


async def test_after_a_known_story_the_sums_are_those_of_the_bus(bus, tmp_path):
    app = mycelium.asgi.app(bus)
    async with bus.serve("tcp://127.0.0.1:0", f"unix://{tmp_path}/bus.sock") as bridge:
        await story(bus, bridge)
        await until(lambda: not bridge.sessions)
        stats, found = bus.stats(), await scrape(app)
    assert stats.balanced
    assert stats.dropped["dropped_newest"] > 0
    assert sums(found, "mycelium_messages_received_total")[()] == stats.published == 43
    assert sums(found, "mycelium_messages_received_total", "message", "transport") == {
        ("Tick", "tcp"): 20,
        ("Tick", "local"): 1,
        ("State", "tcp"): 20,
        ("Ask", "tcp"): 1,
        ("Ask", "local"): 1,
    }
    assert sums(found, "mycelium_messages_delivered_total")[()] == stats.delivered
    assert sums(found, "mycelium_messages_delivered_total", "message", "transport")["Tick", "unix"] == 21
    assert sums(found, "mycelium_messages_dropped_total", "reason") == {
        (reason,): number for reason, number in stats.dropped.items() if number
    }
    assert sums(found, "mycelium_requests_total", "message", "outcome") == {("Ask", "replied"): 2}
    assert sums(found, "mycelium_retained_messages", "message") == {("State",): 1}
    assert sums(found, "mycelium_validation_failures_total", "message", "rule") == {("State", "max"): 1}
    assert sums(found, "mycelium_messages_unknown_total", "transport", "policy") == {("tcp", "refused"): 1}
    assert sums(found, "mycelium_frames_invalid_total", "reason") == {("invalid_payload",): 2, ("unknown_type",): 1}
    await bus.close()


async def test_connections_handshakes_bytes_and_times_are_counted_by_transport(bus, tmp_path):
    app = mycelium.asgi.app(bus)
    async with bus.serve(
        "tcp://127.0.0.1:0", f"unix://{tmp_path}/bus.sock", limits=mycelium.Limits(connections=9)
    ) as bridge:
        await story(bus, bridge)
        await until(lambda: not bridge.sessions)
        async with peer_at(bridge.urls[0], hello=False) as stranger:
            stranger.send(PING)
            assert (await stranger.ending())[-1].code == ErrorCode.PROTOCOL
        async with mycelium.connect(bridge.urls[0], TEXT):
            found = await scrape(app)
    assert sums(found, "mycelium_connections", "transport") == {("tcp",): 1, ("unix",): 0}
    assert found["mycelium_connections_limit",] == 9
    assert sums(found, "mycelium_connections_opened_total", "transport") == {("tcp",): 4, ("unix",): 1}
    assert sums(found, "mycelium_connections_closed_total", "transport", "reason") == {
        ("tcp", "client"): 1,
        ("tcp", "eof"): 1,
        ("tcp", "protocol"): 1,
        ("unix", "client"): 1,
    }
    handshakes = {("tcp", "accepted"): 3, ("tcp", "protocol"): 1, ("unix", "accepted"): 1}
    assert sums(found, "mycelium_handshakes_total", "transport", "outcome") == handshakes
    assert sums(found, "mycelium_handshake_duration_seconds_count", "transport") == {("tcp",): 3, ("unix",): 1}
    frames = (20 + 20) * (6 + 14 + 36) + 1 * (6 + 7 + 36 + 36)
    assert sums(found, "mycelium_received_bytes_total", "transport")["tcp",] > frames
    assert sums(found, "mycelium_sent_bytes_total", "transport")["unix",] > 21 * (6 + 14)
    assert sums(found, "mycelium_message_size_bytes_count", "message") == {("Tick",): 20, ("State",): 20, ("Ask",): 1}
    assert sums(found, "mycelium_message_size_bytes_sum", "message")["Tick",] == 20 * (14 + 36)
    assert sums(found, "mycelium_route_duration_seconds_count", "transport") == {("tcp",): 41, ("unix",): 0}
    assert sums(found, "mycelium_queue_wait_seconds_count", "transport")["unix",] >= 21
    assert sums(found, "mycelium_delivery_latency_seconds_count", "message")["Tick",] == 20
    assert found["mycelium_slow_consumer_events_total", ("action", "drop_newest")] == 1
    assert found["mycelium_event_loop_lag_seconds_count",] >= 0
    await bus.close()


async def test_peers_of_the_other_dialect_have_a_transport_of_their_own():
    bus = mycelium.MessageBus("messages: {Tick: {tlv_type: 1000, fields: {number: {type: u64}}}}\n")
    app = mycelium.asgi.app(bus)
    async with bus.serve("rust+tcp://127.0.0.1:0") as bridge, mycelium.connect(bridge.urls[0], bus.contracts) as client:
        await client.publish(client.types.Tick(1))
        await until(lambda: bus.stats().published)
        found = await scrape(app)
    assert sums(found, "mycelium_messages_received_total", "message", "transport") == {("Tick", "rust"): 1}
    assert sums(found, "mycelium_received_bytes_total", "transport") == {("rust",): 6 + 8}
    assert sums(found, "mycelium_connections", "transport") == {("rust",): 1}
    await bus.close()


async def test_what_a_contract_says_of_domains_is_there_for_alerts(bus):
    found = await scrape(mycelium.asgi.app(bus))
    assert found["mycelium_slo_latency_objective_seconds", ("domain", "Trading")] == 0.1
    assert found["mycelium_slo_error_ratio_objective", ("domain", "Trading")] == 0.005
    assert found["mycelium_schema_messages",] == 3
    assert found["mycelium_schema_last_reload_successful",] == 1
    assert [dict(labels)["schema_id"] for (name, *labels) in found if name == "mycelium_schema_info"] == ["0x0000001f"]
    assert any(name == "process_resident_memory_bytes" for name, *_ in found)
    await bus.close()


async def test_both_forms_say_what_the_library_says_and_nothing_is_said_twice(bus, tmp_path):
    app = mycelium.asgi.app(bus)
    registry = CollectorRegistry()
    registry.register(mycelium.observe.BusMetrics(bus))
    async with bus.serve("tcp://127.0.0.1:0", f"unix://{tmp_path}/bus.sock") as bridge:
        await story(bus, bridge)
        await until(lambda: not bridge.sessions)
        text, opened = await scrape(app), await scrape(app, OPEN)
        theirs = figures(generate_latest(registry).decode())
        theirs_opened = figures(openmetrics.generate_latest(registry).decode(), is_open=True)
    moves = ("process_", "python_", "mycelium_event_loop", "mycelium_schema_last_reload_success_time")

    def ours(found):
        return {key: value for key, value in found.items() if not key[0].startswith(moves)}

    assert ours(text) == ours(theirs)
    assert ours(opened) == ours(theirs_opened)
    await bus.close()


async def test_openmetrics_is_given_to_whoever_accepts_it_and_ends_as_it_has_to(bus):
    app = mycelium.asgi.app(bus)
    answer = await ask(app, "/metrics", accept=f"{OPEN};q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    assert {family.name for family in parse_open(answer.text)} >= {
        family.name.removesuffix("_total") for family in FAMILIES
    }
    plain = await ask(app, "/metrics")
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# EOF" not in plain.text
    await bus.close()


async def test_a_recorded_trace_is_named_beside_the_times_of_its_messages(bus):
    app = mycelium.asgi.app(bus)
    trace, span = bytes(range(16)), bytes(8)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, peer_at(bridge.urls[0]) as peer:
        tick = bytes.fromhex("010008000000 0500000000000000 01ff1a000000")
        peer.send(encode_frame(1000, tick + b"\0" + bytes(16) + span + b"\0"))
        await peer.barrier()
        assert "trace_id" not in (await ask(app, "/metrics", accept=OPEN)).text
        peer.send(encode_frame(1000, tick + b"\0" + trace + span + b"\x01"))
        await peer.barrier()
        text = (await ask(app, "/metrics", accept=OPEN)).text
    families = {family.name: family for family in parse_open(text)}
    named = [one.exemplar for one in families["mycelium_route_duration_seconds"].samples if one.exemplar]
    assert [one.labels for one in named] == [{"trace_id": trace.hex()}]
    assert "trace_id" not in (await ask(app, "/metrics")).text
    await bus.close()


async def test_series_of_a_message_are_gone_with_it(tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text(TEXT)
    bus = mycelium.MessageBus(file)
    app = mycelium.asgi.app(bus)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, mycelium.connect(bridge.urls[0], TEXT) as client:
        await client.subscribe(lambda _: None, client.types.Tick, client.types.State)
        for number in range(5):
            await client.publish(client.types.Tick(number))
            await client.publish(client.types.State(number))
        await client.flush()
        before = await scrape(app)
        file.write_text(
            TEXT.replace("  State:", "  Other:").replace("1001", "1003").replace("version: 1", "version: 2")
        )
        assert (await client.query("reload", force=True))[0]["outcome"] == "applied"
        after = await scrape(app)
    assert any(("message", "State") in labels for _, *labels in before)
    assert not any(("message", "State") in labels for _, *labels in after)
    assert sums(after, "mycelium_messages_received_total", "message") == {("Tick",): 5}
    assert after["mycelium_schema_reloads_total", ("outcome", "applied")] == 1
    assert after["mycelium_schema_reload_duration_seconds_count",] == 1
    await bus.close()


async def test_over_two_hundred_types_share_a_label():
    lines = (f"  M{number}: {{tlv_type: {1000 + number}, fields: {{a: {{type: u8}}}}}}" for number in range(210))
    bus = mycelium.MessageBus("messages:\n" + "\n".join(lines) + "\n")
    app = mycelium.asgi.app(bus)
    for cls in bus.contracts:
        bus.publish_nowait(cls(1))
    found = sums(await scrape(app), "mycelium_messages_received_total", "message")
    assert len(found) == MOST_MESSAGES + 1
    assert (found["M199",], found["_other",]) == (1, 10)
    await bus.close()


async def test_what_was_under_way_when_the_counting_began_is_counted_as_unknown(bus):
    async with bus.serve("tcp://127.0.0.1:0") as bridge, peer_at(bridge.urls[0]) as peer:
        await peer.subscribe(1, [1000], window=10)
        bus.publish_nowait(bus.contracts.Tick(1))
        assert (await peer.next()).type_ids == [1000]
        app = mycelium.asgi.app(bus)
        bus.publish_nowait(bus.contracts.Tick(2))
        assert (await peer.next()).type_ids == [1000]
        peer.send(CORE.encode(CORE.Credit(subscription=1, messages=2)))
        await peer.barrier()
        found = await scrape(app)
    delivered = sums(found, "mycelium_messages_delivered_total", "message")
    assert delivered == {("_unknown",): 1, ("Tick",): 1}
    await bus.close()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is in Debian's package prometheus")
async def test_promtool_finds_nothing_to_object_to(bus, tmp_path):
    app = mycelium.asgi.app(bus)
    async with bus.serve("tcp://127.0.0.1:0", f"unix://{tmp_path}/bus.sock") as bridge:
        await story(bus, bridge)
        text = (await ask(app, "/metrics")).body
    command = ["promtool", "check", "metrics"]
    done = await asyncio.to_thread(subprocess.run, command, input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, b"", b"")
    await bus.close()


def test_the_documented_metrics_are_those_that_there_are():
    from mycelium.bus.observe.client_metrics import CLIENT_METRICS

    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
    documented = {}
    for line in page.splitlines():
        if line.startswith("| `mycelium_"):
            name, kind, labels, _ = (cell.strip() for cell in line.strip("|").split("|", 3))
            documented[name.strip("`")] = kind, tuple(one.strip("`") for one in labels.split(", ") if "`" in one)
    exported = {one.name: (one.kind, one.labels) for one in (*FAMILIES, *CLIENT_METRICS)}
    assert documented == exported
