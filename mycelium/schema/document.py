"""The contracts document, a schema as normalised JSON, and the digest over what of it counts.

Wire protocol, "Contracts on the wire, and the digest", is the source of every rule here. A document is a contracts file
again: `mycelium.schema.parse.parse_document` reads it.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from mycelium.schema.model import (
    DEFAULT_TAG_RANGES,
    MISSING,
    EnumDef,
    Field,
    Json,
    Message,
    Ranges,
    Reserved,
    Rule,
    Schema,
)

__all__ = ["digest", "document", "document_bytes", "reduced_text"]

_SAYS_NOTHING: Final[tuple[Json, ...]] = (None, False, "", [], {})
_REDUCED_MESSAGE: Final = frozenset({"tlv_type", "domain", "sensitivity", "log_payload", "fields"})
_REDUCED_FIELD: Final = frozenset({"type", "tag", "optional", "default", "validation"})
_REDUCED_ENUM: Final = frozenset({"enum", "repr", "open"})


def document(schema: Schema) -> dict[str, Json]:
    """The schema in the language of contracts files, normalised: without default values and what only tools read."""
    about: dict[str, Json] = {
        "id": schema.id,
        "version": schema.version,
        "min_compatible": schema.min_compatible,
        **_reserved(schema.reserved, "type_ids"),
    }
    return {
        "schema": about,
        **_given(
            tag_ranges={
                name: _range(ends) for name, ends in schema.tag_ranges.items() if DEFAULT_TAG_RANGES.get(name) != ends
            },
            types={name: _enum(enum) for name, enum in schema.enums.items()},
            messages={name: _message(message) for name, message in schema.messages.items()},
        ),
    }


def document_bytes(schema: Schema) -> bytes:
    """The contracts document as UTF-8 JSON without spaces, in file order."""
    return _text(document(schema)).encode()


def reduced_text(schema: Schema) -> str:
    """The part of the document that decides bytes, meaning and redaction, as JSON text with sorted keys."""
    whole = document(schema)
    reduced: dict[str, Json] = {"schema": {"id": schema.id}}
    if schema.enums:
        reduced["types"] = {name: _only(_REDUCED_ENUM, _enum(enum)) for name, enum in schema.enums.items()}
    if "messages" in whole:
        reduced["messages"] = {name: _reduced_message(message) for name, message in schema.messages.items()}
    return _text(reduced, sort=True)


def digest(schema: Schema) -> str:
    """SHA-256 of the reduced text, as 64 hex digits."""
    return hashlib.sha256(reduced_text(schema).encode()).hexdigest()


def _text(value: Json, *, sort: bool = False) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort, allow_nan=False)


def _given(**values: Json) -> dict[str, Json]:
    """Those of the values that say something: no None, False, empty text, list or map."""
    return {key: value for key, value in values.items() if value not in _SAYS_NOTHING}


def _only(keys: frozenset[str], whole: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in whole.items() if key in keys}


def _range(ends: tuple[int, int]) -> str:
    return f"{ends[0]}-{ends[1]}"


def _ranges(ranges: Ranges) -> list[Json]:
    return [first if first == last else _range((first, last)) for first, last in ranges]


def _reserved(reserved: Reserved, numbers: str) -> dict[str, Json]:
    said = _given(numbers=_ranges(reserved.numbers), names=list(reserved.names))
    if "numbers" in said:
        said = {numbers: said.pop("numbers"), **said}
    return {"reserved": said} if said else {}


def _enum(enum: EnumDef) -> dict[str, Json]:
    said: dict[str, Json] = {"enum": dict(enum.members), "repr": enum.repr}
    if not enum.open:
        said["open"] = False
    return {**said, **_given(description=enum.description)}


def _message(message: Message) -> dict[str, Json]:
    return {
        "tlv_type": message.type_id,
        **_given(domain=message.domain, description=message.description, renamed_from=message.renamed_from),
        **_reserved(message.reserved, "tags"),
        **_given(deprecated=message.deprecated),
        **({} if message.sensitivity is None else {"sensitivity": message.sensitivity}),
        **({} if message.log_payload is None else {"log_payload": message.log_payload}),
        **_given(
            key=message.key[0] if len(message.key) == 1 else list(message.key),
            retain=message.retain,
            qos=_given(on_lag=message.on_lag),
        ),
        "fields": {each.name: _field(each) for each in message.fields},
    }


def _field(field: Field) -> dict[str, Json]:
    return {
        "type": str(field.type),
        "tag": field.tag,
        **_given(description=field.description, optional=field.optional),
        **({} if field.default is MISSING else {"default": field.default}),
        **_given(
            deprecated=field.deprecated,
            renamed_from=field.renamed_from,
            validation=[_rule(rule) for rule in field.rules],
        ),
    }


def _rule(rule: Rule) -> Json:
    return {rule.name: rule.argument}


def _reduced_message(message: Message) -> Json:
    reduced = _only(_REDUCED_MESSAGE, _message(message))
    reduced["fields"] = {each.name: _reduced_field(each) for each in message.fields}
    return reduced


def _reduced_field(field: Field) -> Json:
    reduced = _only(_REDUCED_FIELD, _field(field))
    if field.rules:
        reduced["validation"] = sorted((_rule(rule) for rule in field.rules), key=lambda rule: _text(rule, sort=True))
    return reduced
