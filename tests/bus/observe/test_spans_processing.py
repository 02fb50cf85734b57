"""What a handler or an iterator processes is a span: whose child it is, and what happens inside it."""

import asyncio

import pytest
from opentelemetry import trace as otel
from opentelemetry.trace import SpanKind, StatusCode
from spans import Recorder, id_of, links_of, parent_of, seen, three, trace_of

from peers import SECONDS, until


@pytest.fixture
def recorder():
    return Recorder()


async def test_two_subscribers_of_one_message_are_two_children_of_its_publisher(contracts, recorder):
    async with three(contracts, recorder.tracing()) as (bus, publisher, subscriber):
        await subscriber.subscribe(lambda _: None, contracts.Ping)
        await subscriber.subscribe(lambda _: None, contracts.Ping)
        await bus.subscribe(lambda _: None, contracts.Ping)
        await publisher.publish(contracts.Ping("x"))
        spans = await seen(recorder, "process Ping", 3)
    creation = id_of(recorder.one("publish Ping"))
    assert [parent_of(one) for one in spans] == [creation] * 3
    assert [links_of(one) for one in spans] == [[creation]] * 3
    assert recorder.one("route Ping").attributes["mycelium.delivery.receivers"] == 2  # a client's handlers share one


async def test_of_a_group_one_processes(contracts, recorder):
    async with three(contracts, recorder.tracing()) as (bus, publisher, subscriber):
        await bus.subscribe(lambda _: None, contracts.Ping, group="g")
        await subscriber.subscribe(lambda _: None, contracts.Ping, group="g")
        for _ in range(4):
            await publisher.publish(contracts.Ping("x"))
        spans = await seen(recorder, "process Ping", 4)
    assert len({trace_of(one) for one in spans}) == len(spans) == 4
    assert {one.attributes["messaging.consumer.group.name"] for one in spans} == {"g"}


@pytest.mark.parametrize("is_async", [True, False])
async def test_what_a_handler_raises_is_an_error_without_its_words(contracts, recorder, is_async, caplog):
    def fail(message: contracts.Ping):
        raise KeyError(f"canary {message.value}")

    async def fail_later(message: contracts.Ping):
        fail(message)

    async with three(contracts, recorder.tracing()) as (_, publisher, subscriber):
        await subscriber.subscribe(fail_later if is_async else fail, contracts.Ping)
        await publisher.publish(contracts.Ping("x"))
        (process,) = await seen(recorder, "process Ping")
    assert (process.status.status_code, process.attributes["error.type"]) == (StatusCode.ERROR, "KeyError")
    assert process.status.description is None
    assert process.events == ()
    (record,) = caplog.records
    assert record.event == "handler.failed"
    assert record.trace_id == otel.format_trace_id(trace_of(process))


async def test_what_a_handler_publishes_is_a_child_of_its_processing(contracts, recorder):
    async with three(contracts, recorder.tracing()) as (_, publisher, subscriber):

        async def pass_on(_):
            await subscriber.publish(contracts.Pong("y"))

        await subscriber.subscribe(pass_on, contracts.Ping)
        await publisher.publish(contracts.Ping("x"))
        (process,) = await seen(recorder, "process Ping")
        await until(lambda: recorder.named("publish Pong"))
    assert parent_of(recorder.one("publish Pong")) == id_of(process)
    assert len({trace_of(one) for one in recorder.spans}) == 1


async def test_handlers_side_by_side_each_have_their_own_span(contracts, recorder):
    current = {}
    both = asyncio.Event()

    async with three(contracts, recorder.tracing()) as (_, publisher, subscriber):

        async def work(message: contracts.Ping):
            begun = otel.get_current_span().get_span_context().span_id
            current[message.value] = [begun]
            if len(current) == 2:
                both.set()
            await both.wait()
            await asyncio.sleep(0)
            current[message.value].append(otel.get_current_span().get_span_context().span_id)

        await subscriber.subscribe(work, contracts.Ping, concurrency=2)
        for value in ("a", "b"):
            await publisher.publish(contracts.Ping(value))
        await seen(recorder, "process Ping", 2)
    assert current["a"][0] == current["a"][1] != current["b"][0] == current["b"][1]


async def test_a_span_that_was_current_at_subscribe_is_nobodys_parent(contracts, recorder):
    async with three(contracts, recorder.tracing()) as (bus, publisher, subscriber):
        with recorder.tracer.start_as_current_span("start-up"):
            await subscriber.subscribe(lambda _: None, contracts.Ping)
        with recorder.tracer.start_as_current_span("http"):
            await bus.subscribe(lambda _: None, contracts.Pong)
            bus.publish_nowait(contracts.Pong("x"))
        await publisher.publish(contracts.Ping("x"))
        await seen(recorder, "process Ping")
    assert parent_of(recorder.one("process Ping")) == id_of(recorder.one("publish Ping"))
    assert parent_of(recorder.one("process Pong")) == id_of(recorder.one("publish Pong"))
    assert parent_of(recorder.one("publish Pong")) == id_of(recorder.one("http"))


async def test_an_iterator_says_what_it_processes_and_may_be_left_at_any_point(contracts, recorder, caplog):
    async with three(contracts, recorder.tracing()) as (_, publisher, subscriber):
        async with subscriber.messages(contracts.Ping) as pings:
            for value in ("a", "b", "c"):
                await publisher.publish(contracts.Ping(value))
            with recorder.tracer.start_as_current_span("batch") as batch:
                async for message, delivery in pings.deliveries():
                    with delivery.process():
                        inside = otel.get_current_span().get_span_context().span_id
                        if message.value == "b":
                            break
                assert otel.get_current_span() is batch
            async for _, delivery in pings.deliveries():
                async with delivery.process():
                    break
    first, second, third = recorder.named("process Ping")
    a, b, c = recorder.named("publish Ping")
    batch = id_of(recorder.one("batch"))
    assert [parent_of(one) for one in (first, second, third)] == [batch, batch, id_of(c)]
    assert [links_of(one) for one in (first, second, third)] == [[id_of(a)], [id_of(b)], [id_of(c)]]
    assert inside == id_of(second)
    assert caplog.text == ""  # OpenTelemetry complains where a context is not given back


@pytest.mark.parametrize(
    ("wanted", "alone", "within"),
    [("auto", "publish", "batch"), ("always", "publish", "publish"), ("never", None, "batch")],
)
async def test_whose_child_a_process_span_is_can_be_said(contracts, recorder, wanted, alone, within):
    async with three(contracts, recorder.tracing(parent=wanted)) as (_, publisher, subscriber):
        async with subscriber.messages(contracts.Ping) as pings:
            await publisher.publish(contracts.Ping("a"))
            _, delivery = await pings.next_delivery(timeout=SECONDS)
            with delivery.process():
                pass
            with recorder.tracer.start_as_current_span("batch") as batch, delivery.process():
                pass
    ids = {None: None, "publish": id_of(recorder.one("publish Ping")), "batch": batch.get_span_context().span_id}
    assert [parent_of(one) for one in recorder.named("process Ping")] == [ids[alone], ids[within]]
    assert [links_of(one) for one in recorder.named("process Ping")] == [[ids["publish"]]] * 2


async def test_a_next_that_has_to_wait_is_a_span_where_that_is_wanted(contracts, recorder):
    async with three(contracts, recorder.tracing(receive=True)) as (_, publisher, subscriber):
        async with subscriber.messages(contracts.Ping) as pings:
            taking = asyncio.ensure_future(pings.next(timeout=SECONDS))
            await asyncio.sleep(0)
            await publisher.publish(contracts.Ping("waited for"))
            await taking
            await publisher.publish(contracts.Ping("here already"))
            await until(lambda: pings.stats().queued)
            await pings.next()
            with pytest.raises(TimeoutError):
                await pings.next(timeout=0.01)
    received, timed_out = recorder.named("receive Ping")
    assert received.kind is SpanKind.CLIENT
    assert links_of(received) == [id_of(recorder.named("publish Ping")[0])]
    assert timed_out.attributes["error.type"] == "TimeoutError"
