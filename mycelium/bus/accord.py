"""The contracts of a client: a file's or the bridge's, and how they go along when the bridge's change."""

from typing import Any, final

from mycelium.bus.aside import aside
from mycelium.bus.errors import Refused
from mycelium.bus.eventstream import Events
from mycelium.bus.handshake import make_hello
from mycelium.bus.inbox import Inbox
from mycelium.bus.reload import Change
from mycelium.bus.topics import new_of_topic
from mycelium.contractfile import find
from mycelium.events import SchemaChanged, SchemaRefused
from mycelium.handle import Contracts, Source, load, load_document
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.schema.classes import Message
from mycelium.schema.errors import ContractError, ContractNotFound
from mycelium.schema.model import Schema
from mycelium.schema.parse import parse_document
from mycelium.wire.connection import Core
from mycelium.wire.errors import ErrorCode

__all__ = ["Accord", "own_contracts"]

_log = Log("mycelium.client")


def own_contracts(source: Source | None, *, from_bridge: bool) -> Contracts | None:
    """What a client starts with: what it was given, else the default file's; None where it takes the bridge's."""
    if from_bridge:
        return None
    if source is not None:
        return load(source)
    try:
        path = find()
    except ContractNotFound:
        return None
    return load(path)


@final
class Accord:
    """On which contracts a client and its bridge talk.

    Args:
        contracts: The client's own; None to take the bridge's.
        follow: Whether to go along when the bridge's change; None: with its own or the same ones.
        inbox: The client's subscriptions; those to a topic get what comes to it.
        events: Where changes are told.

    Attributes:
        contracts: See above.
    """

    def __init__(self, contracts: Contracts | None, *, follow: bool | None, inbox: Inbox, events: Events) -> None:
        self.contracts = contracts
        self._follow = follow
        self._inbox = inbox
        self._events = events
        self._is_following = contracts is None
        """Whether it goes by what the bridge says, and so goes along when another bridge says something else."""
        self._source = "<contracts of the bridge>"
        self._said = 0
        """How often a bridge has told its contracts."""

    def __repr__(self) -> str:
        return f"<Accord on {self.contracts!r}>"

    def hello(self, core: Core, name: str, heartbeat_ms: int, token: str | None, *, second: bool = False) -> Message:
        """The first Hello, or the second: then the bridge does not know these contracts; they are another version."""
        follow = self._follow is True or (self._follow is None and (self._is_following or not second))
        return make_hello(core, self.contracts, name, heartbeat_ms, token=token, follow=follow, with_document=second)

    def welcome(self, welcome: Any) -> Contracts:
        """What the client goes by now that it is let in.

        Raises:
            Refused: It has no contracts, and the bridge sent none.
            ContractError: What the bridge sent has faults.
        """
        self._said += 1
        self._source = f"<contracts of {welcome.server}>"
        if self.contracts is not None and welcome.schema_digest.hex() == self.contracts.schema.digest:
            self._is_following = True
        if self.contracts is None:
            if welcome.contracts is None:
                raise Refused(ErrorCode.PROTOCOL, "the bridge sent no contracts; give the client a contracts file")
            self.contracts = load_document(welcome.contracts, self._source)
        elif welcome.contracts is not None:
            schema = parse_document(welcome.contracts, self._source)
            # After a reconnect it is mostly what it was.
            self._apply(self.contracts, schema, tell=schema != self.contracts.schema)
        return self.contracts

    async def go_along(self, document: bytes) -> None:
        """The bridge has other contracts now: so has this client. If they cannot be read, it keeps what it has.

        They are read beside the loop; where the bridge has said something newer meanwhile, that holds.
        """
        self._said += 1
        said = self._said
        try:
            schema = await aside(parse_document, document, self._source)
        except ContractError as error:
            _log(Line.SCHEMA_NOT_TAKEN, error_type=type(error).__name__, error=str(error))
            self._events.tell(SchemaRefused(self._source, "invalid", tuple(map(str, error.faults))))
            return
        if self.contracts is not None and said == self._said:
            self._apply(self.contracts, schema)

    def _apply(self, contracts: Contracts, schema: Schema, *, tell: bool = True) -> None:
        previous = contracts.schema
        if previous != schema:  # another client of this handle, or its file, may have been first
            contracts.apply(schema)
            contracts.tell(Change("applied", schema.source, previous, schema))
        for subscription in list(self._inbox.dispatcher.subscriptions):
            new = new_of_topic(contracts, subscription)
            if new:
                self._inbox.extend(subscription, new)
        if tell:
            self._events.tell(SchemaChanged(schema.source, schema.version, previous.digest, schema.digest))
