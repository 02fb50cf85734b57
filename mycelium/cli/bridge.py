"""What commands ask a running bridge."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from mycelium.bus.client import MyceliumClient
from mycelium.bus.errors import ConnectError
from mycelium.bus.foreign import refuse
from mycelium.bus.urls import default_url, parse_url
from mycelium.handle import Contracts, load
from mycelium.schema.errors import ContractNotFound
from mycelium.schema.model import Schema
from mycelium.schema.parse import parse_document

__all__ = ["ASKER", "ask", "asker", "connected", "file_or_bridge"]

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


def ask(url: str | None, what: str, credentials: Mapping[str, Any] = _NONE, **options: Any) -> list[dict[str, Any]]:
    """The answer to a query.

    Args:
        url: The bridge.
        what: The question.
        credentials: What a client is made with to be let in; what is not there is looked for in the environment.
        options: More about the question.

    Raises:
        ConnectError: There is no bridge.
        Refused: It does not answer that.
        TimeoutError: It does not answer in time.
    """
    return asyncio.run(_ask(url, what, credentials, options))


def connected(url: str) -> tuple[Schema, dict[str, Schema]]:
    """The contracts of a bridge, and name and contracts of each client that is connected; see `ask` for errors."""
    bodies = ask(url, "sessions")
    schemas = {
        each["digest"]: parse_document(json.dumps(each["contracts"]).encode(), f"<contracts at {url}>")
        for each in bodies
        if "contracts" in each
    }
    rows = [row for body in bodies for row in body.get("sessions", ()) if row["name"] != ASKER]
    names = Counter(row["name"] for row in rows)
    clients = {}
    for row in rows:
        alone = names[row["name"]] == 1
        clients[row["name"] if alone else f"{row['name']} (session {row['session']})"] = schemas[row["digest"]]
    return schemas[bodies[0]["digest"]], clients


def file_or_bridge(file: str | None, url: str | None, credentials: Mapping[str, Any]) -> Contracts:
    """The contracts of a file, of the default file, or where there is none of the bridge.

    Raises:
        ContractNotFound: There is no file, and no bridge either.
        ContractError: The file has faults.
    """
    try:
        return load(file)
    except ContractNotFound:
        if file is not None:
            raise
        try:
            return asyncio.run(_contracts(url, credentials))
        except ConnectError:
            pass
        raise


ASKER = "mycelium command"
"""What these questions are asked as."""


async def asker(url: str | None, name: str = ASKER, credentials: Mapping[str, Any] = _NONE) -> MyceliumClient:
    """A client that only asks: connected, on whatever contracts the bridge has, and not again once it is cut off.

    Raises:
        UsageError: Nobody answers questions there.
        ConnectError: There is no bridge.
        Refused: It does not let this client in.
    """
    refuse(parse_url(url or default_url()), "query")
    client = MyceliumClient(from_bridge=True, name=name, reconnect=False, **credentials)
    await client.connect(url)
    return client


async def _ask(
    url: str | None, what: str, credentials: Mapping[str, Any], options: dict[str, Any]
) -> list[dict[str, Any]]:
    async with await asker(url, credentials=credentials) as client:
        return await client.query(what, **options)


async def _contracts(url: str | None, credentials: Mapping[str, Any]) -> Contracts:
    client = MyceliumClient(from_bridge=True, name=ASKER, reconnect=False, **credentials)
    await client.connect(url)
    async with client:
        return client.types
