"""Clients that come with other contracts: which ones are known, and whether they can be talked to."""

import asyncio
import hashlib
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
_MOST_READ: Final = 16
"""Documents whose contracts are remembered: many clients come with the same ones."""
_MOST_READ_BYTES: Final = 2 * 1024 * 1024
"""Bytes of these documents; the contracts take about twelve times as much."""
_MOST_FAULTS: Final = 5


@final
class Acquaintances:
    """The bridge's own earlier contracts by their digest, and what was found about pairs of contracts.

    What a client brings goes by its bytes: digests leave versions out, so that one may stand for several documents.
    Whatever takes time, parsing and comparing, is done in a thread: a large document holds up nobody.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, Schema] = OrderedDict()
        self._read: OrderedDict[bytes, tuple[int, Schema]] = OrderedDict()
        """By the hash of a document, with its size."""
        self._obstacles: OrderedDict[tuple[Identity, Identity], list[str]] = OrderedDict()
        self._comparing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Acquaintances with {len(self._known)} contracts>"

    def remember(self, schema: Schema) -> None:
        """Know contracts of the bridge by their digest from now on."""
        self._known[schema.digest] = schema
        self._known.move_to_end(schema.digest)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    def recall(self, digest: str, document: bytes | None) -> Schema | None:
        """Contracts that need not be read; None if they have to be, or if the document has to be asked for.

        Args:
            digest: What the client says, in hex.
            document: Its contracts document, if it was sent.
        """
        if document is None:
            return self._known.get(digest)
        key = hashlib.sha256(document).digest()
        if key not in self._read:
            return None
        self._read.move_to_end(key)
        return self._read[key][1]

    async def read(self, document: bytes) -> Schema:
        """The contracts of a client's document.

        Raises:
            ProtocolError: The document has faults.
        """
        try:
            key, schema = await aside(_read, document)
        except ContractError as error:
            faults = "; ".join(map(str, error.faults[:_MOST_FAULTS]))
            raise ProtocolError(ErrorCode.SCHEMA_INCOMPATIBLE, f"the contracts have faults: {faults}") from error
        self._read[key] = len(document), schema
        while len(self._read) > _MOST_READ or sum(size for size, _ in self._read.values()) > _MOST_READ_BYTES:
            self._read.popitem(last=False)
        return schema

    async def judge(self, client: Schema, bridge: Schema) -> None:
        """See whether a client with these contracts may be let in.

        Args:
            client: Its contracts.
            bridge: The newest generation.

        Raises:
            ProtocolError: The two cannot talk to each other; the text says what keeps them.
        """
        pair = _identity(client), _identity(bridge)
        async with self._comparing:  # of many who come at once with the same contracts the first one has them compared
            if pair not in self._obstacles:
                self._obstacles[pair] = await aside(obstacles, client, bridge)
                while len(self._obstacles) > _MOST_JUDGED:
                    self._obstacles.popitem(last=False)
            found = self._obstacles[pair]
        if found:
            raise ProtocolError(ErrorCode.SCHEMA_INCOMPATIBLE, "; ".join(found))

    async def standings(self, clients: set[Schema], bridge: Schema) -> dict[str, Standing]:
        """What sessions with these contracts must leave, by the digest of theirs."""
        return {one.digest: await aside(standing, one, bridge) for one in clients}


def _read(document: bytes) -> tuple[bytes, Schema]:
    """The hash of a document, and its contracts."""
    schema = parse_document(document, "contracts of the client")
    _ = schema.digest  # which takes time, too
    return hashlib.sha256(document).digest(), schema


def _identity(schema: Schema) -> Identity:
    return schema.digest, schema.id, schema.version, schema.min_compatible
