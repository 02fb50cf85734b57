"""A bridge process from its start to its end: signals, reloads, and what is said of them."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Final, final

from mycelium.bus.aside import aside
from mycelium.bus.bridge import Bridge
from mycelium.bus.bus import MessageBus
from mycelium.bus.reload import Change, Reloader
from mycelium.bus.security.guard import Guard
from mycelium.bus.tasks import Tasks
from mycelium.cli.baseline import LOCKFILE, BaselineError, load_lock
from mycelium.cli.bridge import ASKER
from mycelium.cli.httpside import HttpSide
from mycelium.cli.serverlog import ServerLog
from mycelium.cli.servicemanager import ServiceManager
from mycelium.logs.lines import Line
from mycelium.schema.compat.reloading import ReloadPolicy
from mycelium.schema.compat.text_report import render_text
from mycelium.schema.compat.view import View
from mycelium.schema.printable import printable

__all__ = ["Serving"]

_MIB: Final = 1024 * 1024
_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


@final
class Serving:
    """Runs a bridge until a signal stops it.

    Args:
        bus: What is served.
        bridge: How.
        log: What is said.
        policy: What an edit of the contracts must keep; None to leave edits alone.
        http: Its HTTP side; None for none.

    Attributes:
        patience: Seconds that clients have to finish publishing, and seconds to send what is queued after that.
        stats_interval: Seconds between lines with the counters; 0 for none.
    """

    def __init__(
        self,
        bus: MessageBus,
        bridge: Bridge,
        log: ServerLog,
        *,
        policy: ReloadPolicy | None,
        http: HttpSide | None = None,
    ) -> None:
        self.patience = 10.0, 30.0
        self.stats_interval = 0.0
        self._bus = bus
        self._bridge = bridge
        self._log = log
        self._http = http
        self._follow = policy is not None
        self._reloader = Reloader(bus.contracts, policy or "full")
        self._reloader.is_brief = log.has_details  # `_tell` says more, and says it once
        if bus.traces is not None:
            self._reloader.around = bus.traces.reload
        self._stop = asyncio.Event()
        self._at_terminal = sys.stdin.isatty()
        self._tasks = Tasks()
        self._manager = ServiceManager(log.note)
        bridge.reloader = self._reloader

    async def run(self) -> None:
        """Serve.

        Raises:
            BindError: A listener cannot be opened, or must not be.
            SecurityError: A file with tokens, certificates or access rules cannot be used.
        """
        watchdog = asyncio.get_running_loop().create_task(self._manager.keep_alive(), name="mycelium watchdog")
        try:
            await self._run()
        finally:
            watchdog.cancel()
            if self._http is not None:  # the last to go: it says that the bridge is not ready any more
                await self._http.close()
        self._log.say(Line.SERVER_STOPPED)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._on_signals(self._stop.set)
        if self._http is not None:
            self._http.observe(self._bridge)
        await self._bridge.start()
        self._remember_released()
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        forget = self._bus.contracts.on_change(lambda change: self._tasks.start(self._tell(change)))
        if self._follow:
            self._tasks.start(self._reloader.run())
        if self.stats_interval:
            self._tasks.start(self._say_stats())
        self._welcome()
        if self._http is not None:
            self._tasks.start(self._http.start())
        self._manager.ready(f"{' '.join(self._bridge.urls)}, schema version {self._bus.contracts.schema.version}")
        await self._stop.wait()
        if self._http is not None:
            self._http.leave()
        grace, flush = self.patience
        self._log.say(Line.SERVER_DRAINING, count=len(self._bridge.sessions), seconds=grace + flush)
        self._manager.stopping(f"stopping: {len(self._bridge.sessions)} connections have up to {grace + flush:g} s")
        self._on_signals(self._bridge.abort)
        forget()
        await self._tasks.end()
        await self._bridge.close(grace, flush)
        await self._bus.close()

    def _remember_released(self) -> None:
        """Clients with contracts of a version in the lockfile need not send them, nor have this very text."""
        origin = self._bus.contracts.origin
        if origin is None:
            return
        try:
            entries = load_lock(origin.given.parent / LOCKFILE).entries
        except BaselineError as error:
            self._log.note(f"the lockfile is left aside: {error}")
            return
        for entry in entries:
            self._bridge.remember(entry.schema)
            self._bus.contracts.texts.remember(entry.sha256, entry.schema)

    def _on_signals(self, act: Callable[[], object]) -> None:
        for number in _STOPPING:
            asyncio.get_running_loop().add_signal_handler(number, act)

    def _welcome(self) -> None:
        schema = self._bus.contracts.schema
        self._log.say(Line.SERVER_STARTING, mebibytes=self._bus.stats().memory_limit // _MIB)
        followed = f"; edits are applied if they keep {self._reloader.policy} compatibility" if self._follow else ""
        self._log.say(
            Line.SCHEMA_LOADED,
            source=schema.source,
            schema_id=schema.id,
            schema_version=schema.version,
            schema_digest=schema.digest,
            count=len(schema.messages),
            more=followed,
        )
        for note in _rules(self._bridge.admission.guard):
            self._log.note(note)
        for url in self._bridge.urls:
            self._log.say(Line.SERVER_READY, url=url)
        for join in self._bridge.joins:
            self._log.note(f"joining {join.address}")

    async def _say_stats(self) -> None:
        """Log the counters now and then."""
        loop = asyncio.get_running_loop()
        before, last = self._bus.stats(), loop.time()
        while True:
            await asyncio.sleep(self.stats_interval)
            stats, now = self._bus.stats(), loop.time()
            self._log.say(
                Line.STATS,
                connections=stats.sessions,
                subscribers=stats.subscriptions,
                queue_messages=stats.queued,
                published=stats.published - before.published,
                delivered=stats.delivered - before.delivered,
                dropped=sum(stats.dropped.values()) - sum(before.dropped.values()),
                duration_s=round(now - last, 3),
            )
            before, last = stats, now

    def _hung_up(self) -> None:
        """SIGHUP: read contracts and everything about security again, or stop if it means that the terminal is gone."""
        if self._at_terminal and not os.isatty(sys.stdin.fileno()):
            self._stop.set()
        else:
            self._tasks.start(self._reload())

    async def _reload(self) -> None:
        self._manager.reloading()
        await self._bridge.reload_security()
        self._manager.ready(_status(await self._reloader.reload()))

    async def _tell(self, change: Change) -> None:
        """Say more of what became of an edit, in the checker's or the loader's own words."""
        self._manager.status(_status(change))
        if self._log.has_details:
            await self._show(change)
        if change.outcome == "incompatible" and change.current is not None:
            for client, standing in (await self._bridge.hurt_by(change.current)).items():
                if client == ASKER:
                    continue  # it only asks
                self._log.say(Line.SCHEMA_WOULD_HURT, client_name=client, reason=", ".join(standing.causes))

    async def _show(self, change: Change) -> None:
        say = self._log.detail
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


def _rules(guard: Guard) -> Iterator[str]:
    """What holds for those who connect; nothing where nothing was said about it."""
    if guard.asks:
        rules = ", and access rules hold" if guard.has_acl else ""
        yield f"clients show a {' or a '.join(guard.asks)}{rules}"
    elif guard.has_acl:
        yield "access rules hold"
    if guard.security.insecure:
        yield "--insecure: whoever reaches this bridge may be unknown, and be overheard"


def _notes(change: Change) -> Iterator[str]:
    """What is worth knowing of an edit that is applied, a line each."""
    issues = () if change.report is None else change.report.issues
    for one in issues:
        if one.severity != "info":
            yield f"  {one.rule} {printable(one.subject or one.path)}: {printable(one.message)}"
    safe = sum(one.severity == "info" for one in issues)
    if safe:
        yield f"  {safe} safe change{'s' if safe > 1 else ''}"


def _status(change: Change) -> str:
    """What became of an edit, in a line."""
    match change.outcome:
        case "applied" if change.current is not None:
            return f"{change.source}: version {change.current.version} is in force"
        case "unchanged":
            return f"{change.source}: read again, says the same"
        case _:
            return f"{change.source} is not applied ({change.outcome}); version {change.previous.version} goes on"
