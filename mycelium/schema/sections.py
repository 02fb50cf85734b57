"""What each section of a contracts file may say: one table a section (contract language, the example and its notes)."""

from typing import Final

from mycelium.schema.faults import Wrong, shortened
from mycelium.schema.model import INTEGERS, MAX_FIELD_TAG, Rule
from mycelium.schema.nodes import MappingNode, Node, ScalarNode, SequenceNode, describe, to_json
from mycelium.schema.readers import (
    Key,
    Keys,
    boolean,
    choice,
    integer,
    is_null,
    name,
    node_itself,
    not_empty_text,
    number_range,
    ranges,
    reserved_names,
    text,
)

__all__ = [
    "ALIAS",
    "DOMAIN",
    "ENUM",
    "FIELD",
    "FILE",
    "INVARIANT",
    "MESSAGE",
    "MESSAGE_RESERVED",
    "QOS",
    "SCHEMA",
    "SCHEMA_RESERVED",
    "TAG_RANGES",
]

MAX_U16: Final = 0xFFFF
MAX_U32: Final = 0xFFFF_FFFF
LAG_POLICIES: Final = ("drop_oldest", "drop_newest", "latest", "block", "reject", "disconnect")

_KEPT: Final = frozenset(
    {
        "enforced_by",
        "error_rate_slo_pct",
        "latency_slo_p99_ms",
        "required_prior_messages",
        "rkyv",
        "rust_type",
        "security",
        "serialization",
    }
)


def _type(node: Node) -> str:
    if isinstance(node, SequenceNode | MappingNode):
        problem = f"must be the spelling of a type, not {describe(node)}"
        raise Wrong(problem, 'put it in quotes, such as "[u8; 20]"')
    return text(node)


def _default(node: Node) -> object:
    if is_null(node):
        raise Wrong("None is no default", "use `optional: true` and leave the default out")
    return to_json(node)


def _names(node: Node) -> tuple[str, ...]:
    if isinstance(node, ScalarNode):
        return (name(node),)
    if isinstance(node, SequenceNode) and node.items:
        return tuple(name(item) for item in node.items)
    raise Wrong(f"must be a field's name or a list of them, not {describe(node)}", "write it as [venue, symbol]")


def _rules(node: Node) -> tuple[Rule, ...]:
    if not isinstance(node, SequenceNode):
        raise Wrong(f"must be a list of rules, not {describe(node)}", "write it as [{min: 1}, {max: 30}]")
    return tuple(_rule(item) for item in node.items)


def _rule(node: Node) -> Rule:
    if not isinstance(node, MappingNode) or len(node.items) != 1:
        what = "a mapping of several" if isinstance(node, MappingNode) else describe(node)
        raise Wrong(f"a rule is a mapping of one key, not {what}", "write each as `- rule: argument`", node.location)
    key, argument = node.items[0]
    if not str(key.value).strip():
        raise Wrong("a rule needs a name", "write it as `- rule: argument`", key.location)
    if is_null(argument):
        problem = f"the rule {shortened(str(key.value))} has no argument"
        raise Wrong(problem, "write `true` behind it, or what it compares with", key.location)
    return Rule(str(key.value), to_json(argument), key.location)


FILE: Final = Keys(
    "a contracts file",
    {
        "schema": Key("schema", node_itself, nullable=True),
        "tag_ranges": Key("tag_ranges", node_itself, nullable=True),
        "types": Key("types", node_itself, nullable=True),
        "messages": Key("messages", node_itself, nullable=True),
        "domains": Key("domains", node_itself, nullable=True),
        "invariants": Key("invariants", node_itself, nullable=True),
    },
)

SCHEMA: Final = Keys(
    "the schema section",
    {
        "id": Key("id", integer(0, MAX_U32), marked=True),
        "version": Key("version", integer(0, MAX_U16), marked=True),
        "min_compatible": Key("min_compatible", integer(0, MAX_U16), nullable=True, marked=True),
        "reserved": Key("reserved", node_itself, marked=True),
    },
)

SCHEMA_RESERVED: Final = Keys(
    "reserved",
    {"type_ids": Key("numbers", ranges(1, MAX_U16)), "names": Key("names", reserved_names)},
)

TAG_RANGES: Final = Keys(
    "tag_ranges",
    {each: Key(each, number_range(0, MAX_U16), nullable=True, marked=True) for each in ("core", "app", "experimental")},
)

ALIAS: Final = Keys(
    "an alias",
    {"type": Key("type", _type, marked=True), "description": Key("description", text)},
    _KEPT,
)

ENUM: Final = Keys(
    "an enum",
    {
        "enum": Key("enum", node_itself),
        "repr": Key("repr", choice(*(each for each in INTEGERS if each != "U256"))),
        "open": Key("open", boolean),
        "description": Key("description", text),
    },
    _KEPT,
)

MESSAGE: Final = Keys(
    "a message",
    {
        "tlv_type": Key("type_id", integer(1, MAX_U16, "a type id"), marked=True),
        "domain": Key("domain", not_empty_text),
        "description": Key("description", text),
        "schema_version": Key("schema_version", text),
        "reserved": Key("reserved", node_itself, marked=True),
        "renamed_from": Key("renamed_from", name, marked=True),
        "deprecated": Key("deprecated", boolean),
        "sensitivity": Key("sensitivity", to_json, nullable=True),
        "log_payload": Key("log_payload", boolean, nullable=True),
        "key": Key("key", _names, marked=True),
        "retain": Key("retain", choice("last")),
        "qos": Key("qos", node_itself),
        "fields": Key("fields", node_itself, marked=True),
    },
    _KEPT,
)

MESSAGE_RESERVED: Final = Keys(
    "reserved",
    {"tags": Key("numbers", ranges(1, MAX_FIELD_TAG)), "names": Key("names", reserved_names)},
)

QOS: Final = Keys("qos", {"on_lag": Key("on_lag", choice(*LAG_POLICIES))})

FIELD: Final = Keys(
    "a field",
    {
        "type": Key("type", _type, marked=True),
        "tag": Key("tag", integer(1, MAX_FIELD_TAG, "a tag"), marked=True),
        "optional": Key("optional", boolean, nullable=True),
        "default": Key("default", _default, marked=True),
        "validation": Key("rules", _rules),
        "description": Key("description", text),
        "deprecated": Key("deprecated", boolean),
        "renamed_from": Key("renamed_from", name, marked=True),
    },
    _KEPT,
)

DOMAIN: Final = Keys(
    "a domain",
    {
        "type_range": Key("type_range", number_range(0, MAX_U16)),
        "description": Key("description", text),
        "latency_slo_p99_ms": Key("latency_slo_p99_ms", to_json),
        "error_rate_slo_pct": Key("error_rate_slo_pct", to_json),
    },
    _KEPT,
)

INVARIANT: Final = Keys(
    "an invariant",
    {
        "name": Key("name", text),
        "description": Key("description", text),
        "severity": Key("severity", text),
        "enforced_by": Key("enforced_by", to_json),
    },
    _KEPT,
)
