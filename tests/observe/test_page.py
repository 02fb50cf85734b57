"""The page's streams and files: what they show, to how many, and that nobody pays while nobody looks."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from asking import ask
from starlette.applications import Starlette
from starlette.routing import Mount
from web import begin, get, stream, web

import mycelium
import mycelium.asgi
from mycelium.bus.observe import page as page_module
from mycelium.bus.observe import tail as tail_module
from peers import until

TEXT = """
schema: {id: 40, version: 2, min_compatible: 1}
messages:
  Open: {tlv_type: 1010, log_payload: true, domain: Talk, fields: {value: {type: String}}}
  Plain: {tlv_type: 1011, fields: {value: {type: String}}}
  Secret: {tlv_type: 1012, sensitivity: high, log_payload: true, fields: {value: {type: String}}}
  Holder: {tlv_type: 1013, log_payload: true, fields: {inner: {type: Secret}}}
  Unloggable: {tlv_type: 1014, log_payload: false, fields: {value: {type: String}}}
  Order:
    tlv_type: 1015
    key: id
    retain: last
    fields:
      note: {type: String, tag: 9, optional: true, validation: [{max_length: 8}]}
      id: {type: u64, tag: 1, description: unique}
      side: {type: u8, tag: 2, default: 3, deprecated: true}
"""
CANARY = "canary-4711"


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    """States and samples come often."""
    monkeypatch.setattr(page_module, "_STATE_SECONDS", 0.02)
    monkeypatch.setattr(tail_module, "_WINDOW_SECONDS", 0.02)


@pytest.fixture
def types():
    return mycelium.load(TEXT)


# --- the frame and its files ---


async def test_the_frame_and_its_files_carry_a_strict_policy_and_ask_nobody_else(types):
    async with mycelium.MessageBus(types).serve("tcp://127.0.0.1:0", name="<b>&\"it'") as bridge, web(bridge) as port:
        frame = await get(port, "/")
        assert frame.status == 200
        policy = dict(each.split(" ", 1) for each in frame.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in frame.headers["content-security-policy"]
        assert frame.headers["x-content-type-options"] == "nosniff"
        text = frame.body.decode()
        assert "&lt;b&gt;&amp;&quot;it&#x27;" in text
        assert "<b>" not in text
        assert not re.search(r"<style|\son\w+=|\sstyle=|javascript:|<script(?! type=\"module\" src=)", text)
        wanted = set(re.findall(r'(?:href|src)="(page/[^"]+)"', text))
        assert wanted == {"page/icon.svg", "page/page.css", "page/page.js"}
        names = {path.name for path in Path(page_module.__file__).with_name("static").iterdir()} - {"page.html"}
        for name in names:
            answer = await get(port, f"/page/{name}")
            assert answer.status == 200
            assert "content-security-policy" in answer.headers
            assert not re.search(rb"https?://(?!www\.w3\.org/2000/svg)", answer.body)
            wanted |= {f"page/{found}" for found in re.findall(r'from "\./([^"]+)"', answer.body.decode())}
        assert wanted == {f"page/{name}" for name in names}
        for path in (
            "/page/none.js",
            "/page/page.html",
            "/page/..%2fpage.py",
            "/page/messages/None",
            "/page/tail?type=None",
        ):
            assert (await get(port, path)).status == 404


async def test_it_can_be_mounted_below_another_path(types):
    bus = mycelium.MessageBus(types)  # and needs no bridge
    app = Starlette(routes=[Mount("/bus", mycelium.asgi.app(bus))])
    frame, script = await ask(app, "/bus/"), await ask(app, "/bus/page/page.js")
    assert b'src="page/page.js"' in frame.body  # relative to where the frame is
    assert script.headers["content-type"].startswith("text/javascript")


async def test_a_message_is_told_with_its_fields_in_the_order_of_the_wire(types):
    async with mycelium.MessageBus(types).serve("tcp://127.0.0.1:0") as bridge, web(bridge) as port:
        order = (await get(port, "/page/messages/Order")).json
        fixed = (await get(port, "/page/messages/Plain")).json
    assert [(one["name"], one["offset"], one["size"]) for one in order["fields"]] == [
        ("id", 6, 8),
        ("side", 20, 1),
        ("note", 27, None),
    ]
    assert (order["frame_size"], order["least_size"]) == (None, 27)
    shortest = types.Order(id=1)
    assert len(types.registry.entries["Order"].codec.encode_frame(shortest)) == 27
    assert [one["presence"] for one in order["fields"]] == ["required", "default 3", "optional"]
    assert order["fields"][2]["rules"] == ["max_length: 8"]
    assert (order["key"], order["retain"], order["is_shown"]) == (["id"], "last", False)
    assert (fixed["frame_size"], fixed["least_size"]) == (None, 12)


# --- states ---


async def test_states_tell_of_messages_connections_and_the_contracts(types, tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text(TEXT)
    bus = mycelium.MessageBus(file)
    Open = bus.contracts.Open  # noqa: N806  a class
    async with bus.serve("tcp://127.0.0.1:0", name="here") as bridge, web(bridge) as port:
        async with (
            mycelium.connect(bridge.urls[0], file, name="listener") as client,
            stream(port, "/page/state") as states,
        ):
            await client.subscribe(lambda _: None, client.types.Open)
            await client.publish(client.types.Open("x"))
            bus.publish_nowait(Open("y"))
            state = await states.until(lambda one: one["messages"][0]["delivered"] == 2)
            row = state["messages"][0]
            assert (row["name"], row["topic"], row["subscriptions"], row["received"]) == ("Open", "talk", 1, 2)
            assert state["types"] == [*types.schema.messages]
            (connection,) = state["connections"]["rows"]
            assert (connection["client"], connection["received_messages"]) == ("listener", 1)
            assert state["bridge"]["name"] == "here"
            assert state["bridge"]["problems"] == []
            assert state["schema"]["reload"] is None
            file.write_text(TEXT.replace("value: {type: String}", "value: {type: u64}"))
            assert (await client.query("reload"))[0]["outcome"] == "incompatible"
            state = await states.until(lambda one: one["schema"]["reload"])
            assert not state["schema"]["is_good"]
            assert "FIELD_TYPE_CHANGED Open.value" in state["schema"]["reload"]["reasons"][0]


async def test_states_are_made_once_for_all_and_not_while_nobody_reads(types):
    async with mycelium.MessageBus(types).serve("tcp://127.0.0.1:0") as bridge, web(bridge) as port:
        async with stream(port, "/page/state") as first, stream(port, "/page/state") as second:
            one, other = await first.next(), await second.next()
            assert one[0] == other[0] == "state"
            assert sum("mycelium page" in task.get_name() for task in asyncio.all_tasks()) == 1
            assert (await first.next())[1]["clock_s"] > one[1]["clock_s"]
        await until(lambda: not any("mycelium page" in task.get_name() for task in asyncio.all_tasks()))


async def test_only_so_many_pages_may_be_open_and_a_place_is_free_again_when_one_closes(types, monkeypatch):
    monkeypatch.setattr(page_module, "_MOST_TAILS", 2)
    async with mycelium.MessageBus(types).serve("tcp://127.0.0.1:0") as bridge, web(bridge) as port:
        async with stream(port, "/page/tail"), stream(port, "/page/tail"):
            refused = await get(port, "/page/tail")
            assert (refused.status, refused.headers["retry-after"]) == (503, "5")
            assert "2 of these are open already" in refused.json["error"]
        async with asyncio.timeout(10):
            while (answer := await begin(port, "/page/tail"))[0] != 200:
                answer[3].close()
        answer[3].close()


async def test_a_head_is_told_of_a_stream_and_takes_no_place(types, monkeypatch):
    monkeypatch.setattr(page_module, "_MOST_PAGES", 1)
    async with mycelium.MessageBus(types).serve("tcp://127.0.0.1:0") as bridge, web(bridge) as port:
        for _ in range(2):
            status, _, reader, writer = await begin(port, "/page/state", "HEAD")
            assert (status, await reader.read()) == (200, b"")
            writer.close()


async def test_streams_end_when_the_http_side_does(types):
    async with mycelium.MessageBus(types).serve("tcp://127.0.0.1:0") as bridge:
        async with web(bridge) as port:
            _, _, states, first = await begin(port, "/page/state")
            _, _, tail, second = await begin(port, "/page/tail")
        assert (await states.read()).endswith(b"0\r\n\r\n")
        assert (await tail.read()).endswith(b"0\r\n\r\n")
        first.close()
        second.close()


# --- the tail ---


async def test_the_tail_shows_values_of_marked_messages_and_of_no_others(types):
    bus = mycelium.MessageBus(types)
    secret = types.Secret(CANARY)
    messages = [
        types.Open(f"{CANARY}-open <i>\x1b[2J\u202e"),
        types.Plain(CANARY),
        secret,
        types.Holder(secret),
        types.Unloggable(CANARY),
        types.Open("x" * 20_000),
    ]
    async with bus.serve("tcp://127.0.0.1:0") as bridge, web(bridge) as port:
        async with (
            mycelium.connect(bridge.urls[0], types, name="speaker\x1b") as client,
            stream(port, "/page/tail") as lines,
        ):
            items = []
            for publish in (client.publish, bus.publish):
                for message in messages:
                    await publish(message)
                    _, told = await lines.next()
                    items += told["items"]
    remote, local = items[:6], items[6:]
    assert [one["type"] for one in remote] == ["Open", "Plain", "Secret", "Holder", "Unloggable", "Open"]
    assert json.loads(remote[0]["values"]) == {"value": messages[0].value}
    assert "\x1b" not in remote[0]["values"]
    assert "\u202e" not in remote[0]["values"]
    unmarked = "not shown: the contract does not say log_payload: true"
    assert [one["withheld"] for one in remote[1:]] == [
        unmarked,
        "redacted by the contract",
        "redacted by the contract",
        "redacted by the contract",
        "not shown: over 16 KiB",
    ]
    assert [one["values"] is None for one in local] == [False, True, True, True, True, False]
    assert local[5]["values"].endswith("x…")
    assert len(local[5]["values"]) <= 2001
    assert {one["from"] for one in remote} == {"speaker\\x1b"}
    assert {one["from"] for one in local} == {"the bridge's process"}
    assert json.dumps(items).count(CANARY) == 2  # once over a socket, once from here, of the marked one


async def test_the_tail_is_bounded_gives_each_type_its_share_and_counts_the_rest(types):
    bus = mycelium.MessageBus(types)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, web(bridge) as port:
        async with mycelium.connect(bridge.urls[0], types) as client, stream(port, "/page/tail") as lines:
            for number in range(200):
                client.publish_nowait(types.Open(str(number)))
            client.publish_nowait(types.Plain("once"))
            await client.flush()
            shown, skipped = [], 0
            while len(shown) + skipped < 201:
                _, told = await lines.next()
                assert len(told["items"]) <= tail_module.PER_SECOND / 4
                shown += told["items"]
                skipped += told["skipped"]
                if len(shown) + skipped < 201:
                    bus.publish_nowait(types.Unloggable("one more, so that something is said"))
                    skipped -= 1
    assert len(shown) + skipped == 201
    assert {"Open", "Plain"} <= {one["type"] for one in shown}


async def test_a_tail_of_one_type_sees_nothing_else(types):
    bus = mycelium.MessageBus(types)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, web(bridge) as port:
        async with mycelium.connect(bridge.urls[0], types) as client, stream(port, "/page/tail?type=Open") as lines:
            for number in range(3):
                client.publish_nowait(types.Plain(str(number)))
                client.publish_nowait(types.Open(str(number)))
            await client.flush()
            _, told = await lines.next()
    assert [(one["type"], one["values"]) for one in told["items"]] == [
        ("Open", f'{{"value": "{n}"}}') for n in range(3)
    ]
    assert told["skipped"] == 0


async def test_nothing_is_tapped_while_nobody_watches(types):
    bus = mycelium.MessageBus(types)
    heard = []
    await bus.subscribe(heard.append, types.Open)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, web(bridge) as port:
        meter = bus.exchange.meter
        bus.publish_nowait(types.Open("by a plan"))
        assert types.Open in bus._plans.in_force
        assert meter.tap is None
        async with stream(port, "/page/tail") as lines:
            bus.publish_nowait(types.Open("seen"))
            assert types.Open not in bus._plans.in_force
            assert (await lines.next())[1]["items"][0]["values"] == '{"value": "seen"}'
        await until(lambda: meter.tap is None)
        bus.publish_nowait(types.Open("by a plan again"))
        assert types.Open in bus._plans.in_force
    assert len(heard) == 3
    await bus.close()


async def test_a_request_that_only_the_tail_sees_has_no_responders(types):
    bus = mycelium.MessageBus(types)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, web(bridge) as port:
        async with mycelium.connect(bridge.urls[0], types) as client, stream(port, "/page/tail") as lines:
            with pytest.raises(mycelium.NoResponders):
                await client.request(types.Open("?"), types.Plain)
            assert (await lines.next())[1]["items"][0]["type"] == "Open"


async def test_a_page_that_does_not_read_holds_nobody_up_and_piles_up_nothing(types):
    bus = mycelium.MessageBus(types)
    async with bus.serve("tcp://127.0.0.1:0") as bridge, web(bridge) as port:
        status, _, _, writer = await begin(port, "/page/tail")
        writer.transport.pause_reading()
        tail = await _tail_of(bus)
        async with mycelium.connect(bridge.urls[0], types) as client:
            for _ in range(50):
                for number in range(100):
                    client.publish_nowait(types.Open("x" * 1000 + str(number)))
                await client.flush()
        assert status == 200
        (watcher,) = tail._watchers
        assert len(watcher._samples) <= tail_module.PER_SECOND / 4
        writer.close()


async def _tail_of(bus):
    await until(lambda: bus.exchange.meter.tap is not None)
    return bus.exchange.meter.tap
