"""`mycelium serve`: a bridge."""

import argparse
import gc
import os
from pathlib import Path
from typing import Any, Final

from mycelium.bus.urls import redacted
from mycelium.cli.eventloop import run_on
from mycelium.cli.http_settings import SETTINGS as HTTP_SETTINGS
from mycelium.cli.options import Commands, new_command
from mycelium.cli.serve_settings import SETTINGS, TOKENS_VARIABLE, limits_of, security_of
from mycelium.cli.serverlog import ServerLog
from mycelium.cli.settings import Resolved, add_settings, resolve
from mycelium.cli.traces import tracing
from mycelium.schema.errors import REDACTED

__all__ = ["add_parser"]

_SETTINGS: Final = (*SETTINGS, *HTTP_SETTINGS)


def add_parser(commands: Commands) -> None:
    """`serve [CONTRACTS]`."""
    parser = new_command(
        commands,
        "serve",
        "Run a bridge: clients connect to it, publish, and get what they subscribed to. SIGTERM stops it "
        "properly, SIGHUP reads contracts, tokens, certificates and access rules again. Each option can be given by "
        "the environment too: --listen as MYCELIUM_LISTEN. Where other machines reach it, everybody has to say who he "
        "is, over TLS.",
        "mycelium serve",
        "mycelium serve contracts.yaml --listen tcp://127.0.0.1:7777 --listen unix:///run/mycelium.sock",
        "mycelium serve --listen tls://0.0.0.0:7777 --tls-cert cert.pem --tls-key key.pem --token-file tokens",
        "mycelium serve --join rust+unix:///tmp/mycelium/bus.sock",
    )
    parser.add_argument(
        "contracts",
        metavar="CONTRACTS",
        nargs="?",
        help="the contracts file ($MYCELIUM_CONTRACTS, else the nearest contracts.yaml from here upward)",
    )
    add_settings(parser, _SETTINGS)
    parser.add_argument(
        "--insecure",
        action="store_true",
        help="listen where other machines reach it, although nobody is asked who they are, or it can be overheard",
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
    settings = resolve(args, _SETTINGS)
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
        print(f"{name} = {_shown(name, each.value)}    # {each.origin}")
    if os.environ.get(TOKENS_VARIABLE):
        print(f"tokens = {REDACTED}    # {TOKENS_VARIABLE}")
    return 0


def _shown(name: str, value: Any) -> str:
    if value is None or value == []:
        return next(one.shown for one in _SETTINGS if one.name == name)
    if isinstance(value, list):
        return " ".join(redacted(str(each)) for each in value)
    return f"{value:04o}" if name == "socket-mode" else str(value)


async def _serve(args: argparse.Namespace, given: dict[str, Resolved], log: ServerLog, wanted: Any) -> int:
    from mycelium.bus.bus import MessageBus
    from mycelium.cli.httpside import HttpSide
    from mycelium.cli.serving import Serving

    settings = {name: each.value for name, each in given.items()}
    gc.freeze()  # what is imported stays: a full collection that looks at it stops the bridge for 10 ms
    source = None if args.contracts is None else Path(args.contracts)
    bus = MessageBus(source, block_timeout=settings["block-timeout"], max_memory=settings["max-memory"], tracing=wanted)
    bridge = bus.serve(
        *settings["listen"],
        name=settings["name"],
        limits=limits_of(settings),
        join=settings["join"],
        security=security_of(settings, insecure=args.insecure),
    )
    http = HttpSide.open(
        given["http"], settings["http-names"], say=log.note, insecure=args.insecure or args.http_insecure
    )
    serving = Serving(bus, bridge, log, policy=settings["reload-policy"] if settings["reload"] else None, http=http)
    serving.stats_interval = settings["stats-interval"]
    serving.patience = settings["grace"], settings["flush-timeout"]
    await serving.run()
    return 0
