"""`mycelium serve`: a bridge."""

import argparse
import gc
import os
from pathlib import Path
from typing import Any, Final

from mycelium.cli.eventloop import event_loop, run_on
from mycelium.cli.http_settings import SETTINGS as HTTP_SETTINGS
from mycelium.cli.options import (
    Commands,
    duration,
    log_format,
    log_level,
    new_command,
    on_or_off,
    positive,
    reload_policy,
    size,
)
from mycelium.cli.serverlog import ServerLog
from mycelium.cli.settings import Resolved, Setting, add_settings, resolve
from mycelium.cli.traces import traces, tracing

__all__ = ["add_parser"]

_SETTINGS: Final = (
    Setting(
        "listen",
        str,
        ["tcp://127.0.0.1:7777"],
        "where to listen, tcp://host:port or unix:///path, with rust+ before it for peers that speak Mycelium's own "
        "dialect; repeatable",
        "URL",
        many=True,
    ),
    Setting(
        "join",
        str,
        [],
        "become a member of a bus in Mycelium's own dialect, rust+unix:///path or rust+tcp://host:port; ?digest=send "
        "tells it the digest of the contracts file; repeatable",
        "URL",
        shown="none",
        many=True,
    ),
    Setting("reload", on_or_off, default=True, help="apply edits of the contracts file while clients are connected"),
    Setting(
        "reload-policy", reload_policy, "full", "what an edit must keep: full, backward, forward, …, none", "LEVEL"
    ),
    Setting("name", str, "mycelium", "what clients are told", "NAME"),
    Setting("max-payload", positive, 4_194_304, "bytes of the largest payload", "BYTES"),
    Setting("max-connections", positive, 10_000, "connections at the same time", "N"),
    Setting("max-queue", positive, 8192, "messages that may wait for a subscription", "N"),
    Setting("handshake-timeout", duration, 5.0, "time for a whole handshake", "S"),
    Setting(
        "max-memory",
        size,
        None,
        "bytes that queues, unsent bytes and last values may hold",
        "SIZE",
        shown="half of what there is",
    ),
    Setting("block-timeout", duration, 5.0, "how long a message waits for room under the lag policy block", "S"),
    Setting("grace", duration, 10.0, "time for clients to finish publishing when the bridge stops", "S"),
    Setting("flush-timeout", duration, 30.0, "time to send what is queued after that", "S"),
    Setting("log-format", log_format, "console", "console for people, json: one object a line", "FORMAT"),
    Setting("log-level", log_level, "info", "the least that is logged: debug, info, warning, error, critical", "LEVEL"),
    Setting("stats-interval", duration, 0.0, "how often the counters are logged", "S", shown="never"),
    Setting(
        "traces",
        traces,
        "off",
        "OpenTelemetry spans: off, otlp (to OTEL_EXPORTER_OTLP_ENDPOINT), global (what the process has configured)",
        "WAY",
    ),
    Setting(
        "loop",
        event_loop,
        "auto",
        "event loop: asyncio, uvloop, or auto: uvloop where it is installed",
        "LOOP",
    ),
)


def add_parser(commands: Commands) -> None:
    """`serve [CONTRACTS]`."""
    parser = new_command(
        commands,
        "serve",
        "Run a bridge: clients connect to it, publish, and get what they subscribed to. SIGTERM stops it "
        "properly, SIGHUP reads the contracts file again. Each option can be given by the environment too: "
        "--listen as MYCELIUM_LISTEN.",
        "mycelium serve",
        "mycelium serve contracts.yaml --listen tcp://127.0.0.1:7777 --listen unix:///run/mycelium.sock",
        "mycelium serve --join rust+unix:///tmp/mycelium/bus.sock",
    )
    parser.add_argument(
        "contracts",
        metavar="CONTRACTS",
        nargs="?",
        help="the contracts file ($MYCELIUM_CONTRACTS, else the nearest contracts.yaml from here upward)",
    )
    add_settings(parser, (*_SETTINGS, *HTTP_SETTINGS))
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="listen where other machines reach it, although nobody is asked who they are",
    )
    parser.add_argument(
        "--http-insecure",
        action="store_true",
        help="serve HTTP where other machines reach it, although nobody is asked who they are",
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print every setting and where it came from, and stop"
    )
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    settings = resolve(args, (*_SETTINGS, *HTTP_SETTINGS))
    if args.print_config:
        return _print_config(args, settings)
    values = {name: each.value for name, each in settings.items()}
    log = ServerLog(values["log-format"], values["log-level"], values["name"])
    with log.telling_failures() as ended, tracing(values["traces"], values["name"]) as wanted:
        ended.code = run_on(values["loop"], lambda: _serve(args, settings, log, wanted))
    return ended.code


def _print_config(args: argparse.Namespace, settings: dict[str, Resolved]) -> int:
    from mycelium.contractfile import PATH_VARIABLE, find

    origin = "command line" if args.contracts else PATH_VARIABLE if os.environ.get(PATH_VARIABLE) else "nearest file"
    print(f"contracts = {args.contracts or find()}    # {origin}")
    for name, each in settings.items():
        value = (
            " ".join(each.value) or "none"
            if isinstance(each.value, list)
            else "auto"
            if each.value is None
            else each.value
        )
        print(f"{name} = {value}    # {each.origin}")
    return 0


async def _serve(args: argparse.Namespace, given: dict[str, Resolved], log: ServerLog, wanted: Any) -> int:
    from mycelium.bus.bus import MessageBus
    from mycelium.bus.limits import Limits
    from mycelium.cli.httpside import HttpSide
    from mycelium.cli.serving import Serving, refuse_exposed

    settings = {name: each.value for name, each in given.items()}
    gc.freeze()  # what is imported stays: a full collection that looks at it stops the bridge for 10 ms
    if not args.insecure:
        for url in settings["listen"]:
            refuse_exposed(url)
    source = None if args.contracts is None else Path(args.contracts)
    bus = MessageBus(source, block_timeout=settings["block-timeout"], max_memory=settings["max-memory"], tracing=wanted)
    limits = Limits(
        max_payload=settings["max-payload"],
        handshake_seconds=settings["handshake-timeout"],
        queue=settings["max-queue"],
        connections=settings["max-connections"],
        block_seconds=settings["block-timeout"],
    )
    bridge = bus.serve(*settings["listen"], name=settings["name"], limits=limits, join=settings["join"])
    http = HttpSide.open(
        given["http"], settings["http-names"], say=log.note, insecure=args.insecure or args.http_insecure
    )
    serving = Serving(bus, bridge, log, policy=settings["reload-policy"] if settings["reload"] else None, http=http)
    serving.stats_interval = settings["stats-interval"]
    serving.patience = settings["grace"], settings["flush-timeout"]
    await serving.run()
    return 0
