"""Names of spans and their attributes, as OpenTelemetry's messaging conventions have them, and Mycelium's own.

Those conventions are of status Development; the version that is meant is in `SCHEMA_URL`.
"""

from typing import Final

from attrs import frozen

__all__ = ["ATTRIBUTES", "SCHEMA_URL", "SCOPE", "SPANS", "SpanName"]

SCOPE: Final = "mycelium"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

SYSTEM: Final = "messaging.system"
OPERATION: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
SUBSCRIPTION: Final = "messaging.destination.subscription.name"
GROUP: Final = "messaging.consumer.group.name"
MESSAGE_ID: Final = "messaging.message.id"
CONVERSATION: Final = "messaging.message.conversation_id"
BODY_SIZE: Final = "messaging.message.body.size"
CLIENT_ID: Final = "messaging.client.id"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
PEER_ADDRESS: Final = "network.peer.address"
PEER_PORT: Final = "network.peer.port"
NETWORK: Final = "network.transport"
ERROR_TYPE: Final = "error.type"
MESSAGE_TYPE: Final = "mycelium.message.type"
TYPE_ID: Final = "mycelium.message.type_id"
SCHEMA_ID: Final = "mycelium.schema.id"
SCHEMA_VERSION: Final = "mycelium.schema.version"
SCHEMA_DIGEST: Final = "mycelium.schema.digest"
TRANSPORT: Final = "mycelium.transport"
RECEIVERS: Final = "mycelium.delivery.receivers"
DROPPED: Final = "mycelium.delivery.dropped"


@frozen
class SpanName:
    """A kind of span.

    Attributes:
        name: What it is called; `{destination}` is the message's name.
        kind: Of OpenTelemetry.
        operation_type: Of the messaging conventions; empty for what is no messaging.
    """

    name: str
    kind: str
    operation_type: str = ""


SPANS: Final = {
    "publish": SpanName("publish {destination}", "PRODUCER", "send"),
    "route": SpanName("route {destination}", "CONSUMER", "process"),
    "process": SpanName("process {destination}", "CONSUMER", "process"),
    "receive": SpanName("receive {destination}", "CLIENT", "receive"),
    "request": SpanName("request {destination}", "CLIENT", "send"),
    "reload": SpanName("schema reload", "INTERNAL"),
}
"""By operation."""
ATTRIBUTES: Final = (
    *(SYSTEM, OPERATION, OPERATION_TYPE, DESTINATION, SUBSCRIPTION, GROUP, MESSAGE_ID, CONVERSATION, BODY_SIZE),
    *(CLIENT_ID, SERVER_ADDRESS, SERVER_PORT, PEER_ADDRESS, PEER_PORT, NETWORK, ERROR_TYPE),
    *(MESSAGE_TYPE, TYPE_ID, SCHEMA_ID, SCHEMA_VERSION, SCHEMA_DIGEST, TRANSPORT, RECEIVERS, DROPPED),
)
"""All names of attributes."""
