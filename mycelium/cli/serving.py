"""A bridge process from its start to its end: signals, reloads, and what is said of them."""

import asyncio
import ipaddress
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Final, final

from mycelium.bus.aside import aside
from mycelium.bus.bridge import Bridge
from mycelium.bus.bus import MessageBus
from mycelium.bus.errors import BindError
from mycelium.bus.reload import Change, Reloader
from mycelium.bus.tasks import Tasks
from mycelium.bus.urls import parse_url
from mycelium.cli.baseline import LOCKFILE, BaselineError, load_lock
from mycelium.cli.bridge import ASKER
from mycelium.cli.httpside import HttpSide
from mycelium.cli.output import say
from mycelium.schema.compat.reloading import ReloadPolicy
from mycelium.schema.compat.text_report import render_text
from mycelium.schema.compat.view import View
from mycelium.schema.printable import printable

__all__ = ["Serving", "refuse_exposed"]

_MIB: Final = 1024 * 1024
_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


def refuse_exposed(url: str) -> None:
    """A bridge without authentication is for its own machine.

    Raises:
        BindError: The URL is for others, too.
    """
    address = parse_url(url)
    if address.scheme == "tcp" and not _is_loopback(address.host):
        reason = "other machines reach it, and there is no authentication yet"
        raise BindError(url, reason, "listen on 127.0.0.1 or a Unix socket; --insecure does it all the same")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


@final
class Serving:
    """Runs a bridge until a signal stops it.

    Args:
        bus: What is served.
        bridge: How.
        policy: What an edit of the contracts must keep; None to leave edits alone.
        grace: Seconds that clients have to finish publishing.
        flush: Seconds to send what is queued after that.
        http: Its HTTP side; None for none.
    """

    def __init__(
        self,
        bus: MessageBus,
        bridge: Bridge,
        policy: ReloadPolicy | None,
        grace: float,
        flush: float,
        *,
        http: HttpSide | None = None,
    ) -> None:
        self._bus = bus
        self._bridge = bridge
        self._grace = grace
        self._flush = flush
        self._http = http
        self._follow = policy is not None
        self._reloader = Reloader(bus.contracts, policy or "full")
        self._stop = asyncio.Event()
        self._at_terminal = sys.stdin.isatty()
        self._tasks = Tasks()
        bridge.reloader = self._reloader

    async def run(self) -> None:
        """Serve.

        Raises:
            BindError: A listener cannot be opened.
        """
        try:
            await self._run()
        finally:
            if self._http is not None:  # the last to go: it says that the bridge is not ready any more
                await self._http.close()
        say("stopped")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        logging.getLogger("mycelium.reload").setLevel(logging.CRITICAL)  # `_tell` says more, and says it once
        self._on_signals(self._stop.set)
        if self._http is not None:
            self._http.observe(self._bridge)
        await self._bridge.start()
        self._remember_released()
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        forget = self._bus.contracts.on_change(lambda change: self._tasks.start(self._tell(change)))
        if self._follow:
            self._tasks.start(self._reloader.run())
        self._welcome()
        if self._http is not None:
            self._tasks.start(self._http.start())
        await self._stop.wait()
        if self._http is not None:
            self._http.leave()
        count = len(self._bridge.sessions)
        say(f"stopping: {count} connections have up to {self._grace + self._flush:g} s; again to stop at once")
        self._on_signals(self._bridge.abort)
        forget()
        await self._tasks.end()
        await self._bridge.close(self._grace, self._flush)
        await self._bus.close()

    def _remember_released(self) -> None:
        """Clients with contracts of a version in the lockfile need not send them, nor have this very text."""
        origin = self._bus.contracts.origin
        if origin is None:
            return
        try:
            entries = load_lock(origin.given.parent / LOCKFILE).entries
        except BaselineError as error:
            say(f"the lockfile is left aside: {error}")
            return
        for entry in entries:
            self._bridge.remember(entry.schema)
            self._bus.contracts.texts.remember(entry.sha256, entry.schema)

    def _on_signals(self, act: Callable[[], object]) -> None:
        for number in _STOPPING:
            asyncio.get_running_loop().add_signal_handler(number, act)

    def _welcome(self) -> None:
        schema = self._bus.contracts.schema
        facts = f"schema {schema.id:#010x} version {schema.version}, {len(schema.messages)} messages"
        followed = f"; edits are applied if they keep {self._reloader.policy} compatibility" if self._follow else ""
        say(f"{schema.source}: {facts}{followed}")
        say(f"queues may hold up to {self._bus.stats().memory_limit // _MIB} MiB")
        for url in self._bridge.urls:
            say(f"listening on {url}")
        for join in self._bridge.joins:
            say(f"joining {join.address}")

    def _hung_up(self) -> None:
        """SIGHUP: read the contracts again, or stop if it means that the terminal is gone."""
        if self._at_terminal and not os.isatty(sys.stdin.fileno()):
            self._stop.set()
        else:
            self._tasks.start(self._reload())

    async def _reload(self) -> None:
        await self._reloader.reload()

    async def _tell(self, change: Change) -> None:
        """Say what became of an edit, in the checker's or the loader's own words."""
        say(_headline(change))
        if change.outcome == "applied":
            for line in _notes(change):
                say(line)
        elif change.report is not None and change.refused:
            view = View(change.report, change.source, "the schema in force", gate=change.refused, waivable=False)
            # Looking for bytes that prove a break takes longer than a message may wait.
            say((await aside(render_text, view)).rstrip())
        else:
            for reason in change.reasons:
                say(f"  {printable(reason)}")
        for one in change.objections:
            if not one.breaks:  # the report calls it a warning, because no bytes suffer
                say(f"  refused for {one.rule} {printable(one.subject or one.path)}: {printable(one.hint)}")
        if change.outcome == "incompatible" and change.current is not None:
            for client, standing in (await self._bridge.hurt_by(change.current)).items():
                if client == ASKER:
                    continue  # it only asks
                say(f"  would hurt {client}: {printable(', '.join(standing.causes))}")


def _notes(change: Change) -> Iterator[str]:
    """What is worth knowing of an edit that is applied, a line each."""
    issues = () if change.report is None else change.report.issues
    for one in issues:
        if one.severity != "info":
            yield f"  {one.rule} {printable(one.subject or one.path)}: {printable(one.message)}"
    safe = sum(one.severity == "info" for one in issues)
    if safe:
        yield f"  {safe} safe change{'s' if safe > 1 else ''}"


def _headline(change: Change) -> str:
    """One line."""
    bold = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    match change.outcome:
        case "applied" if change.current is not None:
            text = f"{change.source}: version {change.current.version} is in force"
        case "unchanged":
            text = f"{change.source}: read again, says the same"
        case _:
            text = f"{change.source} is not applied ({change.outcome}); version {change.previous.version} goes on"
    return f"\x1b[1m{text}\x1b[0m" if bold else text
