"""Nodes to model: types in their many spellings, and the values that fit them."""

import pytest
from parsing import faults, one_field

from mycelium.schema.errors import ContractError
from mycelium.schema.model import Array, ByteArray, Bytes, EnumDef, Map, MessageRef, Rule, Scalar, String, Vec
from mycelium.schema.parse import parse_text

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
