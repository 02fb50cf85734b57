"""Hello and Welcome: what both sides say of themselves, and what the bridge makes of it."""

from typing import Any, Final

from mycelium.contracts import Contracts
from mycelium.schema.classes import Message
from mycelium.schema.model import Schema
from mycelium.wire.connection import Core
from mycelium.wire.errors import ErrorCode, ProtocolError

__all__ = ["PROTOCOL_VERSION", "check_hello", "make_hello"]

PROTOCOL_VERSION: Final = 1
_SHOWN: Final = 12
"""Digits of a digest that people are shown."""


def make_hello(core: Core, contracts: Contracts | None, name: str, heartbeat_ms: int) -> Message:
    """A client's first frame; without contracts it asks for the bridge's."""
    told: dict[str, Any] = {"protocol": PROTOCOL_VERSION, "client": name, "heartbeat_ms": heartbeat_ms}
    if contracts is None:
        told["want_contracts"] = True
    else:
        schema = contracts.schema
        told["schema_id"], told["schema_version"] = schema.id, schema.version
        told["schema_digest"] = bytes.fromhex(schema.digest)
    hello: Message = core.Hello(**told)
    return hello


def check_hello(hello: Any, schema: Schema) -> None:
    """Whether the bridge lets a client in.

    Raises:
        ProtocolError: It does not; the code and the text are what the client is told.
    """
    if hello.protocol != PROTOCOL_VERSION:
        problem = f"protocol {hello.protocol} is not spoken here; this bridge speaks {PROTOCOL_VERSION} and no other"
        raise ProtocolError(ErrorCode.VERSION, problem)
    if hello.heartbeat_ms == 0:
        raise ProtocolError(ErrorCode.PROTOCOL, "a heartbeat of 0 ms; leave it out for the default")
    if hello.contracts is not None:
        raise ProtocolError(ErrorCode.PROTOCOL, "contracts in the first Hello; they are sent when asked for")
    if hello.schema_digest is not None and hello.schema_digest.hex() != schema.digest:
        problem = (
            f"the client's contracts (digest {hello.schema_digest.hex()[:_SHOWN]}) are not the bridge's "
            f"({schema.digest[:_SHOWN]}, version {schema.version}); use the same contracts file on both sides"
        )
        raise ProtocolError(ErrorCode.SCHEMA_INCOMPATIBLE, problem)
