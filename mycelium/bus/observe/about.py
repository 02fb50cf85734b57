"""What a page says of one type: what the contract says, and where each field stands in a frame."""

import json
from typing import Any

from mycelium.schema.model import MISSING, Field, Message, Schema
from mycelium.schema.redaction import holds_redacted, may_be_logged
from mycelium.wire.layout import Place, frame_size, layout, least_size

__all__ = ["about"]


def about(schema: Schema, message: Message) -> dict[str, Any]:
    """A message of a schema, its fields in the order of the wire."""
    return {
        "name": message.name,
        "type_id": message.type_id,
        "topic": message.topic,
        "description": message.description,
        "deprecated": message.deprecated,
        "key": list(message.key),
        "retain": message.retain,
        "on_lag": message.on_lag,
        "is_shown": may_be_logged(schema, message.name),
        "redacted": holds_redacted(schema, message.name),
        "frame_size": frame_size(message),
        "least_size": least_size(message),
        "fields": [_field(place) for place in layout(message)],
    }


def _field(place: Place) -> dict[str, Any]:
    field = place.field
    return {
        "name": field.name,
        "tag": field.tag,
        "type": str(field.type),
        "offset": place.offset,
        "size": place.size,
        "optional": field.optional,
        "presence": _presence(field),
        "rules": [f"{rule.name}: {json.dumps(rule.argument, ensure_ascii=False)}" for rule in field.rules],
        "description": field.description,
        "deprecated": field.deprecated,
    }


def _presence(field: Field) -> str:
    default = "" if field.default is MISSING else f"default {json.dumps(field.default, ensure_ascii=False)}"
    return ", ".join(filter(None, ["optional" if field.optional else "", default])) or "required"
