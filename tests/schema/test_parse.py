"""Nodes to model: what whole files mean, their faults, and how long they take."""

import sys
import time
from pathlib import Path

import pytest
import yaml
from parsing import faults, one_field

from mycelium.schema.errors import ContractError
from mycelium.schema.model import MISSING, ByteArray, Bytes, Reserved, Rule
from mycelium.schema.parse import parse, parse_document, parse_text
from mycelium.schema.source import read_yaml

TESTS = Path(__file__).parent.parent


# --- whole files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted((TESTS / "contracts").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_files_of_the_rust_mycelium_load(file):
    schema = parse_text(file.read_bytes(), str(file))
    assert schema.messages
    assert schema.source == str(file)


def test_every_file_of_the_compatibility_cases_loads():
    cases = yaml.load((TESTS / "compat" / "cases.yaml").read_text(), Loader=yaml.CSafeLoader)["cases"]
    texts = [text for case in cases for text in (case["old"], case["new"], *case.get("history", ()))]
    assert len(texts) == 187
    for text in texts:
        assert parse_text(text).messages


def test_the_core_protocol_loads_only_as_such():
    text = (TESTS.parent / "mycelium" / "wire" / "core.yaml").read_text()
    assert min(parse_text(text, core=True).by_id) == 1
    assert all("belong to the core protocol" in fault for fault in faults(text))


def test_the_defi_file_means_what_it_says():
    schema = parse_text((TESTS / "contracts" / "mycelium-defi.yaml").read_bytes(), "defi")
    assert (schema.id, schema.version, schema.min_compatible) == (0x4D594345, 1, 1)
    assert schema.tag_ranges == {"core": (1, 999), "app": (1000, 49999), "experimental": (50000, 65535)}
    assert list(schema.messages) == ["InstrumentMeta", "PoolStateUpdate", "ArbitrageSignal"]
    update = schema.messages["PoolStateUpdate"]
    assert (update.type_id, update.domain, update.topic, update.schema_version) == (
        1011,
        "MarketData",
        "market-data",
        "v3",
    )
    assert update.extras == {
        "rust_type": "PoolStateUpdate",
        "rkyv": True,
        "required_prior_messages": ["InstrumentMeta"],
    }
    assert [(one.name, one.tag, str(one.type), one.optional) for one in update.fields] == [
        ("pool_address", 1, "[u8; 20]", False),
        ("venue_id", 2, "u16", False),
        ("reserve0", 3, "U256", True),
        ("reserve1", 4, "U256", True),
        ("liquidity", 5, "U256", True),
        ("sqrt_price_x96", 6, "U256", True),
        ("tick", 7, "i32", True),
        ("block_number", 8, "u64", False),
    ]
    assert update.fields[1].rules == (Rule("known_venue", argument=True),)
    signal = schema.messages["ArbitrageSignal"]
    assert (signal.sensitivity, signal.log_payload, signal.redacted) == (
        "financially_destructive_if_leaked",
        False,
        True,
    )
    assert schema.aliases["Address"].type == ByteArray(20)
    assert schema.aliases["Address"].extras == {"rust_type": "[u8; 20]", "serialization": "rkyv"}
    assert schema.extras["types"]["U256"]["rust_type"] == "primitive_types::U256"
    assert schema.domains["MarketData"].type_range == (1, 19)
    assert schema.domains["Signal"].extras == {"security": "high_sensitivity"}
    assert (schema.domains["Signal"].latency_slo_p99_ms, schema.domains["Signal"].error_rate_slo_pct) == (50, 0.01)
    assert schema.invariants[0]["enforced_by"] == ["contract_test"]


def test_a_whole_message_means_what_it_says():
    schema = parse_text(
        """
schema: {id: 7, version: 3, min_compatible: 2, reserved: {type_ids: [1041, 1050-1059], names: [Old]}, x-team: a}
messages:
  Order:
    tlv_type: 1040
    domain: Execution
    description: one order
    schema_version: v2
    reserved: {tags: [6, 9-12], names: [old_price]}
    renamed_from: Trade
    deprecated: true
    sensitivity: {level: 2}
    log_payload: true
    key: [id, venue]
    retain: last
    qos: {on_lag: latest}
    x-owner: desk
    fields:
      id: {type: u64, tag: 7, description: unique, x-unit: none}
      venue: {type: u16, default: 3, deprecated: true, renamed_from: place, validation: [{min: 1}, {known: {a: 1}}]}
""",
        "orders.yaml",
    )
    assert (schema.id, schema.version, schema.min_compatible) == (7, 3, 2)
    assert schema.reserved == Reserved(((1041, 1041), (1050, 1059)), ("Old",))
    assert str(schema.location) == "orders.yaml:2:1"
    assert {name: str(place) for name, place in schema.locations.items()} == {
        "id": "orders.yaml:2:14",
        "version": "orders.yaml:2:26",
        "min_compatible": "orders.yaml:2:45",
        "reserved": "orders.yaml:2:58",
    }
    order = schema.messages["Order"]
    assert str(order.location) == "orders.yaml:4:3"
    assert order.reserved == Reserved(((6, 6), (9, 12)), ("old_price",))
    assert (order.renamed_from, order.deprecated, order.sensitivity) == ("Trade", True, {"level": 2})
    assert (order.log_payload, order.key, order.retain, order.on_lag) == (True, ("id", "venue"), "last", "latest")
    assert order.extras == {"x-owner": "desk"}
    first, second = order.fields
    assert (first.tag, first.position, first.explicit, first.extras) == (7, 1, True, {"x-unit": "none"})
    assert (second.tag, second.position, second.explicit, second.default) == (2, 2, False, 3)
    assert (second.deprecated, second.renamed_from, second.required) == (True, "place", False)
    assert second.rules == (Rule("min", 1), Rule("known", {"a": 1}))
    assert str(second.rules[0].location) == "orders.yaml:20:91"


def test_what_a_file_leaves_out_has_its_default():
    schema = parse_text("messages: {M: {tlv_type: 1001, fields: {}}}")
    assert (schema.id, schema.version, schema.min_compatible) == (0x4D594345, 1, 1)
    message = schema.messages["M"]
    assert (message.domain, message.topic, message.description, message.fields) == (None, "default", "", ())
    assert (message.redacted, message.log_payload, message.key, message.on_lag) == (False, None, (), None)
    field = one_field("u8")
    assert (field.optional, field.default, field.required) == (False, MISSING, True)


def test_version_0_is_compatible_with_version_0():
    schema = parse_text("schema: {id: 1, version: 0}")
    assert (schema.version, schema.min_compatible) == (0, 0)


def test_sections_without_a_value_are_empty():
    text = "schema:\ntag_ranges:\ntypes:\nmessages:\ndomains:\ninvariants:\n"
    assert parse_text(text) == parse_text("x-nothing: true")


def test_keys_without_a_value_that_rust_takes_for_absent_are_absent():
    text = """
schema: {id: 5, version: 1, min_compatible: }
tag_ranges: {experimental: }
messages:
  M: {tlv_type: 1001, sensitivity: , log_payload: ~, fields: {f: {type: u8, optional: null}}}
"""
    assert parse_text(text) == parse_text("schema: {id: 5}\nmessages: {M: {tlv_type: 1001, fields: {f: {type: u8}}}}")


def test_tag_ranges_that_a_file_covers_replace_the_defaults():
    assert parse_text("tag_ranges: {app: 1000-59999}").tag_ranges == {"core": (1, 999), "app": (1000, 59999)}
    assert parse_text("tag_ranges: {experimental: 60000-65535}").tag_ranges == {
        "core": (1, 999),
        "app": (1000, 49999),
        "experimental": (60000, 65535),
    }


def test_nodes_text_and_bytes_give_equal_models():
    text = "messages: {M: {tlv_type: 1001, fields: {f: {type: u8}}}}"
    assert parse(read_yaml(text, "f"), "f") == parse(text) == parse_text(text.encode())


def test_a_message_may_stand_behind_an_alias_of_yaml():
    schema = parse_text("x-fields: &common {id: {type: u64}}\nmessages: {M: {tlv_type: 1001, fields: *common}}")
    assert schema.messages["M"].fields[0].name == "id"


# --- faults ----------------------------------------------------------------------------------------------------------


def test_reading_ends_after_a_thousand_faults():
    told = faults("".join(f"k{number}: 1\n" for number in range(5000)))
    assert len(told) == 1001
    assert told[-1] == "f:1000:1: reading ends here: too much is wrong; repair the faults above first"


def test_an_error_shows_and_holds_all_faults():
    with pytest.raises(ContractError) as caught:
        parse_text("messages: {M: {tlv_type: 1, fields: {f: {type: u8, optinal: true}}}}", "f")
    assert len(caught.value.faults) == 2
    assert str(caught.value) == "\n".join(map(str, caught.value.faults))
    assert caught.value.faults[1].path == "messages.M.fields.f.optinal"
    assert caught.value.faults[1].remedy == "did you mean 'optional'?"


def test_long_words_of_a_file_are_cut_in_its_faults():
    (told,) = faults(f"'{'k' * 10_000}': 1\n")
    assert len(told) < 400


def test_text_of_a_file_is_escaped_in_its_faults():
    (told,) = faults('"\\e[31mred": 1\n')
    assert "\x1b" not in told


def test_a_document_of_a_peer_has_faults_like_a_file():
    with pytest.raises(ContractError) as caught:
        parse_document(b'{"messages":{"M":{"tlv_type":5,"fields":{}}}}', "peer 7")
    assert str(caught.value).startswith("peer 7:1:1: messages.M.tlv_type: the type ids 1 to 999 belong to the core")
    with pytest.raises(ContractError, match="instead of a mapping"):
        parse_document(b"[]", "peer 7")


# --- speed -----------------------------------------------------------------------------------------------------------


def test_a_file_of_a_thousand_messages_loads_in_no_time():
    fields = "".join(f"      field_{each}: {{type: u64, description: the field number {each}}}\n" for each in range(6))
    text = "messages:\n" + "".join(
        f"  Message{each}:\n    tlv_type: {1000 + each}\n    description: message {each}\n    fields:\n{fields}"
        for each in range(1000)
    )
    began = time.process_time()
    assert len(parse_text(text).messages) == 1000
    # About 0.3 on a machine at rest; whoever traces the test, such as coverage, makes it several times slower.
    assert time.process_time() - began < (1.0 if sys.gettrace() is None else 10.0)


def test_figures_of_a_domain_that_are_no_numbers_are_kept_for_tools():
    domain = parse_text("domains: {D: {latency_slo_p99_ms: 10ms, error_rate_slo_pct: true}}").domains["D"]
    assert (domain.latency_slo_p99_ms, domain.error_rate_slo_pct) == (None, None)
    assert domain.extras == {"latency_slo_p99_ms": "10ms", "error_rate_slo_pct": True}


def test_built_in_types_are_found_in_any_form_that_python_compares():
    assert one_field("Vec<\uff55\uff18>").type == Bytes()
