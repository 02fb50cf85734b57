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
