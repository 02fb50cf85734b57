"""Trace contexts: as bytes, as text, and on their way into other systems and out of them."""

import pytest
from opentelemetry import trace as otel
from spans import Recorder, id_of, parent_of, trace_of

import mycelium
from mycelium.tracing import continued, traceparent
from mycelium.wire.tracecontext import TraceContext
from peers import SECONDS

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_traceparent_goes_out_and_comes_in(contracts):
    recorder = Recorder()
    bus = mycelium.MessageBus(contracts, tracing=recorder.tracing())
    async with bus.messages(contracts.Ping) as pings:
        with continued(HEADER) as known:
            assert known
            await bus.publish(contracts.Ping("x"))
        _, delivery = await pings.next_delivery(timeout=SECONDS)
    await bus.close()
    publish = recorder.one("publish Ping")
    assert f"{trace_of(publish):032x}" == HEADER.split("-")[1]
    assert f"{parent_of(publish):016x}" == HEADER.split("-")[2]
    assert traceparent(delivery) == delivery.traceparent == f"00-{trace_of(publish):032x}-{id_of(publish):016x}-01"
    assert not otel.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(
    "header", [None, "", "nonsense", HEADER.replace("00-", "ff-"), HEADER + "-more", HEADER.upper()]
)
def test_a_header_that_is_none_changes_nothing(header):
    with continued(header) as known:
        assert not known
        assert not otel.get_current_span().get_span_context().is_valid


def test_a_context_is_bytes_and_text():
    context = TraceContext.from_text(HEADER)
    assert context.is_sampled
    assert context.to_bytes().hex() == HEADER.replace("-", "")
    assert TraceContext.from_bytes(context.to_bytes()) == context
    assert context.to_text() == HEADER
    assert TraceContext.from_bytes(bytes(26)) is None
    assert TraceContext.from_bytes(b"") is None
    assert TraceContext.from_bytes(b"\xff" + context.to_bytes()[1:]) is None
    assert TraceContext.from_text(HEADER.replace("00-", "01-") + "-more").version == 0


async def test_where_the_dialect_has_no_metadata_a_trace_ends_and_messages_go_on(contracts, tmp_path):
    recorder = Recorder()
    bus = mycelium.MessageBus(contracts, tracing=recorder.tracing())
    async with bus.serve("tcp://127.0.0.1:0", f"rust+unix://{tmp_path}/rust.sock") as bridge:
        native, rust = bridge.urls
        async with (
            mycelium.connect(native, contracts, tracing=recorder.tracing()) as publisher,
            mycelium.connect(rust, contracts, tracing=recorder.tracing()) as member,
            member.messages(contracts.CounterUpdate) as counts,
            publisher.messages(contracts.CounterUpdate, no_echo=True) as theirs,
        ):
            await publisher.publish(contracts.CounterUpdate(counter_id=1, value=2, delta=3))
            _, delivery = await counts.next_delivery(timeout=SECONDS)
            assert delivery.trace is None
            await member.publish(contracts.CounterUpdate(counter_id=4, value=5, delta=6))
            message, delivery = await theirs.next_delivery(timeout=SECONDS)
    await bus.close()
    assert (message.counter_id, delivery.trace) == (4, None)
    ours, members = recorder.named("publish CounterUpdate")
    assert recorder.one("route CounterUpdate").parent.span_id == id_of(ours)
    assert members.attributes["mycelium.transport"] == "rust"
