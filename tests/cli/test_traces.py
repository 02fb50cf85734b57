"""Traces through three processes and into a collector, as an operator sets them up; and log lines that name them."""

import json
import sys

import pytest
from collector import collecting
from processes import ROOT, SECONDS, call, line_with, run, started, stop

APPLICATION = """
import asyncio, logging, sys
import mycelium, mycelium.logs
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
mycelium.logs.configure("json")
"""
PUBLISHER = (
    APPLICATION
    + """
async def main():
    async with mycelium.connect(sys.argv[1], "contracts.yaml", name="shop", tracing=True) as client:
        await client.publish(client.types.Ping("x"))

asyncio.run(main())
"""
)
SUBSCRIBER = (
    APPLICATION
    + """
async def main():
    async with mycelium.connect(sys.argv[1], "contracts.yaml", name="stock", tracing=True) as client:
        taken = asyncio.Event()

        async def take(message):
            logging.getLogger("stock").info("taken")
            taken.set()
            raise LookupError

        await client.subscribe(take, client.types.Ping)
        print("ready", flush=True)
        await taken.wait()

asyncio.run(main())
"""
)


@pytest.mark.slow
def test_a_message_through_three_processes_is_one_trace_at_the_collector_and_in_the_log(tmp_path):
    url = f"unix://{tmp_path}/bus.sock"
    with collecting() as (collector, otlp):
        bridge = started("serve", "--listen", url, "--traces", "otlp", "--name", "post", env=otlp)
        with bridge as serving:
            line_with(serving, "listening on")
            subscribing = {**otlp, "OTEL_SERVICE_NAME": "stock"}
            with started(env=subscribing, command=[sys.executable, "-c", SUBSCRIBER, url]) as subscriber:
                assert subscriber.stdout.readline() == "ready\n"
                publishing = {**otlp, "OTEL_SERVICE_NAME": "shop"}
                with started(env=publishing, command=[sys.executable, "-c", PUBLISHER, url]) as publisher:
                    assert publisher.wait(SECONDS) == 0
                said = [json.loads(line) for line in subscriber.communicate(timeout=SECONDS)[1].splitlines()]
            assert stop(serving) == 0  # which sends what the bridge still has
        spans = {one.name: one for one in collector.until(3)}
    publish, route, process = (spans[f"{operation} Ping"] for operation in ("publish", "route", "process"))
    assert [one.service for one in (publish, route, process)] == ["shop", "post", "stock"]
    assert [one.parent for one in (publish, route, process)] == ["", publish.span, publish.span]
    assert {one.trace for one in spans.values()} == {publish.trace}
    assert process.links == (publish.span,)
    assert process.attributes["error.type"] == "LookupError"
    assert {one.scope for one in spans.values()} == {"mycelium"}
    taken, failed = (one for one in said if one["message"].startswith(("taken", "handler")))
    assert (taken["service"], taken["trace_id"], taken["span_id"]) == ("stock", process.trace, process.span)
    assert (failed["event"], failed["trace_id"], failed["error_type"]) == (
        "handler.failed",
        process.trace,
        "LookupError",
    )


def test_a_collector_that_is_not_there_keeps_no_bridge_from_ending(tmp_path):
    nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with started("serve", "--listen", f"unix://{tmp_path}/bus.sock", "--traces", "otlp", env=nowhere) as serving:
        line_with(serving, "listening on")
        assert stop(serving) == 0


@pytest.mark.parametrize(
    ("hidden", "way", "package"),
    [
        ("opentelemetry", "global", "'mycelium-py[otel]'"),
        ("opentelemetry.sdk", "otlp", "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"),
    ],
)
def test_what_is_not_installed_is_said_with_how_to_get_it(tmp_path, hidden, way, package):
    program = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {hidden!r} or name.startswith({hidden + '.'!r}): raise ImportError(name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "from mycelium.cli.main import main\n"
        f"sys.exit(main(['serve', '--listen', 'unix://{tmp_path}/bus.sock', '--traces', {way!r}]))\n"
    )
    with started(command=[sys.executable, "-c", program]) as process:
        _, talk = process.communicate(timeout=SECONDS)
    assert process.returncode == 2, talk
    assert f"try: `pip install {package}`" in talk


def test_other_ways_to_trace_and_to_log_are_refused():
    for option, value, wanted in (
        ("--traces", "jaeger", "'jaeger' is no way to trace; take one of off, otlp, global"),
        ("--log-format", "xml", "'xml' is no log format; take one of console, json"),
        ("--log-level", "loud", "'loud' is no log level; take one of debug, info, warning, error, critical"),
    ):
        refused = call("serve", option, value)
        assert refused.returncode == 2
        assert wanted in refused.stderr


def test_with_json_all_of_standard_error_is_lines_of_json(tmp_path):
    contracts = tmp_path / "contracts.yaml"
    contracts.write_text((ROOT / "contracts.yaml").read_text())
    url = f"unix://{tmp_path}/bus.sock"
    options = ["--log-format", "json", "--log-level", "debug", "--stats-interval", "50ms", "--name", "post"]
    with started("serve", contracts, "--listen", url, *options) as serving:
        line_with(serving, "listening on")
        assert run("pub", "Ping", '{"value": "x"}', "--url", url).returncode == 0
        contracts.write_text(contracts.read_text().replace("value: {type: String", "value: {type: u64"))
        lines = [line_with(serving, '"event": "schema.reload_refused"'), line_with(serving, '"event": "stats"')]
        serving.terminate()
        lines += serving.communicate(timeout=SECONDS)[1].splitlines()
    facts = [json.loads(line) for line in lines]
    assert {one["service"] for one in facts} == {"post"}
    refused, stats = facts[:2]
    assert (refused["reason"], refused["compatibility"]) == ("incompatible", "full")
    assert {"rule": "FIELD_TYPE_CHANGED", "path": "messages.Ping.fields.value", "line": 51, "col": 7} in refused[
        "issues"
    ]
    assert refused["old_digest"] != refused["new_digest"]
    assert {"subscribers", "queue_messages", "dropped", "duration_s"} <= stats.keys()
    assert [one["event"] for one in facts[-2:]] == ["server.draining", "server.stopped"]


def test_settings_of_logs_and_traces_come_from_the_environment_too():
    env = {"MYCELIUM_LOG_FORMAT": "json", "MYCELIUM_LOG_LEVEL": "warning", "MYCELIUM_TRACES": "otlp"}
    shown = call("serve", "--print-config", env=env).stdout
    for name, value in env.items():
        option = name.removeprefix("MYCELIUM_").lower().replace("_", "-")
        assert f"{option} = {value}    # {name}" in shown
