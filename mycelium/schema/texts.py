"""Contracts files by the SHA-256 of their bytes, which is all that a peer of the Rust dialect says of its own.

Whoever goes by another text than the one in force is understood if that text is known and says the same structs.
"""

from collections.abc import Mapping
from typing import Final, final

from mycelium.schema.errors import LayoutError
from mycelium.schema.layout import Layout, layout_of
from mycelium.schema.model import Message, Schema

__all__ = ["Texts"]

Structs = Mapping[int, Layout | None]
"""By type id; None where there is no layout."""


@final
class Texts:
    """The texts of one run, and of a lockfile.

    Attributes:
        current: SHA-256 of the text in force, in hex; None where what is in force is from no file.
    """

    def __init__(self) -> None:
        self.current: str | None = None
        self._known: Final[dict[str, Schema | Structs]] = {}
        """The newest has its schema: nobody may ever ask for its structs. Of the others nothing else is kept."""
        self._newest: str | None = None

    def __repr__(self) -> str:
        return f"<Texts, {len(self._known)} known>"

    def __contains__(self, sha256: object) -> bool:
        return sha256 in self._known

    def take(self, sha256: str | None, schema: Schema) -> None:
        """From now on this text is in force.

        Args:
            sha256: Of its bytes, in hex; None where there is no such text.
            schema: What it says.
        """
        self.current = sha256
        if sha256 is not None:
            self.remember(sha256, schema)

    def remember(self, sha256: str, schema: Schema) -> None:
        """Know a text, such as one of a released version, without going by it."""
        if self._newest is not None and self._newest != sha256:
            self._known[self._newest] = self._shared(self._structs(self._newest))
        self._known[sha256] = schema
        self._newest = sha256

    def objection(self, digest: bytes, schema: Schema) -> str | None:
        """Why a peer that goes by the text of a digest is not understood; None if it is.

        Messages that only one side knows do no harm: they are skipped.

        Args:
            digest: What the peer says.
            schema: What is in force.
        """
        said, ours = digest.hex(), self.current
        if said == ours:
            return None
        if said not in self._known:
            return f"digest {said} is of no contracts that are known here; {ours} is in force"
        theirs = self._structs(said)
        other = next((one.name for one in schema.messages.values() if _differs(theirs, one)), None)
        return other and f"digest {said} is of contracts with another struct {other}; {ours} is in force"

    def _structs(self, sha256: str) -> Structs:
        known = self._known[sha256]
        if isinstance(known, Schema):
            return {message.type_id: _layout(message) for message in known.messages.values()}
        return known

    def _shared(self, structs: Structs) -> Structs:
        """The same ones, once: most edits change no struct."""
        return next((one for one in self._known.values() if one == structs and not isinstance(one, Schema)), structs)


def _differs(structs: Structs, message: Message) -> bool:
    if message.type_id not in structs:
        return False
    theirs, ours = structs[message.type_id], _layout(message)
    return theirs is None or ours is None or not ours.is_like(theirs)


def _layout(message: Message) -> Layout | None:
    try:
        return layout_of(message)
    except LayoutError:
        return None
