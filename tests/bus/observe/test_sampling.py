"""Which messages are traced: what OpenTelemetry's sampler says, without asking it of each one where that is known."""

import asyncio

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from spans import Recorder, parent_of, trace_of

import mycelium
from mycelium.bus.observe.sampling import Pace, share_of
from peers import SECONDS


class RecordOnly(Sampler):
    def should_sample(self, *_, **__):
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self):
        return "RecordOnly"


async def test_a_trace_that_is_not_sampled_costs_no_byte(contracts):
    recorder = Recorder(ParentBased(ALWAYS_OFF))
    bus = mycelium.MessageBus(contracts)
    async with bus.messages(contracts.Ping) as pings, bus.serve("tcp://127.0.0.1:0") as bridge:
        async with mycelium.connect(bridge.urls[0], contracts, tracing=recorder.tracing()) as publisher:
            await publisher.publish(contracts.Ping("x"))
            _, delivery = await pings.next_delivery(timeout=SECONDS)
    await bus.close()
    assert delivery.trace is None
    assert recorder.spans == ()


async def test_what_is_recorded_and_not_sampled_stays_here(contracts):
    recorder = Recorder(RecordOnly())
    tracing = recorder.tracing()
    publications = mycelium.MessageBus(contracts, tracing=tracing)
    seen_by = []

    async def on_ping(_: contracts.Ping, delivery: mycelium.Delivery):
        seen_by.append(delivery.trace)

    await publications.subscribe(on_ping)
    await publications.publish(contracts.Ping("x"))
    await publications.close()
    assert seen_by == [None]


@pytest.mark.parametrize("sampler", [ParentBased(TraceIdRatioBased(0.2)), TraceIdRatioBased(0.2)])
async def test_a_share_is_sampled_by_its_trace_ids_without_asking_for_each(contracts, sampler):
    asked = []
    ask = sampler.should_sample

    def counting(*args, **kwargs):
        asked.append(args)
        return ask(*args, **kwargs)

    sampler.should_sample = counting
    recorder = Recorder(sampler)
    bus = mycelium.MessageBus(contracts, tracing=recorder.tracing(most_per_second=None))
    await bus.subscribe(lambda _: None, contracts.Ping)
    message = contracts.Ping("x")
    for _ in range(2000):
        bus.publish_nowait(message)
    await bus.close()
    spans = recorder.named("publish Ping")
    assert 300 < len(spans) < 500
    assert all(trace_of(one) % 2**64 < TraceIdRatioBased.get_bound_for_rate(0.2) for one in spans)
    assert len(asked) < 3 * len(spans)


async def test_inside_a_span_its_decision_holds(contracts):
    recorder = Recorder(ParentBased(TraceIdRatioBased(0.0)))
    sampled = otel.NonRecordingSpan(otel.SpanContext(1, 1, is_remote=True, trace_flags=otel.TraceFlags(1)))
    bus = mycelium.MessageBus(contracts, tracing=recorder.tracing())
    await bus.publish(contracts.Ping("dropped"))
    with otel.use_span(sampled):
        await bus.publish(contracts.Ping("kept"))
    await bus.close()
    assert [parent_of(one) for one in recorder.spans] == [1]


def test_samplers_that_are_not_known_are_asked_each_time():
    class Fickle(TraceIdRatioBased):
        def should_sample(self, *_, **__):
            return SamplingResult(Decision.DROP)

    rates = {
        Recorder(sampler): rate
        for sampler, rate in (
            (None, 1),
            (RecordOnly(), 1),
            (Fickle(0.5), 1),
            (ParentBased(TraceIdRatioBased(0.5), local_parent_sampled=ALWAYS_OFF), 1),
            (TraceIdRatioBased(0.5), 0.5),
            (ParentBased(TraceIdRatioBased(1e-05)), 1e-05),
            (ParentBased(ALWAYS_OFF), 0),
        )
    }
    assert [share_of(one.tracer).rate for one in rates] == list(rates.values())
    assert share_of(object()).draw() == 1


async def test_of_a_stream_in_which_few_are_sampled_everybody_gets_all_in_order(contracts):
    recorder = Recorder(TraceIdRatioBased(0.1))
    tracing = recorder.tracing(most_per_second=None)
    bus = mycelium.MessageBus(contracts)
    values = []
    async with bus.serve("tcp://127.0.0.1:0") as bridge:
        async with (
            mycelium.connect(bridge.urls[0], contracts, tracing=tracing) as publisher,
            mycelium.connect(bridge.urls[0], contracts, tracing=tracing) as subscriber,
        ):
            done = asyncio.Event()

            def take(message):
                values.append(message.value)
                if message.value == 2999:
                    done.set()

            await subscriber.subscribe(take, contracts.CounterUpdate, on_lag="block")
            for number in range(3000):
                await publisher.publish(contracts.CounterUpdate(counter_id=1, value=number, delta=1))
            async with asyncio.timeout(SECONDS):
                await done.wait()
    await bus.close()
    assert values == [*range(3000)]
    publishes = {span.context.span_id for span in recorder.named("publish CounterUpdate")}
    assert {parent_of(one) for one in recorder.named("process CounterUpdate")} == publishes
    assert 200 < len(publishes) < 400


def test_a_pace_lets_through_what_it_says_and_a_tenth_of_it_at_once():
    pace = Pace(100)
    assert sum(pace.admit(5.0) for _ in range(50)) == 10
    assert 98 <= sum(pace.admit(5.0 + step / 1000) for step in range(1001)) <= 101
    slow = Pace(0.5)
    assert [slow.admit(now) for now in (0.0, 0.1, 1.9, 2.1, 2.2)] == [True, False, False, True, False]


def test_who_is_refused_asks_less_often_and_more_often_again_when_there_is_room():
    pace = Pace(100)
    strides = []
    for _ in range(20):
        pace.admit(5.0)
        strides.append(pace.stride)
    assert strides == [1] * 10 + [2, 4, 8, 16] + [32] * 6
    for second in range(6, 12):
        assert pace.admit(second)
        strides.append(pace.stride)
    assert strides[20:] == [16, 8, 4, 2, 1, 1]


@pytest.mark.parametrize(("sampler", "most"), [(TraceIdRatioBased(0.5), 500), (None, 2000)])
async def test_of_a_share_no_more_traces_begin_than_may_but_of_all_every_one(contracts, sampler, most):
    recorder = Recorder(sampler)
    bus = mycelium.MessageBus(contracts, tracing=recorder.tracing(most_per_second=10))
    for _ in range(2000):
        await bus.publish(contracts.Ping("x"))
    await bus.close()
    assert len(recorder.spans) <= most
    assert sampler is not None or len(recorder.spans) == most


@pytest.mark.parametrize("most", [0, -1])
def test_a_pace_of_nothing_is_refused(most):
    with pytest.raises(mycelium.UsageError, match="traces a second make no sense"):
        Recorder().tracing(most_per_second=most)
