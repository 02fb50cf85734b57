"""Pieces of a contracts file as YAML text, for fixes that people paste."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mycelium.schema.model import MISSING, EnumDef, Field, Json, Message, Ranges, Reserved, Schema, next_free

__all__ = ["enum_json", "field_json", "flow", "free_tag", "mapping", "message_yaml", "ranges_json", "reserved_json"]

_PLAIN: Final = re.compile(r"[A-Za-z_][\w./-]*( [\w./-]+)*\Z", re.ASCII)
_NOT_TEXT: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"})


def flow(value: Json) -> str:
    """A value in YAML's flow style, which fits on one line and reads the same under YAML 1.1 and 1.2."""
    match value:
        case dict():
            return "{" + ", ".join(f"{flow(key)}: {flow(one)}" for key, one in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(flow, value)) + "]"
        case str() if _PLAIN.match(value) and value.lower() not in _NOT_TEXT:
            return value
        case float() if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124  NaN
            return ".nan" if value != value else f"{'-' if value < 0 else ''}.inf"  # noqa: PLR0124
        case _:
            return json.dumps(value, ensure_ascii=not str(value).isprintable())


def mapping(entries: Mapping[str, Json]) -> str:
    """Lines `key: value`, the values in flow style."""
    return "\n".join(f"{flow(key)}: {flow(value)}" for key, value in entries.items())


def field_json(field: Field, *, without: Iterable[str] = (), **changes: Any) -> dict[str, Json]:
    """A field as the contract writes it.

    Args:
        field: The field.
        without: Keys to leave out.
        **changes: Keys with another value than the field has.
    """
    entry: dict[str, Json] = {"type": field.spelling or str(field.type)}
    if field.explicit or "tag" in changes:
        entry["tag"] = field.tag
    if field.optional:
        entry["optional"] = True
    if field.default is not MISSING:
        entry["default"] = field.default
    if field.rules:
        entry["validation"] = [{rule.name: rule.argument} for rule in field.rules]
    if field.renamed_from:
        entry["renamed_from"] = field.renamed_from
    if field.deprecated:
        entry["deprecated"] = True
    if field.description:
        entry["description"] = field.description
    entry |= dict(field.extras)
    entry |= changes
    left_out = set(without)
    return {key: value for key, value in entry.items() if key not in left_out}


def ranges_json(ranges: Ranges) -> list[Json]:
    """Numbers and ranges as the contract writes them: `[6, 9-12]`."""
    return [first if first == last else f"{first}-{last}" for first, last in ranges]


def reserved_json(reserved: Reserved, numbers_key: str) -> dict[str, Json]:
    """A `reserved:` entry; `numbers_key` is `tags` or `type_ids`."""
    entry: dict[str, Json] = {}
    if reserved.numbers:
        entry[numbers_key] = ranges_json(reserved.numbers)
    if reserved.names:
        entry["names"] = list(reserved.names)
    return entry


def enum_json(enum: EnumDef) -> dict[str, Json]:
    """An enum as the contract writes it."""
    entry: dict[str, Json] = {"enum": dict(enum.members), "repr": enum.repr, "open": enum.open}
    if enum.description:
        entry["description"] = enum.description
    return entry | dict(enum.extras)


def message_yaml(message: Message, **changes: Json) -> str:
    """A whole message, its fields line by line with their tags written out."""
    head: dict[str, Json] = {"tlv_type": message.type_id}
    optional: dict[str, Json] = {
        "domain": message.domain,
        "description": message.description or None,
        "schema_version": message.schema_version,
        "reserved": reserved_json(message.reserved, "tags") or None,
        "deprecated": message.deprecated or None,
        "sensitivity": message.sensitivity,
        "log_payload": message.log_payload,
        "key": list(message.key) or None,
        "retain": message.retain,
        "qos": {"on_lag": message.on_lag} if message.on_lag else None,
    }
    head |= {key: value for key, value in optional.items() if value is not None}
    head |= dict(message.extras) | changes
    lines = [f"{message.name}:", *(f"  {line}" for line in mapping(head).splitlines())]
    if not message.fields:
        return "\n".join([*lines, "  fields: {}"])
    body = mapping({one.name: field_json(one, tag=one.tag) for one in message.fields})
    return "\n".join([*lines, "  fields:", *(f"    {line}" for line in body.splitlines())])


def free_tag(previous: Message | None, current: Message, also: Iterable[int] = ()) -> int:
    """The lowest tag that neither version of a message uses or reserves."""
    used = {one.tag for one in current.fields} | set(also)
    ranges = current.reserved.numbers
    if previous is not None:
        used |= {one.tag for one in previous.fields}
        ranges += previous.reserved.numbers
    return next_free(tuple(used), ranges, 1)


def free_type_id(previous: Schema, current: Schema, start: int) -> int:
    """The lowest type id from `start` on that neither schema uses or reserves."""
    used = {one.type_id for schema in (previous, current) for one in schema.messages.values()}
    return next_free(tuple(used), previous.reserved.numbers + current.reserved.numbers, start)
