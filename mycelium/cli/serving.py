"""A bridge process from its start to its end: signals, reloads, and what is said of them."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Final, final

from mycelium.bus.aside import aside
from mycelium.bus.bridge import Bridge
from mycelium.bus.bus import MessageBus
from mycelium.bus.eventstream import EventStream
from mycelium.bus.reload import Change, Reloader
from mycelium.bus.tasks import Tasks
from mycelium.cli.baseline import LOCKFILE, BaselineError, load_lock
from mycelium.cli.bridge import ASKER
from mycelium.cli.output import say
from mycelium.events import SecurityChanged
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
        policy: What an edit of the contracts must keep; None to leave edits alone.
        grace: Seconds that clients have to finish publishing.
        flush: Seconds to send what is queued after that.
    """

    def __init__(
        self, bus: MessageBus, bridge: Bridge, policy: ReloadPolicy | None, grace: float, flush: float
    ) -> None:
        self._bus = bus
        self._bridge = bridge
        self._grace = grace
        self._flush = flush
        self._follow = policy is not None
        self._reloader = Reloader(bus.contracts, policy or "full")
        self._stop = asyncio.Event()
        self._at_terminal = sys.stdin.isatty()
        self._tasks = Tasks()
        bridge.reloader = self._reloader

    async def run(self) -> None:
        """Serve.

        Raises:
            BindError: A listener cannot be opened, or must not be.
            SecurityError: A file with tokens, certificates or access rules cannot be used.
        """
        loop = asyncio.get_running_loop()
        logging.getLogger("mycelium.reload").setLevel(logging.CRITICAL)  # `_tell` says more, and says it once
        self._on_signals(self._stop.set)
        await self._bridge.start()
        self._remember_released()
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        forget = self._bus.contracts.on_change(lambda change: self._tasks.start(self._tell(change)))
        if self._follow:
            self._tasks.start(self._reloader.run())
        self._tasks.start(self._tell_of_security(self._bus.events()))
        self._welcome()
        await self._stop.wait()
        count = len(self._bridge.sessions)
        say(f"stopping: {count} connections have up to {self._grace + self._flush:g} s; again to stop at once")
        self._on_signals(self._bridge.abort)
        forget()
        await self._tasks.end()
        await self._bridge.close(self._grace, self._flush)
        await self._bus.close()
        say("stopped")

    def _remember_released(self) -> None:
        """Clients with contracts of a version in the lockfile need not send them."""
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

    def _on_signals(self, act: Callable[[], object]) -> None:
        for number in _STOPPING:
            asyncio.get_running_loop().add_signal_handler(number, act)

    def _welcome(self) -> None:
        schema = self._bus.contracts.schema
        facts = f"schema {schema.id:#010x} version {schema.version}, {len(schema.messages)} messages"
        followed = f"; edits are applied if they keep {self._reloader.policy} compatibility" if self._follow else ""
        say(f"{schema.source}: {facts}{followed}")
        say(f"queues may hold up to {self._bus.stats().memory_limit // _MIB} MiB")
        guard = self._bridge.admission.guard
        if guard.asks or guard.has_acl:
            rules = ", and access rules hold" if guard.has_acl else ""
            say(f"clients show a {' or a '.join(guard.asks)}{rules}" if guard.asks else "access rules hold")
        if guard.security.insecure:
            say("--insecure: whoever reaches this bridge may be unknown, and be overheard")
        for url in self._bridge.urls:
            say(f"listening on {url}")

    def _hung_up(self) -> None:
        """SIGHUP: read contracts and everything about security again, or stop if it means that the terminal is gone."""
        if self._at_terminal and not os.isatty(sys.stdin.fileno()):
            self._stop.set()
        else:
            self._tasks.start(self._reload())

    async def _reload(self) -> None:
        await self._bridge.reload_security()
        await self._reloader.reload()

    @staticmethod
    async def _tell_of_security(events: EventStream) -> None:
        """Say which edits of tokens, certificates and access rules are in force; those that are not are in the log."""
        async for event in events:
            if isinstance(event, SecurityChanged):
                say(f"{', '.join(event.sources)}: what it says is in force")

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
