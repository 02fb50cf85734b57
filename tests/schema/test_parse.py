"""Nodes to model: what each part of the contract language means."""

import sys
import time
from pathlib import Path

import pytest
import yaml

from mycelium.schema.errors import ContractError
from mycelium.schema.model import (
    MISSING,
    Array,
    ByteArray,
    Bytes,
    EnumDef,
    Map,
    MessageRef,
    Reserved,
    Rule,
    Scalar,
    String,
    Vec,
)
from mycelium.schema.parse import parse, parse_document, parse_text
from mycelium.schema.source import read_yaml

TESTS = Path(__file__).parent.parent


def one_field(spelling, extra="", types=""):
    """The only field of a file that has little else."""
    text = f"types: {{{types}}}\nmessages:\n  M: {{tlv_type: 1001, fields: {{f: {{type: '{spelling}'{extra}}}}}}}\n"
    return parse_text(text).messages["M"].fields[0]


def faults(text, **options):
    with pytest.raises(ContractError) as caught:
        parse_text(text, "f", **options)
    return [str(fault) for fault in caught.value.faults]


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


# --- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelling", "type_"),
    [
        ("u8", Scalar("u8")),
        ("i128", Scalar("i128")),
        ("U256", Scalar("U256")),
        ("bool", Scalar("bool")),
        ("String", String()),
        ("bytes", Bytes()),
        ("Vec<u8>", Bytes()),
        ("Vec< u8 >", Bytes()),
        (" Vec <\t[ u8 ;20 ] > ", Vec(ByteArray(20))),
        ("[u8; 6]", ByteArray(6)),
        ("[[u8; 4]; 3]", Array(ByteArray(4), 3)),
        ("[bool; 2]", Array(Scalar("bool"), 2)),
        ("Vec<Vec<String>>", Vec(Vec(String()))),
        ("Map<String, Vec<u32>>", Map(String(), Vec(Scalar("u32")))),
        ("Map<[u8; 4],M>", Map(ByteArray(4), MessageRef("M"))),
        ("Map<U256, bool>", Map(Scalar("U256"), Scalar("bool"))),
        ("[u8; 67108864]", ByteArray(64 * 1024 * 1024)),
        ("Vec<" * 16 + "u16" + ">" * 16, None),
    ],
)
def test_types_have_many_spellings(spelling, type_):
    field = one_field(spelling, ", optional: true")
    assert type_ is None or field.type == type_
    assert field.spelling == spelling


@pytest.mark.parametrize(
    ("spelling", "told"),
    [
        ("", "ends where a type should be"),
        ("Vec", "the type 'Vec' ends where '<' should be"),
        ("Vec<>", "has '>' where a type should be"),
        ("Vec[u8]", "has '[' where '<' should be"),
        ("Map<u8>", "has '>' where ',' should be"),
        ("[u8]", "has ']' where ';' should be"),
        ("[u8; 67108865]", "an array of 67,108,865 bytes is larger than any payload"),
        ("[u8; 1_0]", "cannot have '1_0' elements"),
        ("[u8; -1]", "cannot have '-1' elements"),
        ("[u8; 9999999999]", "cannot have '9999999999' elements"),
        ("[M; 2]", "needs a T of fixed size, which M is not; use Vec<M>"),
        ("HashMap<u8, u8>", "'HashMap' takes no other type; write Map<K, V>"),
        ("Address<u8>", "takes no other type; only Vec<T> and Map<K, V> do"),
        ("string", "did you mean 'String'?"),
        ("U8", "did you mean 'u8'?"),
        ("Unheard", "there is no type 'Unheard'; declare it under `types`"),
        ("int", "there is no type 'int'; write i64"),
        ("Map<M, u8>", "M cannot be the key of a Map"),
        ("[[u8; 2]; 2", "ends where ']' should be"),
        ("x" * 5000, "a type of 5000 characters is too long"),
    ],
)
def test_what_is_no_type_is_told(spelling, told):
    with pytest.raises(ContractError) as caught:
        one_field(spelling)
    assert told in str(caught.value)
    assert caught.value.faults[0].path == "messages.M.fields.f.type"


def test_aliases_stand_for_types_and_for_aliases_in_any_order():
    types = "A: {type: 'Vec<B>'}, B: {rust_type: '[u8; 20]'}, C: {type: A, rust_type: nonsense}"
    assert one_field("C", types=types).type == Vec(ByteArray(20))
    assert one_field("Vec<Byte>", types="Byte: {type: u8}").type == Bytes()


def test_an_alias_named_like_a_built_in_type_changes_nothing():
    schema = parse_text(
        "types: {u8: {type: u16}, Vec: {rust_type: x}}\nmessages: {M: {tlv_type: 1001, fields: {f: {type: u8}}}}"
    )
    assert schema.messages["M"].fields[0].type == Scalar("u8")
    assert schema.extras["types"] == {"u8": {"type": "u16"}, "Vec": {"rust_type": "x"}}


def test_an_alias_of_a_foreign_rust_type_is_kept_as_long_as_nobody_uses_it():
    schema = parse_text("types: {Price: {rust_type: 'rust_decimal::Decimal', description: exact}}")
    assert not schema.aliases
    assert schema.extras["types"] == {"Price": {"rust_type": "rust_decimal::Decimal", "description": "exact"}}


def test_users_of_a_faulty_alias_are_not_faults_of_their_own():
    text = "types: {A: {type: Nope}, B: {type: A}, C: {}, D: 5}\nmessages: {M: {tlv_type: 1001, fields: "
    text += "{a: {type: A}, b: {type: B, validation: [{min: 1}]}, c: {type: C}, d: {type: 'Vec<D>', default: 5}}}}"
    assert [told.partition(" ")[0] for told in faults(text)] == ["f:1:19:", "f:1:40:", "f:1:50:"]


def test_chains_of_aliases_end_after_sixteen():
    def chain(count):
        names = [f"A{number}" for number in range(count)]
        inner = [*names[1:], "u8"]
        return ", ".join(f"{name}: {{type: {target}}}" for name, target in zip(names, inner, strict=True))

    assert one_field("A0", types=chain(16)).type == Scalar("u8")
    for text in (chain(18), ", ".join(reversed(chain(18).split(", ")))):
        assert any("aliases of aliases are more than 16 deep" in told for told in faults(f"types: {{{text}}}"))


def test_nesting_is_counted_through_aliases():
    inner = "Deep: {type: '" + "Vec<" * 10 + "u16" + ">" * 10 + "'}"
    assert one_field("Vec<" * 6 + "Deep" + ">" * 6, types=inner)
    with pytest.raises(ContractError, match="nested more than 16 deep"):
        one_field("Vec<" * 7 + "Deep" + ">" * 7, types=inner)


def test_enums_keep_names_numbers_and_places():
    schema = parse_text(
        "types:\n  Side: {enum: {buy: 1, sell: -2}, repr: i16, open: false, description: way, rust_type: S}\n"
    )
    side = schema.enums["Side"]
    assert side == EnumDef("Side", {"buy": 1, "sell": -2}, "i16", open=False, description="way")
    assert side.extras == {"rust_type": "S"}
    assert {name: str(place) for name, place in side.member_locations.items()} == {
        "buy": "<contracts>:2:17",
        "sell": "<contracts>:2:25",
    }
    assert one_field("Vec<Side>", types="Side: {enum: {a: 0}}").type == Vec(EnumDef("Side", {"a": 0}))


def test_enum_members_may_have_the_names_of_attributes_of_numbers():
    assert (
        one_field("E", types="E: {enum: {name: 0, value: 1, real: 2, _: 3, __x: 4, no: 5}}").type.members["value"] == 1
    )


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelling", "default", "kept"),
    [
        ("u8", "255", 255),
        ("i8", "-128", -128),
        ("U256", str(2**256 - 1), 2**256 - 1),
        ("u64", "0xff", 255),
        ("f64", "1", 1),
        ("f64", "1.5", 1.5),
        ("f64", ".inf", "Infinity"),
        ("f64", "-.inf", "-Infinity"),
        ("f64", ".nan", "NaN"),
        ("f32", "Infinity", "Infinity"),
        ("bool", "false", False),
        ("String", "no", "no"),
        ("String", '""', ""),
        ("bytes", "'0xABcd'", "0xabcd"),
        ("bytes", "'0x'", "0x"),
        ("[u8; 2]", "'0x0102'", "0x0102"),
        ("[u16; 2]", "[1, 2]", [1, 2]),
        ("Vec<String>", "[]", []),
        ("Side", "sell", "sell"),
        ("Side", "2", "sell"),
        ("Side", "77", 77),
        ("Map<u8, Side>", "{'7': 1}", {"7": "buy"}),
        ("Map<Side, bool>", "{'1': true, sell: false, '9': true}", {"buy": True, "sell": False, "9": True}),
        ("Map<bool, u8>", "{'true': 1}", {"true": 1}),
        ("Map<[u8; 1], u8>", "{'0xFF': 1}", {"0xff": 1}),
        ("Leg", "{raw: '0xAA', size: ~}", {"raw": "0xaa"}),
        ("Vec<Leg>", "[{raw: '0x', size: 3}]", [{"raw": "0x", "size": 3}]),
    ],
)
def test_defaults_are_kept_in_one_spelling(spelling, default, kept):
    text = f"""
types: {{Side: {{enum: {{buy: 1, sell: 2}}}}}}
messages:
  Leg:
    tlv_type: 1002
    fields: {{raw: {{type: bytes}}, size: {{type: u8, optional: true}}, tip: {{type: u8, default: 0}}}}
  M: {{tlv_type: 1001, fields: {{f: {{type: '{spelling}', default: {default}}}}}}}
"""
    found = parse_text(text).messages["M"].fields[0].default
    assert found == kept
    assert type(found) is type(kept)


def test_one_of_is_kept_in_one_spelling():
    types = "Side: {enum: {buy: 1, sell: 2}}"
    assert one_field("Side", ", validation: [{one_of: [1, sell]}]", types).rules == (Rule("one_of", ["buy", "sell"]),)
    assert one_field("bytes", ", validation: [{one_of: ['0xAA']}]").rules == (Rule("one_of", ["0xaa"]),)


def test_rules_are_checked_in_the_fields_of_every_message():
    text = "messages: {M: {tlv_type: 1001, fields: {f: {type: String, validation: ["
    text += ", ".join(f"{{pattern: '{'x' * 1000}{number}'}}" for number in range(70)) + "]}}}}"
    told = faults(text)
    assert len(told) == 5
    assert "the patterns of the file have more than 65,536 characters together" in told[0]


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
