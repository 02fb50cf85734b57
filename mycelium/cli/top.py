"""`mycelium top`: what a bridge does, live."""

import argparse
import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final

from mycelium.cli.options import Commands, add_url, credentials, duration, new_command, positive

if TYPE_CHECKING:
    from mycelium.cli.sampling import Picture
    from mycelium.cli.watching import View

__all__ = ["add_parser"]

_SORTS: Final = ("lag", "session", "dropped", "received", "sent")
_SHORTEST: Final = 0.1
"""Seconds."""
_MOST: Final = 1000
"""Rows that a bridge gives at once."""


def add_parser(commands: Commands) -> None:
    """`top`."""
    parser = new_command(
        commands,
        "top",
        "Watch what a bridge does: rates of messages and connections, queues, drops by reason, its contracts; clients "
        "that are slow come first. q or Ctrl-C quits. A bridge that is restarted is found again. Without a terminal "
        "each picture is printed below the one before.",
        "mycelium top",
        "mycelium top --sort dropped --interval 5s --url unix:///run/mycelium.sock",
        "mycelium top --once -o json | jq '.connections[0]'",
    )
    parser.add_argument("--once", action="store_true", help="one picture, of what happens within the interval")
    parser.add_argument("-o", "--output", choices=("pretty", "json"), default="pretty", help="json: one object a line")
    parser.add_argument(
        "--interval", type=_interval, default=1.0, metavar="S", help="time between pictures (default 1s)"
    )
    parser.add_argument(
        "--sort",
        choices=_SORTS,
        default="lag",
        help="which connections come first: those with most lag (default), the oldest session, or those with most "
        "messages dropped, received from them or sent to them",
    )
    parser.add_argument(
        "--limit", type=_limit, default=50, metavar="N", help="connections, and types, at most (default 50)"
    )
    add_url(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Show pictures until somebody has seen enough."""
    return asyncio.run(_top(args))


async def _top(args: argparse.Namespace) -> int:
    from mycelium.bus.urls import default_url
    from mycelium.cli.watching import watched

    url = args.url or default_url()
    if args.once:
        return await _once(args, url)
    is_live = args.output == "pretty" and sys.stdout.isatty()
    async with contextlib.aclosing(watched(url, args.sort, args.limit, args.interval, credentials(args))) as views:
        first = await anext(views)  # whoever has no bridge is told so, and not on a screen that goes away
        await (_live if is_live else _lines)(args, first, views)
    return 0


async def _once(args: argparse.Namespace, url: str) -> int:
    from mycelium.cli.bridge import asker
    from mycelium.cli.sampling import Sampler
    from mycelium.cli.watching import WATCHER

    async with await asker(url, WATCHER, credentials(args)) as client:
        sampler = Sampler(client, url, args.sort, args.limit)
        await sampler.look()
        await asyncio.sleep(args.interval)
        _printer(args)(await sampler.look())
    return 0


async def _lines(args: argparse.Namespace, first: "View", views: "AsyncIterator[View]") -> None:
    """Each picture below the one before."""
    from mycelium.cli.output import say

    show = _printer(args)
    show(first.picture)
    was_away = False
    async for view in views:
        if view.is_away is not was_away:
            say(f"the bridge is {view.note}")
        if not view.is_away:
            show(view.picture)
        was_away = view.is_away


async def _live(args: argparse.Namespace, first: "View", views: "AsyncIterator[View]") -> None:
    """Pictures in place of each other, until somebody quits."""
    from mycelium.cli.terminal import Terminal
    from mycelium.cli.topview import TopView

    logging.getLogger("mycelium").setLevel(logging.CRITICAL)  # the view says what there is to say
    footer = f"q quits   every {args.interval:g} s   connections by {args.sort}"

    async def follow(terminal: Terminal) -> None:
        terminal.show(TopView(first, footer))
        async for view in views:
            terminal.show(TopView(view, footer))

    with Terminal() as terminal:
        following = asyncio.ensure_future(follow(terminal))
        quitting = asyncio.ensure_future(terminal.quit.wait())
        try:
            await asyncio.wait([following, quitting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            following.cancel()
            quitting.cancel()
            await asyncio.wait([following, quitting])
        if not following.cancelled():
            following.result()


def _printer(args: argparse.Namespace) -> "Callable[[Picture], None]":
    """What prints a picture."""
    if args.output == "json":
        return lambda picture: print(json.dumps(picture.as_object(), ensure_ascii=False), flush=True)
    from mycelium.cli.screen import Screen
    from mycelium.cli.topview import TopView
    from mycelium.cli.watching import View

    screen = Screen()
    return lambda picture: screen.print(TopView(View(picture)), "")


def _interval(text: str) -> float:
    seconds = duration(text)
    if seconds < _SHORTEST:
        raise argparse.ArgumentTypeError(f"an interval of {text} is too short; give at least {_SHORTEST:g} s")
    return seconds


def _limit(text: str) -> int:
    number = positive(text)
    if number > _MOST:
        raise argparse.ArgumentTypeError(f"{number} rows are too many; give at most {_MOST}")
    return number
