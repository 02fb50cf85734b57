"""Log lines: their fields and order, their words, and that a library leaves logging to the application."""

import collections
import contextlib
import io
import json
import logging
import logging.handlers
import re
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry import trace as otel
from processes import ROOT
from spans import Recorder

from mycelium.logs import FIELDS, ConsoleFormatter, JsonFormatter, Line, configure
from mycelium.logs.lines import EVENTS
from mycelium.logs.log import Log
from mycelium.wire.tracecontext import TraceContext

TRACE = TraceContext(bytes(15) + b"\x0a", bytes(7) + b"\x0b", 1).to_bytes()
LOGGER = "mycelium.test"


@pytest.fixture
def said(caplog):
    """Says a line of the table; its record as an object of JSON."""
    caplog.set_level(logging.DEBUG, LOGGER)
    formatter = JsonFormatter(service="shop", node="here")

    def say(line, **values):
        Log(LOGGER)(line, **values)
        text = formatter.format(caplog.records[-1])
        assert "\n" not in text
        return json.loads(text)

    return say


def test_a_line_has_the_fields_of_the_table_in_their_order_and_none_that_is_empty(said):
    whose = {"conn_id": 7, "client_name": "c", "client": "c"}
    facts = said(Line.CONN_CLOSED, reason="eof", topic="", peer="127.0.0.1:1", transport="tcp", **whose)
    assert list(facts) == [name for name in FIELDS if name in facts]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", facts.pop("timestamp"))
    assert facts.pop("pid") > 0
    assert facts.pop("version")
    assert facts == {
        "level": "info",
        "event": "conn.closed",
        "message": "client c, session 7: closed: eof",
        "logger": LOGGER,
        "service": "shop",
        "node": "here",
        "conn_id": 7,
        "client_name": "c",
        "transport": "tcp",
        "peer": "127.0.0.1:1",
        "reason": "eof",
    }


def test_a_number_of_zero_is_no_empty_field(said):
    assert said(Line.SCHEMA_APPLIED, source="x", schema_version=0)["schema_version"] == 0


def test_an_exception_is_fields_and_its_stack_one_string(said):
    error = ValueError("two\nlines \x1b[31m")
    with contextlib.suppress(ValueError):
        raise error
    facts = said(Line.HANDLER_FAILED, caused_by=error, handler="on_ping", message_type="Ping", where="", suppressed=3)
    assert facts["message"] == "handler on_ping failed on Ping (and 3 more before)"
    assert (facts["error_type"], facts["error"]) == ("ValueError", "two\nlines \\x1b[31m")
    assert facts["stacktrace"].startswith("Traceback (most recent call last):\n  File ")
    assert facts["suppressed"] == 3
    assert "handler" not in facts  # only people are told it


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\nb", "a\x9bb", "a\u202eb", "a\u2028b", "a\ud800b"], ids=ascii)
def test_what_peers_say_moves_no_cursor_and_ends_no_line(text):
    values = {"client": text, "client_name": text, "conn_id": 1, "reason": text}
    facts = {"msg": Line.CONN_CLOSED.text, "args": values, "event": "conn.closed", "levelno": logging.INFO}
    record = logging.makeLogRecord({**values, **facts})
    for formatter in (JsonFormatter(), ConsoleFormatter(io.StringIO())):
        shown = formatter.format(record)
        assert shown.isprintable()
        shown.encode()


def test_a_message_with_a_trace_context_gives_its_line_the_ids(said):
    facts = said(Line.CONN_CLOSED, client="c", conn_id=1, reason="eof", trace=TRACE)
    assert (facts["trace_id"], facts["span_id"], facts["trace_flags"]) == ("0" * 31 + "a", "0" * 15 + "b", "01")


def test_so_does_the_span_that_is_current(said):
    with Recorder().tracer.start_as_current_span("work") as span:
        facts = said(Line.SERVER_STOPPED)
    assert facts["trace_id"] == otel.format_trace_id(span.get_span_context().trace_id)
    assert facts["span_id"] == otel.format_span_id(span.get_span_context().span_id)
    assert "trace_id" not in said(Line.SERVER_STOPPED)


def test_the_service_is_what_opentelemetry_calls_it(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "prices")
    record = logging.makeLogRecord({"msg": "x", "levelno": logging.INFO})
    assert json.loads(JsonFormatter(service="shop").format(record))["service"] == "prices"


def test_records_of_an_application_keep_what_it_has_given_them(caplog):
    caplog.set_level("INFO")
    logging.getLogger("app").info("hello %s", "you", extra={"order": 3, "reason": "new"})
    facts = json.loads(JsonFormatter().format(caplog.records[-1]))
    assert list(facts)[-2:] == ["reason", "order"]
    assert (facts["message"], facts["order"]) == ("hello you", 3)
    assert "event" not in facts


def test_the_fields_are_attributes_of_the_record_for_handlers_of_the_applications_own(caplog):
    caplog.set_level("INFO", LOGGER)
    Log(LOGGER)(Line.CONN_CLOSED, client="c", conn_id=1, reason="eof")
    (record,) = caplog.records
    assert (record.event, record.conn_id, record.reason) == ("conn.closed", 1, "eof")
    assert record.msg == Line.CONN_CLOSED.text  # what tools that group lines go by
    assert not hasattr(record, "client")


def test_the_console_form_says_each_thing_once(caplog):
    caplog.set_level("INFO", LOGGER)
    Log(LOGGER)(Line.CONN_CLOSED, client="c", client_name="c", conn_id=1, reason="eof", peer="127.0.0.1:1")
    shown = ConsoleFormatter(io.StringIO()).format(caplog.records[-1])
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3}  info     conn\.closed  client c, session 1: closed: eof  peer=127\.0\.0\.1:1", shown
    )


@pytest.mark.parametrize("line", Line, ids=lambda line: line.name)
def test_every_line_has_words_that_can_be_filled_in_and_is_said_somewhere(line):
    values = collections.defaultdict(lambda: 1)
    assert line.text % values
    assert re.fullmatch(r"stats|[a-z]+\.[a-z_]+", line.event)
    assert f"Line.{line.name}" in SOURCES, "nobody says it"


SOURCES = "\n".join(path.read_text() for path in (ROOT / "mycelium").rglob("*.py"))


def test_the_page_about_logs_has_every_field_and_every_event_with_its_levels():
    page = (ROOT / "docs/logging.md").read_text()
    fields = re.search(r"<!-- fields -->\n(.*?)<!-- end fields -->", page, re.DOTALL)[1]
    assert tuple(re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in fields.splitlines()[2:]))) == FIELDS
    events = re.search(r"<!-- events -->\n(.*?)<!-- end events -->", page, re.DOTALL)[1]
    told = {}
    for row in events.splitlines()[2:]:
        _, event, levels, *_ = row.split("|")
        told[event.strip().strip("`")] = levels.strip()
    levels_of = {
        event: ", ".join(dict.fromkeys(logging.getLevelName(one.level).lower() for one in Line if one.event == event))
        for event in EVENTS
    }
    assert told == levels_of


def test_configure_refuses_what_there_is_not():
    with pytest.raises(ValueError, match="no log format 'xml'; there are console, json"):
        configure("xml")
    with pytest.raises(ValueError, match="no log level 'loud'"):
        configure("json", "loud")


def test_a_library_that_is_used_configures_nothing_and_imports_no_tracing():
    program = (
        "import asyncio, logging, sys, mycelium\n"
        "async def main():\n"
        "    bus = mycelium.MessageBus('contracts.yaml')\n"
        "    async with bus.serve('tcp://127.0.0.1:0') as bridge:\n"
        "        async with mycelium.connect(bridge.urls[0], 'contracts.yaml') as client:\n"
        "            await client.publish(client.types.Ping('x'))\n"
        "    await bus.close()\n"
        "asyncio.run(main())\n"
        "loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]\n"
        "print([one for one in loggers if one.name.startswith('mycelium') or one is logging.root if one.handlers])\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'rich'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")


def test_the_table_is_read_only_from_here():
    assert Path(sys.modules[Line.__module__].__file__).name == "lines.py"
