"""What a bridge needs for peers that speak Mycelium's own dialect: codecs, digests, layouts that stay as they are."""

import os
from typing import final

from mycelium.bus.errors import UsageError
from mycelium.bus.interpreter import Manners
from mycelium.bus.lag import Lag
from mycelium.bus.recent import RecentFrames
from mycelium.bus.urls import DIGEST_VARIABLE, Address
from mycelium.handle import Contracts
from mycelium.schema.registry import Registry
from mycelium.wire.codec import Codec
from mycelium.wire.rust import RustCodecs
from mycelium.wire.rustframes import preamble

__all__ = ["Dialect"]


@final
class Dialect:
    """Of one bridge.

    Args:
        contracts: The bridge's.
    """

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts
        self._made: tuple[Registry[Codec], RustCodecs] | None = None
        self._is_open = False

    def __repr__(self) -> str:
        return f"<Dialect of {self._contracts!r}>"

    @property
    def codecs(self) -> RustCodecs:
        """The newest generation as structs.

        Raises:
            LayoutError: A message of it has no layout.
        """
        registry = self._contracts.registry
        if self._made is None or self._made[0] is not registry:
            self._made = registry, RustCodecs(registry)
        return self._made[1]

    def begin(self) -> None:
        """From here on there are peers, or may be: an edit of the contracts must keep every layout.

        Raises:
            LayoutError: A message of the contracts has no layout.
        """
        _ = self.codecs
        self._is_open = True
        self._contracts.hold_layouts()

    def end(self) -> None:
        """There will be no peers any more. May be called twice, and without `begin`."""
        if self._is_open:
            self._is_open = False
            self._contracts.hold_layouts(-1)

    # --- connections ---

    def of_guest(self, address: Address) -> Manners:
        """For somebody who has come to a listener."""
        return Manners(f"a peer at {address}", self._judge)

    def of_bus(self, address: Address, *, echo: bool = False, on_lag: Lag | None = None) -> Manners:
        """For a bus that is joined.

        Args:
            address: Of the bus.
            echo: Whether what it sends back is kept.
            on_lag: What to do where it does not read; None: what each message's contract says.

        Raises:
            UsageError: It is to be told a digest, and there is no file, or $MYCELIUM_SCHEMA_DIGEST says another one.
        """
        recent = None if echo else RecentFrames()
        return Manners(str(address), _refuse_digest, self._greeting(address), is_bus=True, recent=recent, on_lag=on_lag)

    # --- digests ---

    def _greeting(self, address: Address) -> bytes:
        wanted = os.environ.get(DIGEST_VARIABLE, "").lower()
        if address.digest == "none" or (address.digest is None and not wanted):
            return b""
        digest = self._contracts.text_digest
        if digest is None:
            raise UsageError(f"{address} is to be told the digest of a contracts file, and there is none; load one")
        if wanted and wanted != digest:
            raise UsageError(
                f"${DIGEST_VARIABLE} is {wanted}, and the digest of {self._contracts.schema.source} is {digest}; "
                "use the file that the bus uses"
            )
        return preamble(bytes.fromhex(digest))

    def _judge(self, digest: bytes) -> str | None:
        return self._contracts.texts.objection(digest, self._contracts.schema)


def _refuse_digest(_: bytes) -> str:
    return "a bus says no digest; this is another client"
