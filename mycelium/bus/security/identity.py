"""Who a client is."""

import math
from typing import Final, Literal

from attrs import field, frozen

from mycelium.schema.printable import for_people

__all__ = ["NOBODY", "Identity"]

Method = Literal["none", "token", "certificate", "unix"]


@frozen
class Identity:
    """Who a client is, as far as its bridge has asked.

    Attributes:
        principal: What access rules call it; None where nobody was asked.
        method: How it has shown that.
        token: The hash of the token with which it has.
        expires_at: Until when that holds, in seconds since the epoch.
    """

    principal: str | None = None
    method: Method = "none"
    token: bytes | None = field(default=None, repr=False)
    expires_at: float = math.inf

    def __str__(self) -> str:
        return self.shown or "whoever is not asked"

    @property
    def shown(self) -> str | None:
        """The principal as it is shown, where a long one is cut; whether two are the same it does not tell."""
        return None if self.principal is None else for_people(self.principal)


NOBODY: Final = Identity()
