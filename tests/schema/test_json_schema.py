"""The JSON Schema of contracts files says what the loader says, key by key, and takes every file that is one."""

import json
import re
from importlib import resources
from pathlib import Path

import pytest
import strategies
from hypothesis import given, settings

from mycelium.schema import sections
from mycelium.schema.errors import ContractError
from mycelium.schema.model import INTEGERS
from mycelium.schema.names import name_problem
from mycelium.schema.nodes import to_json
from mycelium.schema.parse import parse_text
from mycelium.schema.rules import BUILTIN
from mycelium.schema.source import read_yaml
from mycelium.schema.types import BUILTINS, CONSTRUCTORS

ROOT = Path(__file__).parent.parent.parent
SCHEMA = json.loads(resources.files("mycelium.schema").joinpath("contracts.schema.json").read_text())
DEFS = SCHEMA["$defs"]
TOP = SCHEMA["properties"]


# --- the part of draft 2020-12 that the schema uses -----------------------------------------------------------------

TYPES = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
}


def of_type(argument, value, schema):
    return any(TYPES[name](value) for name in ([argument] if isinstance(argument, str) else argument))


def extra(value, schema):
    """Keys of an object that neither `properties` nor `patternProperties` has."""
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    return [key for key in value if key not in known and not any(re.search(one, key) for one in patterns)]


def more(argument, value, schema):
    if argument is False:
        return not extra(value, schema)
    return all(valid(argument, value[key]) for key in extra(value, schema))


KEYWORDS = {
    "$ref": ("any", lambda to, value, _: valid(DEFS[to.removeprefix("#/$defs/")], value)),
    "type": ("any", of_type),
    "enum": ("any", lambda choices, value, _: any(value == one and type(value) is type(one) for one in choices)),
    "anyOf": ("any", lambda schemas, value, _: any(valid(one, value) for one in schemas)),
    "not": ("any", lambda schema, value, _: not valid(schema, value)),
    "minimum": ("number", lambda limit, value, _: value >= limit),
    "maximum": ("number", lambda limit, value, _: value <= limit),
    "minLength": ("string", lambda limit, value, _: len(value) >= limit),
    "maxLength": ("string", lambda limit, value, _: len(value) <= limit),
    "pattern": ("string", lambda pattern, value, _: re.search(pattern, value) is not None),
    "minItems": ("array", lambda limit, value, _: len(value) >= limit),
    "items": ("array", lambda schema, value, _: all(valid(schema, item) for item in value)),
    "minProperties": ("object", lambda limit, value, _: len(value) >= limit),
    "maxProperties": ("object", lambda limit, value, _: len(value) <= limit),
    "required": ("object", lambda names, value, _: value.keys() >= set(names)),
    "propertyNames": ("object", lambda schema, value, _: all(valid(schema, key) for key in value)),
    "properties": (
        "object",
        lambda known, value, _: all(valid(known[key], item) for key, item in value.items() if key in known),
    ),
    "patternProperties": (
        "object",
        lambda patterns, value, _: all(
            valid(schema, item)
            for pattern, schema in patterns.items()
            for key, item in value.items()
            if re.search(pattern, key)
        ),
    ),
    "additionalProperties": ("object", more),
}
NOTES = {"$schema", "$defs", "title", "description"}


def valid(schema, value):
    """Whether a value keeps a schema; each keyword looks at values of one type, or at all."""
    return all(
        TYPES.get(KEYWORDS[keyword][0], lambda _: True)(value) is False or KEYWORDS[keyword][1](argument, value, schema)
        for keyword, argument in schema.items()
        if keyword not in NOTES
    )


# --- the same keys as the loader's ----------------------------------------------------------------------------------

SECTIONS = [
    (sections.FILE, SCHEMA),
    (sections.SCHEMA, TOP["schema"]),
    (sections.SCHEMA_RESERVED, TOP["schema"]["properties"]["reserved"]),
    (sections.TAG_RANGES, TOP["tag_ranges"]),
    (sections.ALIAS, DEFS["alias"]),
    (sections.ENUM, DEFS["enum"]),
    (sections.MESSAGE, DEFS["message"]),
    (sections.MESSAGE_RESERVED, DEFS["message"]["properties"]["reserved"]),
    (sections.QOS, DEFS["message"]["properties"]["qos"]),
    (sections.FIELD, DEFS["field"]),
    (sections.DOMAIN, TOP["domains"]["additionalProperties"]),
    (sections.INVARIANT, TOP["invariants"]["items"]),
]


def test_every_section_of_the_loader_is_held_against_the_schema():
    tables = {name for name in sections.__all__ if isinstance(getattr(sections, name), sections.Keys)}
    assert tables == {name for name in tables if any(getattr(sections, name) is keys for keys, _ in SECTIONS)}


@pytest.mark.parametrize(("keys", "schema"), SECTIONS, ids=[keys.what for keys, _ in SECTIONS])
def test_a_section_has_the_loaders_keys_and_no_others(keys, schema):
    assert set(schema["properties"]) == {*keys.known, *keys.kept}
    assert schema["additionalProperties"] is False
    assert list(schema["patternProperties"]) == ["^x-"]
    for name, key in keys.known.items():
        assert valid(schema["properties"][name], None) is (key.nullable or key.read is to_json), name


def test_every_key_has_a_description():
    def missing(schema, path):
        for name, one in schema.get("properties", {}).items():
            if not one.get("description", "").endswith("."):
                yield f"{path}.{name}"
        for name, one in schema.items():
            if isinstance(one, dict):
                yield from missing(one, f"{path}.{name}")

    assert list(missing(SCHEMA, "")) == []


def test_choices_rules_types_and_limits_are_the_loaders():
    message, field = DEFS["message"]["properties"], DEFS["field"]["properties"]
    assert message["qos"]["properties"]["on_lag"]["enum"] == list(sections.LAG_POLICIES)
    assert set(DEFS["enum"]["properties"]["repr"]["enum"]) == {*INTEGERS} - {"U256"}
    assert set(DEFS["rule"]["properties"]) == set(BUILTIN)
    assert set(BUILTINS) < set(DEFS["type"]["anyOf"][0]["enum"])
    assert field["tag"]["maximum"] == sections.MAX_FIELD_TAG
    assert TOP["schema"]["properties"]["id"]["maximum"] == sections.MAX_U32
    kept, ours = list(TOP["types"]["patternProperties"])
    for name in (*BUILTINS, *CONSTRUCTORS):
        assert re.search(kept, name)
        assert not re.search(ours, name)


@pytest.mark.parametrize("key", ["type", "tag", "optional", "default", "validation", "description", "renamed_from"])
def test_a_fault_of_the_loaders_readers_is_one_of_the_schema(key):
    for value in ([], {}, [1], {"a": 1}, "", 0, -1, 1.5, True, None, "x y", "Vec<u8>", 2**16, [{"min": 1}], [{}]):
        text = json.dumps({"messages": {"M": {"tlv_type": 1000, "fields": {"f": {"type": "f64", key: value}}}}})
        if not valid(SCHEMA, json.loads(text)):
            with pytest.raises(ContractError):
                parse_text(text)


@pytest.mark.parametrize(
    "name", ["a", "_", "naïve", "číslo", "1a", "a-b", "", "class", "self", "__x", "__x__", "TYPE_ID", "a" * 256, "a b"]
)
def test_names_are_those_of_the_loader(name):
    assert valid(DEFS["name"], name) is (name_problem(name) is None)


# --- files ----------------------------------------------------------------------------------------------------------


def plain(text):
    """A YAML text as the loader reads it."""
    return to_json(read_yaml(text, "contracts.yaml"))


CASES = plain((ROOT / "tests/compat/cases.yaml").read_text())["cases"]
FILES = [ROOT / "contracts.yaml", *sorted((ROOT / "tests/contracts").glob("*.yaml"))]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_real_files_are_valid(file):
    assert valid(SCHEMA, plain(file.read_bytes()))


def test_every_file_of_the_compatibility_cases_is_valid():
    texts = [text for case in CASES for text in (case["old"], case["new"], *case.get("history", ()))]
    assert len(texts) > 150
    assert [text for text in texts if not valid(SCHEMA, plain(text))] == []


@settings(max_examples=30)
@given(strategies.contracts(rules=True))
def test_whatever_the_loader_takes_is_valid(text):
    parse_text(text)
    assert valid(SCHEMA, json.loads(text))


EVERYTHING = """
x-owner: me
schema: {id: 0x4D594345, version: 3, min_compatible: 1, reserved: {type_ids: [1041, 1050-1055], names: [Trade]}}
tag_ranges: {core: 1-999, app: 1000-49999, experimental: null}
types:
  U256: {rust_type: "primitive_types::U256", serialization: rkyv}
  Address: {type: "[u8; 20]", description: an account}
  Hash: {rust_type: "[u8; 32]"}
  Side: {enum: {buy: 1, sell: 2}, repr: u8, open: false}
messages:
  Order:
    tlv_type: 1040
    domain: Execution
    schema_version: v2
    reserved: {tags: [26, 29-32], names: [old_price]}
    renamed_from: Trade
    sensitivity: internal
    log_payload: false
    key: [id, side]
    retain: last
    qos: {on_lag: latest}
    rkyv: true
    fields:
      id: {type: u64, tag: 1, description: unique}
      side: {type: Side}
      price: {type: f64, validation: [{min: 0.0}, {known_chain: {a: 1}}]}
      note: {type: String, optional: true, deprecated: true, validation: [{max_length: 256}, {pattern: "[a-z]+"}]}
      venue: {type: u16, default: 0}
      book: {type: "Map<Side, Vec<[f64; 2]>>"}
      x: {type: Address, x-note: mine}
domains: {Execution: {type_range: 1040-1059, description: orders, latency_slo_p99_ms: 100, security: critical}}
invariants: [{name: one, description: two, severity: error, enforced_by: [validation]}]
"""


def test_a_file_that_uses_every_key_is_valid():
    parse_text(EVERYTHING)
    assert valid(SCHEMA, plain(EVERYTHING))
    assert valid(SCHEMA, {})


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("tlv_type: 1040", "tlv_typ: 1040"),
        ("tlv_type: 1040", "tlv_type: one"),
        ("tlv_type: 1040", "tlv_type: 0"),
        ("    tlv_type: 1040\n", ""),
        ("optional: true", "optinal: true"),
        ("optional: true", "optional: yes"),
        ("optional: true", "optional: 1"),
        ("{type: u64, tag: 1", "{tag: 1"),
        ("type: u64", "type: [u8; 20]"),
        ("type: u64", "type: Option<u64>"),
        ("type: u64", "type: Vec<u64"),
        ("tag: 1,", "tag: 61440,"),
        ("tag: 1,", "tag: '1',"),
        ("[{min: 0.0}, ", "[{min: low}, "),
        ("[{min: 0.0}, ", "[{min: 0.0, max: 1.0}, "),
        ("[{min: 0.0}, ", "[min, "),
        ("validation: [{max_length: 256}", "validation: [{max_length: -1}"),
        ("default: 0", "default: null"),
        ("enum: {buy: 1, sell: 2}", "enum: [buy, sell]"),
        ("enum: {buy: 1, sell: 2}", "enum: {}"),
        ("repr: u8", "repr: f64"),
        ("open: false", "type: u8"),
        ("on_lag: latest", "on_lag: newest"),
        ("retain: last", "retain: all"),
        ("key: [id, side]", "key: []"),
        ("29-32", "29..32"),
        ("version: 3", "version: 70000"),
        ("id: 0x4D594345", "id: MYCE"),
        ("  Order:", "  class:"),
        ("      note:", "      self:"),
        ("x-owner", "owner"),
        ("messages:", "message:"),
        ("severity: error", "severty: error"),
        ("type_range: 1040-1059", "type_range: many"),
        ("app: 1000-49999", "apps: 1000-49999"),
    ],
)
def test_typical_faults_are_found_as_the_loader_finds_them(right, wrong):
    assert right in EVERYTHING
    text = EVERYTHING.replace(right, wrong, 1)
    with pytest.raises(ContractError):
        parse_text(text)
    assert not valid(SCHEMA, plain(text))
