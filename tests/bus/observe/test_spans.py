"""Traces, by OpenTelemetry's own SDK: which spans there are, from publish to reply, and with which attributes."""

import asyncio
import contextlib
import re

import pytest
from opentelemetry import trace as otel
from opentelemetry.trace import SpanKind, StatusCode
from processes import ROOT
from spans import Recorder, id_of, links_of, parent_of, seen, three, trace_of

import mycelium
from mycelium.bus.observe import names
from mycelium.testing import BridgeThread
from mycelium.tracing import Tracing
from peers import SECONDS, until

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def recorder():
    return Recorder()


async def test_publish_route_and_process_are_one_trace(contracts, recorder):
    async with three(contracts, recorder.tracing(), stamp=True) as (_, publisher, subscriber):
        await subscriber.subscribe(lambda _: None, contracts.Ping, group="workers")
        await publisher.publish(contracts.Ping("x"))
        (process,) = await seen(recorder, "process Ping")
    publish, route = recorder.one("publish Ping"), recorder.one("route Ping")
    assert {trace_of(one) for one in (publish, route, process)} == {trace_of(publish)}
    assert [one.kind for one in (publish, route, process)] == [SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.CONSUMER]
    assert [parent_of(one) for one in (publish, route, process)] == [None, id_of(publish), id_of(publish)]
    assert [links_of(one) for one in (publish, route, process)] == [[], [], [id_of(publish)]]
    assert publish.attributes[names.BODY_SIZE] == 7
    assert publish.instrumentation_scope.name == "mycelium"
    assert publish.instrumentation_scope.schema_url == names.SCHEMA_URL
    assert publish.instrumentation_scope.version == mycelium.__version__


async def test_attributes_are_those_of_the_messaging_conventions(contracts, recorder):
    async with three(contracts, recorder.tracing(), stamp=True) as (_, publisher, subscriber):
        await subscriber.subscribe(lambda _: None, contracts.Ping, group="workers")
        await publisher.publish(contracts.Ping("x"))
        await seen(recorder, "process Ping")
        port, schema = publisher._life.address.port, contracts.schema
    of_type = {
        "messaging.system": "mycelium",
        "messaging.destination.name": "Ping",
        "mycelium.message.type": "Ping",
        "mycelium.message.type_id": 1010,
        "mycelium.schema.id": schema.id,
        "mycelium.schema.version": schema.version,
        "mycelium.schema.digest": schema.digest,
    }
    place = {
        "server.address": "127.0.0.1",
        "server.port": port,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": port,
        "network.transport": "tcp",
        "mycelium.transport": "tcp",
    }
    assert dict(recorder.one("publish Ping").attributes) == {
        **of_type,
        **place,
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.client.id": "publisher",
        "messaging.message.body.size": 7,
    }
    assert dict(recorder.one("process Ping").attributes) == {
        **of_type,
        **place,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.client.id": "subscriber",
        "messaging.consumer.group.name": "workers",
        "messaging.message.id": "1-1",
    }
    route = dict(recorder.one("route Ping").attributes)
    assert route.pop("network.peer.port") > 0
    assert route == {
        **of_type,
        "messaging.operation.name": "route",
        "messaging.operation.type": "process",
        "messaging.client.id": "publisher",
        "messaging.message.id": "1-1",
        "network.peer.address": "127.0.0.1",
        "network.transport": "tcp",
        "mycelium.transport": "tcp",
        "mycelium.delivery.receivers": 1,
        "mycelium.delivery.dropped": 0,
    }


async def test_a_unix_socket_is_a_path(contracts, recorder, tmp_path):
    async with three(contracts, recorder.tracing(), f"unix://{tmp_path}/bus.sock") as (_, publisher, _):
        await publisher.publish(contracts.Ping("x"))
        await publisher.flush()
    publish, route = recorder.one("publish Ping").attributes, recorder.one("route Ping").attributes
    assert (publish["server.address"], publish["network.transport"]) == (f"{tmp_path}/bus.sock", "unix")
    assert "server.port" not in publish
    assert (route["network.transport"], "network.peer.port" in route) == ("unix", False)


async def test_every_attribute_that_is_set_is_in_the_table(contracts, recorder):
    async with three(contracts, recorder.tracing(receive=True), stamp=True) as (_, publisher, subscriber):

        @subscriber.reply(contracts.Ping)
        def answer(_):
            return contracts.Pong("y")

        async with subscriber.messages(contracts.Pong) as pongs:
            taking = asyncio.ensure_future(pongs.next(timeout=SECONDS))
            await publisher.publish(contracts.Pong("x"))
            await taking
        await until(lambda: subscriber.stats().matched)
        with contextlib.suppress(mycelium.NoResponders):
            await publisher.request(contracts.Ping("x"), contracts.Pong)
    found = {name for span in recorder.spans for name in span.attributes}
    assert found <= set(names.ATTRIBUTES)
    assert {"receive", "request"} <= {span.name.split()[0] for span in recorder.spans}


async def test_a_publish_that_fails_says_so(contracts, recorder):
    async with three(contracts, recorder.tracing()) as (_, publisher, _):
        with pytest.raises(mycelium.EncodeError):
            await publisher.publish(contracts.Ping(value=1))
        with pytest.raises(mycelium.NoSubscribers):
            await publisher.publish(contracts.Ping("x"), mandatory=True)
        with pytest.raises(mycelium.NoResponders):
            await publisher.request(contracts.Ping("x"), contracts.Pong)
    failed, mandatory = recorder.named("publish Ping")
    (request,) = recorder.named("request Ping")
    assert [one.attributes["error.type"] for one in (failed, mandatory, request)] == [
        "EncodeError",
        "NoSubscribers",
        "NoResponders",
    ]
    assert {one.status.status_code for one in (failed, mandatory, request)} == {StatusCode.ERROR}


async def test_a_request_is_one_span_whose_reply_links_back(contracts, recorder):
    async with three(contracts, recorder.tracing()) as (_, publisher, subscriber):

        async def answer(_):
            return contracts.Pong("y")

        subscriber.reply(contracts.Ping)(answer)
        await until(lambda: publisher.stats() and subscriber._inbox.dispatcher.subscriptions)
        await subscriber.flush()
        assert await publisher.request(contracts.Ping("x"), contracts.Pong) == contracts.Pong("y")
        (process,) = await seen(recorder, "process Ping")
    request = recorder.one("request Ping")
    assert request.kind is SpanKind.CLIENT
    assert parent_of(process) == id_of(request)
    assert links_of(request) == [id_of(process)]
    conversation = request.attributes["messaging.message.conversation_id"]
    assert re.fullmatch("[0-9a-f]{32}", conversation)
    assert process.attributes["messaging.message.conversation_id"] == conversation
    assert "publish Pong" not in {one.name for one in recorder.spans}


async def test_without_a_trace_nobody_has_a_span(contracts, recorder):
    async with three(contracts, recorder.tracing()) as (bus, _, subscriber):
        async with mycelium.connect(str(subscriber._life.address), contracts) as untraced:
            async with subscriber.messages(contracts.Ping) as pings:
                await subscriber.subscribe(lambda _: None, contracts.Ping)
                await untraced.publish(contracts.Ping("x"))
                _, delivery = await pings.next_delivery(timeout=SECONDS)
                with delivery.process():
                    assert not otel.get_current_span().get_span_context().is_valid
        assert (delivery.trace, delivery.traceparent) == (None, None)
        assert bus.stats().published == 1
    assert recorder.spans == ()


async def test_messages_that_waited_for_a_connection_keep_the_context_of_their_publish(contracts, recorder, tmp_path):
    url = f"unix://{tmp_path}/bus.sock"
    publisher = mycelium.MyceliumClient(contracts, tracing=recorder.tracing())
    bus = mycelium.MessageBus(contracts)
    async with bus.serve(url):
        await publisher.connect(url)
    await until(lambda: publisher.state.value == "reconnecting")
    with recorder.tracer.start_as_current_span("offline") as offline:
        await publisher.publish(contracts.Ping("x"))
    async with bus.messages(contracts.Ping) as pings:
        async with bus.serve(url):
            _, delivery = await pings.next_delivery(timeout=SECONDS)
            await publisher.close()
    await bus.close()
    publish = recorder.one("publish Ping")
    assert parent_of(publish) == offline.get_span_context().span_id
    assert (
        delivery.traceparent
        == f"00-{trace_of(publish):032x}-{id_of(publish):016x}-{int(publish.context.trace_flags):02x}"
    )


async def test_a_bus_alone_has_publish_and_process_spans(contracts, recorder):
    bus = mycelium.MessageBus(contracts, tracing=recorder.tracing())
    values = []

    async def later(message: contracts.Ping):
        values.append(message.value)

    await bus.subscribe(later)
    await bus.subscribe(lambda message: values.append(message.value), contracts.Ping)
    bus.publish_nowait(contracts.Ping("a"))
    await bus.publish(contracts.Ping("b"))
    await bus.close()
    assert sorted(values) == ["a", "a", "b", "b"]
    publishes = recorder.named("publish Ping")
    processes = recorder.named("process Ping")
    assert sorted(map(parent_of, processes)) == sorted([id_of(one) for one in publishes] * 2)
    assert publishes[0].attributes["mycelium.delivery.receivers"] == 2
    assert publishes[0].attributes["mycelium.transport"] == "local"


async def test_a_bus_whose_subscriber_refuses_or_is_too_late_ends_the_span_with_that(contracts, recorder):
    bus = mycelium.MessageBus(contracts, tracing=recorder.tracing(), block_timeout=0.01)
    async with (
        bus.messages(contracts.Ping, on_lag="reject", queue=1),
        bus.messages(contracts.Pong, on_lag="block", queue=1),
    ):
        for cls, error in ((contracts.Ping, mycelium.QueueFull), (contracts.Pong, mycelium.BackpressureTimeout)):
            await bus.publish(cls("x"))
            with pytest.raises(error):
                await bus.publish(cls("x"))
    await bus.close()
    assert [one.attributes.get("error.type") for one in recorder.named("publish Ping")] == [None, "queue_full"]
    assert [one.attributes.get("error.type") for one in recorder.named("publish Pong")] == [
        None,
        "backpressure_timeout",
    ]


async def test_a_bus_asks_its_own_process_in_a_request_span(contracts, recorder):
    bus = mycelium.MessageBus(contracts, tracing=recorder.tracing())

    @bus.reply(contracts.Ping)
    async def answer(_):
        return contracts.Pong("y")

    await bus.request(contracts.Ping("x"), contracts.Pong)
    with pytest.raises(mycelium.NoResponders):
        await bus.request(contracts.Pong("x"), contracts.Pong)
    await bus.close()
    request = recorder.one("request Ping")
    assert parent_of(recorder.one("process Ping")) == id_of(request)
    assert recorder.one("request Pong").attributes["error.type"] == "NoResponders"


async def test_a_reload_is_a_span_of_its_own(tmp_path, recorder):
    file = tmp_path / "contracts.yaml"
    file.write_text((ROOT / "contracts.yaml").read_text())
    contracts = mycelium.load(file)
    bus = mycelium.MessageBus(contracts, tracing=recorder.tracing())
    async with bus.serve("tcp://127.0.0.1:0") as bridge, mycelium.connect(bridge.urls[0], contracts) as client:
        file.write_text("messages: [")
        with recorder.tracer.start_as_current_span("unrelated"):
            await client.query("reload")
    await bus.close()
    span = recorder.one("schema reload")
    assert (parent_of(span), span.kind) == (None, SpanKind.INTERNAL)
    assert (span.status.status_code, span.attributes["error.type"]) == (StatusCode.ERROR, "invalid")


def test_the_synchronous_client_traces_in_the_context_of_its_caller(contracts, recorder):
    tracing = recorder.tracing()
    with BridgeThread(contracts) as bridge, mycelium.sync.connect(bridge.url, contracts, tracing=tracing) as client:
        handled = []
        client.subscribe(lambda _: handled.append(otel.get_current_span().get_span_context().span_id), contracts.Ping)
        with client.messages(contracts.Pong) as pongs, recorder.tracer.start_as_current_span("thread"):
            client.publish(contracts.Ping("x"))
            client.publish_nowait(contracts.Pong("y"))
            _, delivery = next(pongs.deliveries())
            with delivery.process():
                pass
        client.drain()
    thread = id_of(recorder.one("thread"))
    assert [parent_of(recorder.one(name)) for name in ("publish Ping", "publish Pong", "process Pong")] == [thread] * 3
    assert handled == [id_of(recorder.one("process Ping"))]
    assert delivery.traceparent.split("-")[1] == f"{trace_of(recorder.one('thread')):032x}"


@pytest.mark.parametrize("choice", ["yes", 1, object()])
def test_other_choices_are_refused(contracts, choice):
    with pytest.raises(mycelium.UsageError, match="makes no sense; write tracing=True"):
        mycelium.MyceliumClient(contracts, tracing=choice)


def test_a_parent_that_there_is_not_is_refused():
    with pytest.raises(mycelium.UsageError, match="take one of auto, always, never"):
        Tracing(parent="sometimes")


def test_the_page_about_traces_has_every_span_and_attribute():
    page = (ROOT / "docs/tracing.md").read_text()
    spans = re.search(r"<!-- spans -->\n(.*?)<!-- end spans -->", page, re.DOTALL)[1]
    rows = [[cell.strip(" `") for cell in row.split("|")[1:4]] for row in spans.splitlines()[2:]]
    assert rows == [[operation, span.name, span.kind] for operation, span in names.SPANS.items()]
    attributes = re.search(r"<!-- attributes -->\n(.*?)<!-- end attributes -->", page, re.DOTALL)[1]
    assert tuple(row.split("|")[1].strip(" `") for row in attributes.splitlines()[2:]) == names.ATTRIBUTES
