"""Rules: what each lets through, at its edges."""

import math
import warnings

import pytest

from mycelium.schema.errors import ContractWarning
from mycelium.schema.model import Rule
from mycelium.schema.parse import parse_text
from mycelium.schema.rules import BUILTIN, checks, is_custom, is_monotonic, register_rule, rule, warn_unenforced

TYPES = "types: {Side: {enum: {buy: 1, sell: 2}}}"


def field(spelling, *rules):
    said = f"{{type: '{spelling}', validation: [{', '.join(rules)}]}}"
    text = f"{TYPES}\nmessages: {{M: {{tlv_type: 1001, fields: {{f: {said}}}}}}}"
    return parse_text(text).messages["M"].fields[0]


def keeps(spelling, said, value):
    return all(holds(value) for _, holds in checks(field(spelling, said)))


@pytest.mark.parametrize(
    ("spelling", "said", "kept", "broken"),
    [
        ("u8", "{min: 3}", [3, 4, 255], [0, 2]),
        ("u8", "{max: 3.5}", [0, 3], [4]),
        ("i64", "{min: -1}", [-1, 0], [-2]),
        ("U256", f"{{max: {2**255}}}", [2**255], [2**255 + 1]),
        ("u64", "{min: 9007199254740993}", [9007199254740993], [9007199254740992]),
        ("f64", "{min: 0.0}", [0.0, -0.0, math.inf, 5], [-1e-300, math.nan]),
        ("f64", "{max: 1}", [1.0, -math.inf], [math.nextafter(1, 2), math.nan, math.inf]),
        ("f32", "{max: 0.1}", [0.1, 0.10000000149011612], [0.10000000894069672]),
        ("f32", "{min: 0.7}", [0.7, 0.699999988079071], [0.6999999284744263]),
        ("String", "{min_length: 2}", ["ab", "ž"], ["a", ""]),
        ("String", "{max_length: 4}", ["", "abcd", "žž", "🍄"], ["abcde", "žža", "🍄a"]),
        ("String", "{max_length: 0}", [""], ["a"]),
        ("bytes", "{min_length: 2}", [b"ab"], [b"a"]),
        ("bytes", "{max_length: 2}", [b"", b"ab"], [b"abc"]),
        ("Vec<String>", "{min_length: 1}", [[""]], [[]]),
        ("Vec<String>", "{max_length: 1}", [[], ["abc"]], [["", ""]]),
        ("Map<u8, u8>", "{max_length: 1}", [{}, {1: 1}], [{1: 1, 2: 2}]),
        ("String", "{not_empty: true}", ["a", "\x00"], [""]),
        ("Vec<u16>", "{not_empty: true}", [[0]], [[]]),
        ("Map<u8, u8>", "{not_empty: true}", [{0: 0}], [{}]),
        ("u8", "{not_zero: true}", [1], [0]),
        ("f64", "{not_zero: true}", [0.1, math.nan], [0.0, -0.0]),
        ("[u8; 3]", "{not_zero: true}", [b"\x00\x00\x01"], [b"\x00\x00\x00"]),
        ("bytes", "{not_zero: true}", [b"\x01", b"0"], [b"", b"\x00"]),
        ("String", "{no_0x_prefix: true}", ["", "0", "x0x", " 0x"], ["0x", "0xab", "0XAB"]),
        ("String", "{pattern: '[a-z]+|x9'}", ["a", "abc", "x9"], ["", "a1", "a\n", "x9a", " a"]),
        ("String", "{pattern: '(?s).*'}", ["", "x" * 4096, "ž" * 2048], ["x" * 4097, "ž" * 2049]),
        ("u8", "{one_of: [1, 0x03]}", [1, 3], [0, 2]),
        ("Side", "{one_of: [buy, 7]}", [1, 7], [2]),
        ("bytes", "{one_of: ['0xAB', '0x']}", [b"\xab", b""], [b"\x00"]),
        ("bool", "{one_of: [true]}", [True], [False]),
        ("f64", "{one_of: [1, 2.5, .inf]}", [1.0, 2.5, math.inf], [1.5, math.nan]),
        ("f32", "{one_of: [0.1]}", [0.1, 0.10000000149011612], [0.2]),
        ("String", "{one_of: [a, '']}", ["a", ""], ["b"]),
    ],
)
def test_a_rule_lets_through_what_it_says(spelling, said, kept, broken):
    assert [value for value in kept if not keeps(spelling, said, value)] == []
    assert [value for value in broken if keeps(spelling, said, value)] == []


@pytest.mark.parametrize(
    "said", ["{not_empty: false}", "{no_0x_prefix: false}", "{monotonic: false}", "{own_rule: false}"]
)
def test_rules_that_are_switched_off_are_not_run(said):
    spelling = "u8" if "monotonic" in said else "String"
    assert checks(field(spelling, said)) == ()


def test_monotonic_is_left_to_who_knows_the_publisher():
    one = field("u64", "{monotonic: true}")
    assert checks(one) == ()
    assert is_monotonic(one)
    assert not is_monotonic(field("u64", "{monotonic: false}"))
    assert not is_monotonic(field("u64"))


def test_patterns_run_after_the_other_rules_and_custom_rules_last():
    said = ("{own: 1}", "{pattern: 'a*'}", "{max_length: 3}", "{not_empty: true}")
    assert [each.name for each, _ in checks(field("String", *said))] == ["max_length", "not_empty", "pattern", "own"]


def test_each_check_comes_with_its_rule():
    ((said, holds),) = checks(field("u8", "{min: 3}"))
    assert said == Rule("min", 3)
    assert holds(3)


def test_the_table_holds_the_rules_of_the_language():
    assert list(BUILTIN) == [
        *("min", "max", "min_length", "max_length", "not_empty", "not_zero", "pattern", "one_of", "no_0x_prefix"),
        "monotonic",
    ]
    assert is_custom(Rule("known_chain", argument=True))
    assert not is_custom(Rule("min", 1))


# --- custom rules ----------------------------------------------------------------------------------------------------


def test_a_custom_rule_holds_until_somebody_registers_it_and_is_looked_up_each_time():
    ((_, holds),) = checks(field("u32", "{even_number_of: {parts: 2}}"))
    assert holds(3)
    register_rule("even_number_of", lambda value, argument: value % argument["parts"] == 0)
    assert not holds(3)
    assert holds(4)


def test_the_decorator_gives_the_function_back():
    @rule("never_seven")
    def never_seven(value, argument):
        return value != 7 or argument == "unless"

    assert never_seven(7, "unless")
    assert not keeps("u8", "{never_seven: true}", 7)
    assert keeps("u8", "{never_seven: unless}", 7)


def test_a_built_in_rule_cannot_be_replaced():
    with pytest.raises(ValueError, match="'min' is a built-in rule; choose another name"):
        register_rule("min", lambda _value, _argument: True)


def test_a_custom_rule_that_raises_counts_as_broken_and_is_told():
    register_rule("raises", lambda value, _argument: value / 0)
    with pytest.warns(ContractWarning, match="the custom rule 'raises' raised ZeroDivisionError: division by zero"):
        assert not keeps("u8", "{raises: true}", 7)


def test_a_rule_that_nobody_has_registered_is_warned_of_once():
    fields = "a: {type: u8, validation: [{unheard_of: 1}, {off: false}, {min: 1}]}"
    fields += ", b: {type: u8, validation: [{unheard_of: 2}]}"
    text = f"messages: {{M: {{tlv_type: 1001, fields: {{{fields}}}}}}}"
    schema = parse_text(text, "orders.yaml")
    with pytest.warns(ContractWarning) as caught:
        warn_unenforced(schema)
    assert [str(each.message) for each in caught] == [
        "the rule 'unheard_of' of orders.yaml is not enforced; register it with mycelium.rule"
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_unenforced(schema)
        warn_unenforced(parse_text(text))


def test_a_registered_rule_is_not_warned_of():
    register_rule("registered_in_time", lambda _value, _argument: True)
    text = "messages: {M: {tlv_type: 1001, fields: {a: {type: u8, validation: [{registered_in_time: 1}]}}}}"
    warn_unenforced(parse_text(text))
