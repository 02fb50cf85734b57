"""What a session needs of its bridge."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from mycelium.bus.admission import Admission
from mycelium.bus.exchange import Exchange
from mycelium.bus.limits import Limits
from mycelium.schema.registry import Registry
from mycelium.wire.codec import Codec
from mycelium.wire.connection import Core

if TYPE_CHECKING:
    from mycelium.bus.dialect import Dialect
    from mycelium.bus.intake import Intake
    from mycelium.bus.session import Session

__all__ = ["Host"]


class Host(Protocol):
    """What a session needs of its bridge."""

    core: Core
    name: str
    limits: Limits
    admission: Admission
    echo: bool
    """Whether a connection may get its own messages."""

    @property
    def dialect(self) -> "Dialect":
        """What is needed for peers that speak Mycelium's own."""

    @property
    def exchange(self) -> Exchange:
        """Where messages are routed."""

    @property
    def registry(self) -> Registry[Codec]:
        """The newest generation."""

    def let_in(self, session: "Session") -> None:
        """The handshake is done."""

    def ended(self, session: "Session") -> None:
        """The session is over, whatever becomes of its socket."""

    def holds(self, intake: "Intake") -> None:
        """Have `expire` called now and then until nothing waits for room any more."""

    def lags(self, session: "Session") -> None:
        """Have `report_lag` called soon."""

    def parted(self, session: "Session") -> None:
        """The client has answered the bridge's Goodbye."""

    def meet(self, session: "Session", hello: Any) -> None:
        """Find out whether a client with other contracts may be let in; `welcome`, `need_contracts` or `refuse`."""

    def query(self, session: "Session", query: Any) -> None:
        """Find out what a client wants to know; `answer` or `answer_no`."""

    @property
    def monotonic(self) -> Mapping[int, tuple[str, ...]]:
        """Fields of the newest generation that must not decrease, by type id."""

    def document(self) -> bytes:
        """The contracts document of the newest generation."""
