"""Hello and Welcome: what both sides say of themselves, and what the bridge makes of it."""

from typing import Any, Final

from mycelium.handle import Contracts
from mycelium.schema.classes import Message
from mycelium.schema.document import document_bytes
from mycelium.wire.connection import Core
from mycelium.wire.errors import ErrorCode, ProtocolError

__all__ = ["PROTOCOL_VERSION", "check_hello", "make_hello"]

PROTOCOL_VERSION: Final = 1


def make_hello(
    core: Core,
    contracts: Contracts | None,
    name: str,
    heartbeat_ms: int,
    *,
    token: str | None = None,
    follow: bool = True,
    with_document: bool = False,
) -> Message:
    """A client's first frame, or its second.

    Args:
        core: The core protocol.
        contracts: The client's; None to ask for the bridge's.
        name: The client's, for people.
        heartbeat_ms: What the client wishes for.
        token: What it says who it is by; None where nobody asks, or where others could read it.
        follow: Whether the client goes along when the bridge's contracts change.
        with_document: Whether this is the answer to NeedContracts.
    """
    told: dict[str, Any] = {"protocol": PROTOCOL_VERSION, "client": name, "heartbeat_ms": heartbeat_ms}
    if token is not None:
        told["token"] = token
    if follow or contracts is None:
        told["want_contracts"] = True
    if contracts is not None:
        schema = contracts.schema
        told["schema_id"], told["schema_version"] = schema.id, schema.version
        told["schema_digest"] = bytes.fromhex(schema.digest)
        if with_document:
            told["contracts"] = document_bytes(schema)
    hello: Message = core.Hello(**told)
    return hello


def check_hello(hello: Any, *, second: bool) -> None:
    """Whether a Hello makes sense, whatever the contracts are.

    Args:
        hello: What the client said.
        second: Whether it is the answer to NeedContracts.

    Raises:
        ProtocolError: It does not; the code and the text are what the client is told.
    """
    if hello.protocol != PROTOCOL_VERSION:
        problem = f"protocol {hello.protocol} is not spoken here; this bridge speaks {PROTOCOL_VERSION} and no other"
        raise ProtocolError(ErrorCode.VERSION, problem)
    if hello.heartbeat_ms == 0:
        raise ProtocolError(ErrorCode.PROTOCOL, "a heartbeat of 0 ms; leave it out for the default")
    if second and hello.contracts is None:
        raise ProtocolError(ErrorCode.PROTOCOL, "no contracts in the second Hello; they were asked for")
    if not second and hello.contracts is not None:
        raise ProtocolError(ErrorCode.PROTOCOL, "contracts in the first Hello; they are sent when asked for")
