"""The HTTP side of a bus: health, metrics, tables as JSON, and a page. Everything is read, nothing is changed.

Each part is a function that makes its routes; another one is added to `PARTS`.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from mycelium.bus.errors import UsageError
from mycelium.bus.observe.connz import connz
from mycelium.bus.observe.guard import Guard
from mycelium.bus.observe.messagez import messagez
from mycelium.bus.observe.metrics import metrics
from mycelium.bus.observe.observed import Observed
from mycelium.bus.observe.page import page
from mycelium.bus.observe.paging import Json
from mycelium.bus.observe.schemaz import message, schemaz
from mycelium.bus.observe.subsz import queuez, subsz
from mycelium.bus.observe.varz import healthz, readyz, varz

__all__ = ["PARTS", "Part", "make_app"]

Part: TypeAlias = Callable[[Observed], Sequence[BaseRoute]]
"""Makes routes that show what is observed."""
_Table: TypeAlias = Callable[[Observed, Mapping[str, str]], Json]
_UNAVAILABLE: Final = 503
_TABLES: Final[Mapping[str, _Table]] = {
    "/connz": connz,
    "/subsz": subsz,
    "/queuez": queuez,
    "/messagez": messagez,
    "/schemaz": schemaz,
}


def health(observed: Observed) -> Sequence[BaseRoute]:
    """`/healthz` and `/readyz`."""

    async def alive(_: Request) -> Response:
        return JSONResponse(healthz())

    async def ready(_: Request) -> Response:
        body = readyz(observed)
        return JSONResponse(body, _UNAVAILABLE if body["reasons"] else 200)

    return [Route("/healthz", alive), Route("/readyz", ready)]


def tables(observed: Observed) -> Sequence[BaseRoute]:
    """`/varz`, `/connz` and their like, and a single message of `/schemaz`."""

    async def everything(_: Request) -> Response:
        return JSONResponse(varz(observed))

    async def one_message(request: Request) -> Response:
        found = message(observed, request.path_params["name"])
        if found is None:
            raise HTTPException(404, "the contracts have no such message; /schemaz lists them")
        return JSONResponse(found)

    made = [Route(path, _answering(observed, table)) for path, table in _TABLES.items()]
    return [Route("/varz", everything), *made, Route("/schemaz/{name}", one_message)]


def _answering(observed: Observed, table: _Table) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(table(observed, request.query_params))
        except UsageError as error:
            raise HTTPException(400, str(error)) from None

    return answer


PARTS: Final[Sequence[Part]] = (health, metrics, tables, page)


def make_app(observed: Observed, hosts: Collection[str] | None, parts: Sequence[Part] = PARTS) -> Starlette:
    """The application.

    Args:
        observed: What is looked at.
        hosts: Names under which it may be asked for, see `Guard`.
        parts: Of what it is made.
    """
    return Starlette(
        routes=[route for part in parts for route in part(observed)],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  it is registered for these
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _failed(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "a fault of the bridge's own; its log has more"}, 500)
