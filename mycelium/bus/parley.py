"""What a bridge makes of clients that go by other contracts than its own."""

from collections.abc import Callable
from typing import Any, final

from mycelium.bus.meeting import Acquaintances
from mycelium.bus.negotiation import FULL_STANDING, Standing
from mycelium.bus.session import Session
from mycelium.bus.waitingroom import WaitingRoom
from mycelium.schema.model import Schema
from mycelium.wire.errors import ProtocolError

__all__ = ["Parley"]


@final
class Parley:
    """Of one bridge.

    Args:
        sessions: Everybody who is connected now.
        schema: The newest generation.
    """

    def __init__(self, sessions: Callable[[], list[Session]], schema: Callable[[], Schema]) -> None:
        self._acquaintances = Acquaintances()
        self._room = WaitingRoom()
        self._sessions = sessions
        self._schema = schema

    def __repr__(self) -> str:
        return f"<Parley, {self._acquaintances!r}>"

    def remember(self, schema: Schema) -> None:
        """Know contracts by their digest from now on."""
        self._acquaintances.remember(schema)

    async def meet(self, session: Session, hello: Any) -> None:
        """Find out whether a client with other contracts may be let in, and tell it, unless it is gone by then."""
        try:
            contracts = self._acquaintances.recall(hello.schema_digest.hex(), hello.contracts)
            if contracts is None and hello.contracts is not None:
                async with self._room.turn(session, len(hello.contracts)):
                    contracts = await self._read(session, hello.contracts)
            else:
                await self._judge(session, contracts)
        except ProtocolError as error:
            session.refuse(error.code, error.problem)
            return
        if session.is_over:
            return
        if contracts is None:
            session.need_contracts()
        else:
            session.welcome(hello, contracts)

    async def _read(self, session: Session, document: bytes) -> Schema | None:
        """Its contracts, if it is there and may be let in; another one may have come with the same meanwhile."""
        contracts = self._acquaintances.recall("", document)
        if contracts is None and not session.is_over:
            contracts = await self._acquaintances.read(document)
        await self._judge(session, contracts)
        return contracts

    async def _judge(self, session: Session, contracts: Schema | None) -> None:
        """See whether its contracts and the newest ones get along; those may be others when that is found."""
        judged = None
        while contracts is not None and judged is not self._schema() and not session.is_over:
            judged = self._schema()
            await self._acquaintances.judge(contracts, judged)

    async def hurt_by(self, schema: Schema, *, pinned: bool) -> dict[str, Standing]:
        """Which clients these contracts would hurt, by name, and how.

        Args:
            schema: The contracts.
            pinned: Only clients that do not go along with them.
        """
        now = self._schema()
        asked = [one for one in self._sessions() if one.is_open and not (pinned and one.terms.follows)]
        of = {session: session.terms.contracts or now for session in asked}
        standings = await self._acquaintances.standings(set(of.values()), schema)
        lost = {session.client: standings[its.digest] for session, its in of.items()}
        return {client: standing for client, standing in lost.items() if standing != FULL_STANDING}

    async def judge(self) -> None:
        """Find out what sessions that keep their own contracts must leave now."""
        schema = self._schema()
        pinned = [one for one in self._sessions() if one.terms.contracts not in (None, schema)]
        contracts = {one.terms.contracts for one in pinned if one.terms.contracts is not None}
        standings = await self._acquaintances.standings(contracts, schema)
        for session in pinned:
            its = session.terms.contracts
            if its is not None and its.digest in standings and schema is self._schema():
                session.stand(standings[its.digest])
