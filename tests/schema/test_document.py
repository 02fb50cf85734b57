"""The contracts document and the digest: byte for byte those of the wire protocol, and stable under reading back."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from strategies import contracts

from mycelium.schema.document import digest, document, document_bytes, reduced_text
from mycelium.schema.parse import parse_document, parse_text

TESTS = Path(__file__).parent.parent
ROWS = yaml.safe_load((TESTS / "vectors" / "digest.yaml").read_text())["rows"]

WHOLE = """
schema: {id: 5, version: 3, min_compatible: 2, reserved: {type_ids: [1041, 1050-1059], names: [Old]}, x-team: a}
tag_ranges: {core: 1-899, app: 1000-59999}
types:
  Address: {type: "[u8; 20]"}
  Side: {enum: {sell: 2, buy: 1}, repr: i16, open: false, description: which way, x-a: 1}
messages:
  Order:
    tlv_type: 1040
    domain: Execution
    description: "ž \\" \\u2028 \\x7f"
    schema_version: v2
    reserved: {tags: [6, 9-12], names: [old_price]}
    renamed_from: Trade
    deprecated: true
    sensitivity: [1, {b: 2, a: .inf}]
    log_payload: true
    key: [who, side]
    retain: last
    qos: {on_lag: latest}
    rkyv: true
    fields:
      who: {type: Address, description: d, renamed_from: w, deprecated: true, rkyv: true}
      side: {type: Side, optional: true, default: 2, validation: [{one_of: [2]}, {min_sides: {b: 1, a: 2}}]}
      price: {type: f64, default: 1.0e+22, validation: [{min: 0.10}, {max: 1e100}]}
  Empty: {tlv_type: 1042, fields: {}}
domains: {Execution: {description: x}}
invariants: [{name: n}]
"""


@pytest.mark.parametrize("row", ROWS, ids=["small", "large"])
def test_documents_and_digests_are_those_of_the_protocol(row):
    schema = parse_text(row["contracts"])
    assert document(schema) == json.loads(row["document"])
    assert document_bytes(schema).decode() == row["document"]
    assert reduced_text(schema) == row["reduced"]
    assert digest(schema) == schema.digest == row["digest"]


@pytest.mark.parametrize("row", ROWS, ids=["small", "large"])
def test_a_document_has_the_digest_of_what_it_was_made_from(row):
    received = parse_document(row["document"].encode(), "peer")
    assert received.digest == row["digest"]
    assert document_bytes(received).decode() == row["document"]


def test_a_document_says_all_that_counts_and_no_more():
    schema = parse_text(WHOLE)
    assert document_bytes(schema).decode() == (
        '{"schema":{"id":5,"version":3,"min_compatible":2,"reserved":{"type_ids":[1041,"1050-1059"],"names":["Old"]}},'
        '"tag_ranges":{"core":"1-899","app":"1000-59999"},'
        '"types":{"Side":{"enum":{"sell":2,"buy":1},"repr":"i16","open":false,"description":"which way"}},'
        '"messages":{"Order":{"tlv_type":1040,"domain":"Execution","description":"ž \\" \u2028 \x7f",'
        '"renamed_from":"Trade",'
        '"reserved":{"tags":[6,"9-12"],"names":["old_price"]},"deprecated":true,"sensitivity":[1,{"b":2,"a":"Infinity"}],'
        '"log_payload":true,"key":["who","side"],"retain":"last","qos":{"on_lag":"latest"},'
        '"fields":{"who":{"type":"[u8; 20]","tag":1,"description":"d","deprecated":true,"renamed_from":"w"},'
        '"side":{"type":"Side","tag":2,"optional":true,"default":"sell",'
        '"validation":[{"one_of":["sell"]},{"min_sides":{"b":1,"a":2}}]},'
        '"price":{"type":"f64","tag":3,"default":1e+22,"validation":[{"min":0.1},{"max":1e+100}]}}},'
        '"Empty":{"tlv_type":1042,"fields":{}}}}'
    )


def test_the_reduced_text_is_sorted_and_says_only_what_decides_bytes_meaning_and_redaction():
    schema = parse_text(WHOLE)
    assert reduced_text(schema) == (
        '{"messages":{"Empty":{"fields":{},"tlv_type":1042},"Order":{"domain":"Execution","fields":{'
        '"price":{"default":1e+22,"tag":3,"type":"f64","validation":[{"max":1e+100},{"min":0.1}]},'
        '"side":{"default":"sell","optional":true,"tag":2,"type":"Side",'
        '"validation":[{"min_sides":{"a":2,"b":1}},{"one_of":["sell"]}]},'
        '"who":{"tag":1,"type":"[u8; 20]"}},"log_payload":true,'
        '"sensitivity":[1,{"a":"Infinity","b":2}],"tlv_type":1040}},'
        '"schema":{"id":5},"types":{"Side":{"enum":{"buy":1,"sell":2},"open":false,"repr":"i16"}}}'
    )
    assert digest(schema) == hashlib.sha256(reduced_text(schema).encode()).hexdigest()


def test_a_document_read_back_is_the_same_document():
    schema = parse_text(WHOLE)
    received = parse_document(document_bytes(schema), "peer")
    assert document(received) == document(schema)
    assert received.messages["Order"].key == ("who", "side")
    assert received.tag_ranges == schema.tag_ranges


def test_a_schema_without_messages_has_a_document():
    schema = parse_text("schema: {id: 5}")
    assert document_bytes(schema) == b'{"schema":{"id":5,"version":1,"min_compatible":1}}'
    assert reduced_text(schema) == '{"schema":{"id":5}}'
    assert parse_document(document_bytes(schema), "peer") == schema


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("description: d", "description: e", True),
        ("version: 3", "version: 4", True),
        ("renamed_from: Trade", "renamed_from: Swap", True),
        ("{on_lag: latest}", "{on_lag: block}", True),
        ("retain: last", "x-retain: last", True),
        ("deprecated: true, rkyv: true", "deprecated: false", True),
        ("type: Address", "type: '[ u8;20 ]'", True),
        ("[{min: 0.10}, {max: 1e100}]", "[{max: 1e100}, {min: 0.1}]", True),
        ("id: 5", "id: 6", False),
        ("domain: Execution", "domain: execution", False),
        ("log_payload: true", "log_payload: false", False),
        ("open: false", "open: true", False),
        ("buy: 1", "buy: 3", False),
        ("repr: i16", "repr: u16", False),
        ("default: 2", "default: 1", False),
        ("optional: true", "optional: false", False),
        ("{min: 0.10}", "{min: 0.11}", False),
        ("price: {type: f64,", "price: {type: f64, tag: 5,", False),
    ],
)
def test_the_digest_changes_with_what_counts_and_with_nothing_else(before, after, same):
    text = WHOLE
    assert before in text
    assert (parse_text(text.replace(before, after)).digest == parse_text(text).digest) is same


@pytest.mark.parametrize("file", sorted((TESTS / "contracts").glob("*.yaml")), ids=lambda file: file.stem)
def test_real_files_survive_the_way_through_a_document(file):
    schema = parse_text(file.read_bytes(), str(file))
    received = parse_document(document_bytes(schema), "peer")
    assert received.digest == schema.digest
    assert document(received) == document(schema)


@given(contracts(rules=True))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_schema_survives_the_way_through_its_document(text):
    schema = parse_text(text)
    received = parse_document(document_bytes(schema), "peer")
    assert received.digest == schema.digest
    assert document(received) == document(schema)
    assert [one.type for each in received.messages.values() for one in each.fields] == [
        one.type for each in schema.messages.values() for one in each.fields
    ]
