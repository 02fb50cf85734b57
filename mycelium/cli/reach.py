"""What `mycelium doctor` finds at the bridge's address and ports."""

import asyncio
import os
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from mycelium.bus.errors import ConnectError, UsageError
from mycelium.bus.urls import DEFAULT_PORT, URL_VARIABLE, Address, default_url, parse_url
from mycelium.cli.bridge import ASKER
from mycelium.cli.checkup import Finding
from mycelium.cli.listening import Listener, listeners
from mycelium.errors import MyceliumError
from mycelium.schema.errors import ContractError, ContractNotFound

if TYPE_CHECKING:
    from mycelium.handle import Contracts

__all__ = ["is_default", "surroundings"]

_HTTP_PORT: Final = 7778
_PORTS: Final = {DEFAULT_PORT: "messages", _HTTP_PORT: "HTTP"}


def surroundings(url: str | None, credentials: Mapping[str, Any]) -> Iterator[Finding]:
    """The bridge, and who has the ports that one takes by default."""
    asked = url or default_url()
    is_named = url is not None or bool(os.environ.get(URL_VARIABLE))
    bridge = _bridge(asked, credentials, is_named=is_named)
    yield bridge
    held = {port: listeners(port) for port in _PORTS}
    reached = bridge.state == "ok" and is_default(asked)
    ours = {one.pid for one in held[DEFAULT_PORT]} if reached else set()
    for port, who in held.items():
        yield _port(port, who, ours)


def is_default(url: str) -> bool:
    """Whether a URL is of the port that a bridge's messages have by default."""
    address = parse_url(url)
    return address.scheme in ("tcp", "tls") and address.port == DEFAULT_PORT


def _port(port: int, who: list[Listener], ours: set[int | None]) -> Finding:
    """A port, and whether whoever has it is the bridge that answered."""
    name, taken = f"port {port}", " and ".join(map(str, who))
    if not who:
        return Finding(name, "ok", f"free for a bridge's {_PORTS[port]}")
    if {one.pid for one in who} <= ours:
        return Finding(name, "ok", f"the bridge's {_PORTS[port]}, {taken}")
    option = "--listen tcp://127.0.0.1:0" if port == DEFAULT_PORT else "--http 127.0.0.1:0"
    remedy = f"`mycelium serve {option}` takes any free port, or stop that process"
    return Finding(name, "note", f"taken by {taken}", remedy)


def _bridge(url: str, credentials: Mapping[str, Any], *, is_named: bool) -> Finding:
    """Whether a bridge answers, and can talk with these contracts."""
    try:
        address = parse_url(url)
        if address.is_rust:
            return Finding("bridge", "note", f"{url} speaks Mycelium's own dialect, in which nobody can be asked")
        return asyncio.run(_asked(address, credentials))
    except UsageError as error:
        what, _, remedy = str(error).partition("; ")
        return Finding("bridge", "wrong", what, remedy)
    except ConnectError as error:
        text = f"no bridge at {url}: {error.reason}"
        if not is_named and not listeners(DEFAULT_PORT):
            return Finding("bridge", "note", text, "`mycelium serve` starts one")
        return Finding("bridge", "wrong", text, "start one with `mycelium serve`, or give another --url")
    except TimeoutError:
        return Finding("bridge", "wrong", f"no answer from {url} in time", "is it overloaded, or stopped?")
    except (MyceliumError, OSError) as error:
        return Finding("bridge", "wrong", f"{url}: {error}")


async def _asked(address: Address, credentials: Mapping[str, Any]) -> Finding:
    from mycelium.bus.client import MyceliumClient

    contracts = _own_contracts()
    client = MyceliumClient(contracts, from_bridge=contracts is None, name=ASKER, reconnect=False, **credentials)
    await client.connect(str(address))
    async with client:
        start = time.perf_counter()
        await client.flush()
        took = (time.perf_counter() - start) * 1000
        schema = client.types.schema
    fits = "" if contracts is None else ", which fits these contracts"
    return Finding("bridge", "ok", f"{address} answers in {took:.1f} ms{fits}: schema {schema.id:#010x}")


def _own_contracts() -> "Contracts | None":
    """The default contracts; without any, or with faulty ones, which another finding tells of, the bridge's do."""
    from mycelium.handle import load

    try:
        return load()
    except (ContractNotFound, ContractError):
        return None
