"""Clients that come with other contracts: which ones are known, and whether they can be talked to."""

from collections import OrderedDict
from typing import Final, TypeAlias, final

from mycelium.bus.aside import aside
from mycelium.bus.negotiation import Standing, obstacles, standing
from mycelium.schema.errors import ContractError
from mycelium.schema.model import Schema
from mycelium.schema.parse import parse_document
from mycelium.wire.errors import ErrorCode, ProtocolError

__all__ = ["Acquaintances"]

Identity: TypeAlias = tuple[str, int, int, int]
"""Digest, id, version and min_compatible: what a handshake goes by."""
_MOST_KNOWN: Final = 256
_MOST_JUDGED: Final = 1024
_MOST_FAULTS: Final = 5


@final
class Acquaintances:
    """The bridge's own earlier contracts by their digest, and what was found about pairs of contracts.

    What a client brings is looked at anew each time: digests leave versions out, so that one may stand for several
    documents. Whatever takes time, parsing and comparing, is done in a thread: a large document holds up nobody.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, Schema] = OrderedDict()
        self._obstacles: OrderedDict[tuple[Identity, Identity], list[str]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Acquaintances with {len(self._known)} contracts>"

    def remember(self, schema: Schema) -> None:
        """Know contracts of the bridge by their digest from now on."""
        self._known[schema.digest] = schema
        self._known.move_to_end(schema.digest)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    async def meet(self, digest: str, document: bytes | None, bridge: Schema) -> Schema | None:
        """The contracts of a client that may be let in; None if the document has to be asked for.

        Args:
            digest: What the client says, in hex.
            document: Its contracts document, if it was sent.
            bridge: The newest generation.

        Raises:
            ProtocolError: The document has faults, or the two cannot talk to each other; the text says what keeps them.
        """
        client = self._known.get(digest)
        if document is not None:
            client = await self._read(document)
        if client is None:
            return None
        pair = _identity(client), _identity(bridge)
        if pair not in self._obstacles:
            self._obstacles[pair] = await aside(obstacles, client, bridge)
            while len(self._obstacles) > _MOST_JUDGED:
                self._obstacles.popitem(last=False)
        found = self._obstacles[pair]
        if found:
            raise ProtocolError(ErrorCode.SCHEMA_INCOMPATIBLE, "; ".join(found))
        return client

    async def standings(self, clients: set[Schema], bridge: Schema) -> dict[str, Standing]:
        """What sessions with these contracts must leave, by the digest of theirs."""
        return {one.digest: await aside(standing, one, bridge) for one in clients}

    async def _read(self, document: bytes) -> Schema:
        try:
            return await aside(parse_document, document, "contracts of the client")
        except ContractError as error:
            faults = "; ".join(map(str, error.faults[:_MOST_FAULTS]))
            raise ProtocolError(ErrorCode.SCHEMA_INCOMPATIBLE, f"the contracts have faults: {faults}") from error


def _identity(schema: Schema) -> Identity:
    return schema.digest, schema.id, schema.version, schema.min_compatible
