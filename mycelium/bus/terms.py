"""On which contracts a session and its bridge talk, and what the client is told of them."""

from typing import Any, final

from mycelium.bus.budget import LogLimit
from mycelium.bus.door import Door, Objection
from mycelium.bus.handshake import PROTOCOL_VERSION, check_hello
from mycelium.bus.negotiation import Standing
from mycelium.bus.remote import RemoteSubscriptions
from mycelium.bus.security.acl import Permits
from mycelium.schema.classes import Message
from mycelium.schema.model import Schema
from mycelium.wire.connection import Core
from mycelium.wire.errors import ErrorCode

__all__ = ["Terms"]


@final
class Terms:
    """The contracts that one session goes by.

    Args:
        core: The core protocol.
        door: What the client's frames have to pass.
        subscriptions: What the client is sent.

    Attributes:
        contracts: What the client reads and writes by; None for one that takes whatever the bridge has.
        follows: Whether the client goes along when the bridge's contracts change.
    """

    def __init__(self, core: Core, door: Door, subscriptions: RemoteSubscriptions) -> None:
        self.contracts: Schema | None = None
        self.follows = False
        self._core = core
        self._door = door
        self._subscriptions = subscriptions
        self._asked = False
        self._excuses: LogLimit | None = None

    def __repr__(self) -> str:
        return f"<Terms {'followed' if self.follows else 'pinned'}>"

    def fit(self, hello: Any, schema: Schema) -> bool:
        """Whether a Hello can be welcomed at once, because the client has the bridge's contracts or none.

        Raises:
            ProtocolError: The Hello makes no sense.
        """
        check_hello(hello, second=self._asked)
        return hello.schema_digest is None or hello.schema_digest.hex() == schema.digest

    def need_contracts(self) -> Message:
        """Ask the client for its contracts document."""
        self._asked = True
        asked: Message = self._core.NeedContracts()
        return asked

    def welcome(self, hello: Any, contracts: Schema | None, schema: Schema, document: bytes, **facts: Any) -> Message:
        """Let the client in.

        Args:
            hello: What it said.
            contracts: What it reads and writes by; None for whatever the bridge has.
            schema: The bridge's.
            document: The same as bytes.
            **facts: The other fields of Welcome.
        """
        self.follows = bool(hello.want_contracts)
        differs = contracts is None or contracts.digest != schema.digest
        sent = document if self.follows and differs else None
        self._go_by(contracts if sent is None else schema)
        welcome: Message = self._core.Welcome(
            protocol=PROTOCOL_VERSION,
            schema_id=schema.id,
            schema_version=schema.version,
            schema_digest=bytes.fromhex(schema.digest),
            contracts=sent,
            **facts,
        )
        return welcome

    def changed(self, schema: Schema, document: bytes) -> Message:
        """Tell the client that the bridge has other contracts now; one that follows gets them."""
        self._go_by(schema if self.follows else self.contracts)
        changed: Message = self._core.SchemaChanged(
            schema_version=schema.version,
            schema_digest=bytes.fromhex(schema.digest),
            contracts=document if self.follows else None,
        )
        return changed

    def stand(self, standing: Standing) -> Message | None:
        """Take types from the client that it and the bridge write differently now; what it is told, if that is news."""
        before = self._door.unreadable, self._subscriptions.blocked
        self._door.unreadable, self._subscriptions.blocked = standing.unreadable, standing.unsendable
        if standing.unreadable <= before[0] and standing.unsendable <= before[1]:
            return None
        return self._error(ErrorCode.SCHEMA_INCOMPATIBLE, "; ".join(standing.reasons))

    def permit(self, permits: Permits, who: str, *, live: bool) -> Message | None:
        """Go by access rules; what the client is told, if they take from it what it had subscribed to.

        Args:
            permits: What it must not do.
            who: The client, as the rules call it.
            live: Whether it was let in before.
        """
        self._door.forbid(permits.unpublishable, who, live=live)
        lost = self._subscriptions.forbid(permits.unreceivable, who)
        return self._error(ErrorCode.DENIED, f"{who} may not receive {lost}: the access rules say so") if lost else None

    def excuse(self, objection: Objection, now: float, sequence: int | None) -> Message | None:
        """What the client is told of a frame that it could not know better of.

        One Error per type and second; for a type that the bridge does not have one in all.
        """
        if self._excuses is None:
            self._excuses = LogLimit()
        when = 0.0 if objection.code is ErrorCode.UNKNOWN_TYPE else now
        if self._excuses.admit(f"{objection.code} {objection.type_id}", when) is None:
            return None
        return self._error(objection.code, objection.problem, objection.type_id, sequence)

    def _error(self, code: ErrorCode, text: str, type_id: int | None = None, sequence: int | None = None) -> Message:
        error: Message = self._core.Error(code=code, message=text, type_id=type_id, fatal=False, sequence=sequence)
        return error

    def _go_by(self, contracts: Schema | None) -> None:
        self.contracts = self._door.contracts = contracts
        if contracts is None or self.follows:
            self._door.unreadable = self._subscriptions.blocked = frozenset()
