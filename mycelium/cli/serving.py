"""A bridge process from its start to its end: signals, reloads, and what is said of them."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Final, final

from mycelium.bus.aside import aside
from mycelium.bus.bridge import Bridge
from mycelium.bus.bus import MessageBus
from mycelium.bus.reload import Change, Reloader
from mycelium.bus.tasks import Tasks
from mycelium.cli.output import escaped, say
from mycelium.schema.compat.reloading import ReloadPolicy
from mycelium.schema.compat.text_report import render_text
from mycelium.schema.compat.view import View

__all__ = ["Serving"]

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


@final
class Serving:
    """Runs a bridge until a signal stops it.

    Args:
        bus: What is served.
        bridge: How.
        policy: What an edit of the contracts must keep; None to leave edits alone.
        grace: Seconds that clients have to finish.
    """

    def __init__(self, bus: MessageBus, bridge: Bridge, policy: ReloadPolicy | None, grace: float) -> None:
        self._bus = bus
        self._bridge = bridge
        self._grace = grace
        self._follow = policy is not None
        self._reloader = Reloader(bus.contracts, policy or "full")
        self._stop = asyncio.Event()
        self._tasks = Tasks()
        bridge.reloader = self._reloader

    async def run(self) -> None:
        """Serve.

        Raises:
            BindError: A listener cannot be opened.
        """
        loop = asyncio.get_running_loop()
        logging.getLogger("mycelium.reload").setLevel(logging.CRITICAL)  # `_tell` says more, and says it once
        self._on_signals(self._stop.set)
        await self._bridge.start()
        loop.add_signal_handler(signal.SIGHUP, lambda: self._tasks.start(self._reload()))
        forget = self._bus.contracts.on_change(lambda change: self._tasks.start(self._tell(change)))
        if self._follow:
            self._tasks.start(self._reloader.run())
        self._welcome()
        await self._stop.wait()
        say(f"stopping: {len(self._bridge.sessions)} connections have up to {self._grace:g} s; again to stop at once")
        self._on_signals(self._bridge.abort)
        forget()
        await self._tasks.end()
        await self._bridge.close(self._grace)
        await self._bus.close()
        say("stopped")

    def _on_signals(self, act: Callable[[], object]) -> None:
        for number in _STOPPING:
            asyncio.get_running_loop().add_signal_handler(number, act)

    def _welcome(self) -> None:
        schema = self._bus.contracts.schema
        facts = f"schema {schema.id:#010x} version {schema.version}, {len(schema.messages)} messages"
        followed = f"; edits are applied if they keep {self._reloader.policy} compatibility" if self._follow else ""
        say(f"{schema.source}: {facts}{followed}")
        for url in self._bridge.urls:
            say(f"listening on {url}")

    async def _reload(self) -> None:
        await self._reloader.reload()

    async def _tell(self, change: Change) -> None:
        """Say what became of an edit, in the checker's or the loader's own words."""
        say(_headline(change))
        if change.report is not None and (change.refused or change.report.issues):
            view = View(change.report, change.source, "the schema in force", gate=change.refused, waivable=False)
            # Looking for bytes that prove a break takes longer than a message may wait.
            say((await aside(render_text, view)).rstrip())
        else:
            for reason in change.reasons:
                say(f"  {escaped(reason)}")
        if change.outcome == "incompatible" and change.current is not None:
            for client, standing in (await self._bridge.hurt_by(change.current)).items():
                say(f"  would hurt {client}: {escaped(', '.join(standing.causes))}")


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
