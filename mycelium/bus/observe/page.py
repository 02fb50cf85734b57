"""The page at `/`: one frame, a few files beside it, and two streams of events. It shows, and changes nothing."""

import html
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Final, final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from mycelium.bus.observe.about import about
from mycelium.bus.observe.feed import Feed
from mycelium.bus.observe.observed import Observed
from mycelium.bus.observe.sse import Events, Places
from mycelium.bus.observe.state import frame, state
from mycelium.bus.observe.tail import Tail

__all__ = ["page"]

_STATE_SECONDS: Final = 1.0
_MOST_PAGES: Final = 32
_MOST_TAILS: Final = 8
_KINDS: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FRAME: Final = "page.html"
_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "cross-origin-opener-policy": "same-origin",
}
"""Beside those that every answer has."""


def page(observed: Observed) -> Sequence[BaseRoute]:
    """`/`, and what it is made of, under `/page/`."""
    made = _Page(observed)
    return [
        Route("/", made.index),
        Route("/page/state", made.state),
        Route("/page/tail", made.tail),
        Route("/page/messages/{name}", made.message),
        Route("/page/{name}", made.file),
    ]


@final
class _Page:
    """Of what is observed."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._feed = Feed(lambda: state(observed), _STATE_SECONDS)
        self._tail = Tail(observed.exchange)
        self._pages = Places(_MOST_PAGES)
        self._tails = Places(_MOST_TAILS)
        folder = resources.files("mycelium.bus.observe") / "static"
        self._files = {each.name: each.read_bytes() for each in folder.iterdir()}
        self._frame = Template(self._files.pop(_FRAME).decode())
        observed.on_close(self._feed.close)
        observed.on_close(self._tail.close)

    def __repr__(self) -> str:
        return f"<Page of {self._observed!r}, {self._pages!r}>"

    async def index(self, _: Request) -> Response:
        """The frame, with what is known without any script."""
        texts = {name: html.escape(text) for name, text in frame(self._observed).items()}
        return Response(self._frame.substitute(texts), media_type="text/html", headers=_HEADERS)

    async def file(self, request: Request) -> Response:
        """What the frame refers to."""
        name = request.path_params["name"]
        body = self._files.get(name)
        if body is None:
            raise HTTPException(404, "the page has no such part")
        return Response(body, media_type=_KINDS[name.rpartition(".")[2]], headers=_HEADERS)

    async def state(self, _: Request) -> Response:
        """A state a second, as events."""
        return Events("state", self._feed.states(), self._pages)

    async def tail(self, request: Request) -> Response:
        """Samples of what is published, as events; with `?type=Ping` of one type."""
        name = request.query_params.get("type")
        if name is not None and name not in self._observed.exchange.registry.schema.messages:
            raise HTTPException(404, "the contracts in force have no such message; /schemaz lists them")
        return Events("messages", self._tail.watch(name), self._tails)

    async def message(self, request: Request) -> Response:
        """One message, with its fields in the order of the wire."""
        schema = self._observed.exchange.registry.schema
        model = schema.messages.get(request.path_params["name"])
        if model is None:
            raise HTTPException(404, "the contracts in force have no such message; /schemaz lists them")
        return JSONResponse(about(schema, model))
