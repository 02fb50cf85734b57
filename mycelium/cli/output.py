"""Messages as people and programs read them."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from mycelium.handle import Contracts
from mycelium.schema.classes import Message
from mycelium.schema.converter import from_plain, to_plain
from mycelium.schema.errors import REDACTED, JsonError
from mycelium.schema.model import Schema
from mycelium.schema.printable import printable
from mycelium.schema.redaction import holds_redacted

if TYPE_CHECKING:
    from cattrs import Converter

    from mycelium.bus.client import MyceliumClient
    from mycelium.bus.reload import Change

__all__ = ["as_object", "json_line", "pretty_line", "read_message", "say", "say_changes", "saying_connection"]


def say(text: str) -> None:
    """Talk: on stderr, so that results can be piped."""
    print(text, file=sys.stderr, flush=True)


def say_changes(contracts: Contracts) -> None:
    """Talk about every change of the contracts that a command goes by."""

    def tell(change: "Change") -> None:
        if change.outcome == "applied" and change.current is not None:
            say(f"the bridge's contracts have changed: version {change.current.version} from here on")

    contracts.on_change(tell)


@contextlib.asynccontextmanager
async def saying_connection(client: "MyceliumClient") -> AsyncIterator[None]:
    """Talk about a connection that is lost and made again, inside the block."""
    from mycelium.bus.tasks import Tasks

    talking = Tasks()
    talking.start(_say_connection(client))
    try:
        yield
    finally:
        await talking.end()


async def _say_connection(client: "MyceliumClient") -> None:
    from mycelium.events import Connected, Disconnected

    async for event in client.events():
        if isinstance(event, Disconnected):
            say(f"the connection to the bridge is gone ({printable(event.reason)}); trying to get it back")
        elif isinstance(event, Connected):
            say("connected again")


def as_object(
    message: Message, schema: Schema, converter: "Converter", *, show_sensitive: bool = False
) -> dict[str, Any]:
    """`{"type": …, "fields": {…}}`; without the fields where the contract keeps them out of sight."""
    name = type(message).__name__
    if not show_sensitive and holds_redacted(schema, name):
        return {"type": name, "fields": {}, "redacted": True}
    return {"type": name, "fields": to_plain(converter, message)}


def json_line(shown: dict[str, Any]) -> str:
    """One line of JSON."""
    return json.dumps(shown, ensure_ascii=False, allow_nan=False)


def pretty_line(shown: dict[str, Any]) -> str:
    """One line for people."""
    if shown.get("redacted"):
        return f"{shown['type']}  {REDACTED}"
    fields = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in shown["fields"].items())
    return printable(f"{shown['type']}  {'  '.join(fields)}")


def read_message(contracts: Contracts, name: str, text: str) -> Message:
    """The message of its fields as JSON, or of `{"type": …, "fields": {…}}`.

    Raises:
        UnknownTypeError: There is no such message.
        JsonError: The text does not fit, or names another type.
    """
    cls = contracts[name]
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JsonError(name, None, f"no JSON: {error}") from None
    if isinstance(plain, dict) and plain.keys() == {"type", "fields"} and not plain.keys() <= set(cls.__match_args__):
        if plain["type"] != name:
            raise JsonError(name, None, f"the JSON is a {plain['type']!r}")
        plain = plain["fields"]
    return from_plain(contracts.converter, cls, plain)
