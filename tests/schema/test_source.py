"""Text to nodes: places, plain scalars by YAML 1.2, limits, and everything that a hostile text may try."""

import math
import sys
import time
from contextlib import suppress

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mycelium.schema.errors import ContractError
from mycelium.schema.json_source import read_json
from mycelium.schema.nodes import Limits, MappingNode, ScalarNode, SequenceNode, to_json
from mycelium.schema.source import read_yaml

MIB = 1024 * 1024


def read(text, **limits):
    return to_json(read_yaml(text, "f", limits=Limits(**limits)))


def refused(text, **limits):
    with pytest.raises(ContractError) as caught:
        read_yaml(text, "f", limits=Limits(**limits))
    return str(caught.value)


def json_refused(data, **limits):
    with pytest.raises(ContractError) as caught:
        read_json(data, "peer", limits=Limits(**limits))
    return str(caught.value)


# --- nodes -----------------------------------------------------------------------------------------------------------


def test_nodes_carry_file_line_and_column_of_keys_and_values():
    yes = True
    root = read_yaml("a: [1, x]\nb:\n  c: true\n", "f")
    assert root == MappingNode(
        (
            (
                ScalarNode("a", ("f", 1, 1)),
                SequenceNode((ScalarNode(1, ("f", 1, 5)), ScalarNode("x", ("f", 1, 8))), ("f", 1, 4)),
            ),
            (
                ScalarNode("b", ("f", 2, 1)),
                MappingNode(((ScalarNode("c", ("f", 3, 3)), ScalarNode(yes, ("f", 3, 6))),), ("f", 3, 3)),
            ),
        ),
        ("f", 1, 1),
    )
    assert str(root.items[1][1].location) == "f:3:3"
    assert str(root.items[0][1].location) == "f:1:4"


def test_an_alias_gives_the_very_node_of_its_anchor():
    root = read_yaml("a: &one [1]\nb: *one\nc: &two x\nd: *two\n", "f")
    values = [node for _, node in root.items]
    assert values[0] is values[1]
    assert values[2] is values[3]


def test_an_anchor_may_be_set_again():
    assert read("a: &x 1\nb: *x\nc: &x 2\nd: *x\n") == {"a": 1, "b": 1, "c": 2, "d": 2}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("true", True),
        ("TRUE", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("0", 0),
        ("-12", -12),
        ("+7", 7),
        ("010", 10),
        ("0o17", 15),
        ("0x4D594345", 0x4D594345),
        ("0b101", "0b101"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5e-3", -0.0005),
        ("1e3", 1000.0),
        ("6.02E+23", 6.02e23),
        (".", "."),
        ("1e", "1e"),
        ("0x", "0x"),
        ("2025-11-03", "2025-11-03"),
        ("1-999", "1-999"),
        ("=", "="),
        ("٣", "٣"),
        (".inf", "Infinity"),
        ("-.INF", "-Infinity"),
        ("+.Inf", "Infinity"),
        (".NaN", "NaN"),
        ("nan", "nan"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("'~'", "~"),
    ],
)
def test_plain_scalars_are_read_by_the_core_schema_of_yaml_1_2(text, value):
    read_value = read(f"a: {text}\n")["a"]
    assert read_value == value
    assert type(read_value) is type(value)


def test_not_a_number_stays_a_float_in_the_node():
    assert math.isnan(read_yaml("a: .nan", "f").items[0][1].value)


def test_block_text_keeps_its_lines():
    assert read("a: |\n  one\n  two\nb: >\n  three\n  four\n") == {"a": "one\ntwo\n", "b": "three four\n"}


# --- encodings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"a: \xc5\xbe\n",
        b"\xef\xbb\xbfa: \xc5\xbe\n",
        "a: ž\n".encode("utf-16"),
        b"\xfe\xff" + "a: ž\n".encode("utf-16-be"),
        b"a: \xc5\xbe\r\n",
        b"a: \xc5\xbe\r",
        "\ufeffa: ž\n",
    ],
)
def test_utf_8_and_utf_16_are_read_with_and_without_byte_order_mark_and_with_any_line_end(data):
    assert read(data) == {"a": "ž"}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a: 1\nb: x\xffy\n", "f:2:5: the text is no UTF-8: byte 0xff cannot stand here; save it as UTF-8"),
        (b"a: \xc3", "f:1:4: the text is no UTF-8: byte 0xc3"),
        (b"\xff\xfea\x00\x00\xd8", "f:1:2: the text is no UTF-16"),
        ("a: 1".encode("utf-32"), "f:1:1: the text is UTF-32"),
        (b"a: 1\nb: \x00\n", "f:2:4: the character U+0000 is not allowed"),
        (b"a: 1\r\nb: \x07\n", "f:2:4: the character U+0007 is not allowed"),
        ("a: \ud800", "f:1:4: the character U+D800 is not allowed"),
        ("a: \ufffe", "f:1:4: the character U+FFFE is not allowed"),
    ],
)
def test_what_no_text_may_hold_is_told_where_it_stands(data, told):
    assert refused(data).startswith(told)


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "f:1:1: the file is empty"),
        ("# a comment\n", "f:1:1: the file is empty"),
        ("a: b: c\n", "f:1:5: not YAML: mapping values are not allowed"),
        ("a: [1\n", "f:2:1: not YAML: while parsing a flow sequence"),
        ("a: 'x\n", "close the quotes"),
        ("a: @x\n", "put text that begins with @"),
        ("\ta: 1\n", "indent with spaces"),
        ("a: !t x\n", "f:1:4: a: the tag '!t' is not allowed"),
        ("a: ! x\n", "f:1:4: a: the tag '!' is not allowed"),
        ("a: !!str x\n", "f:1:4: a: the tag 'tag:yaml.org,2002:str' is not allowed"),
        ("{!t a: 1, b: !t 2}\n", "f:1:2: the tag '!t' is not allowed"),
        ("a: [1, !!python/name:os.system x]\n", "f:1:8: a[1]: the tag"),
        ("a: !h!x y\n", "undefined tag handle"),
        ("%TAG ! tag:example.com,2000:\n---\na: !x y\n", "f:3:4: a: the tag 'tag:example.com,2000:x'"),
        ("a: 1\n...\n---\nb: 1\n", "f:3:1: a second document begins here"),
        ("a: *b\n", "f:1:4: there is no anchor 'b' before this alias"),
        ("a: &a {b: *a}\n", "f:1:11: the alias 'a' stands inside what it is an alias of"),
        ("a: &a b\n<<: {c: d}\n", "f:2:1: merge keys are not supported"),
        ("a: {b: {c: 1, c: 2}}\n", "f:1:15: a.b.c: the key is there already, at line 1, column 9"),
        ("- {a: 1}\n- 5: x\n", "f:2:3: [1]: a key must be text, not the number 5"),
        ("[a]: x\n", "f:1:1: a key must be text, not a list"),
        ("{a: 1}: x\n", "f:1:1: a key must be text, not a mapping"),
        ("true: x\n", "a key must be text, not the boolean true"),
        ("~: x\n", "a key must be text, not an empty value"),
        (f"a: {'9' * 401}\n", "f:1:4: a: a number of 401 characters is more than any type holds"),
        (f"a: 0x{'9' * 401}\n", "f:1:4: a: a number of 403 characters is more than any type holds"),
        (f"a: 1.{'9' * 401}\n", "f:1:4: a: a number of 403 characters is longer than any type needs"),
        ("a: -1e999\n", "f:1:4: a: the number -1e999 is beyond the range of an f64"),
    ],
)
def test_a_fault_says_where_what_and_what_to_do(text, told):
    message = refused(text)
    assert told in message
    assert "; " in message


def test_faults_that_leave_the_rest_readable_are_told_together():
    told = refused("a: 1\na: 2\n5: 3\nb: !x 4\n<<: 5\n").splitlines()
    assert [line.partition(" ")[0] for line in told] == ["f:2:1:", "f:3:1:", "f:4:4:", "f:5:1:"]


# --- limits ----------------------------------------------------------------------------------------------------------


def test_the_size_limit_is_on_bytes():
    assert read("a: žž", size=7) == {"a": "žž"}
    assert refused("a: žž", size=6) == "f:1:1: the text has 7 bytes; the limit is 6; split the file"
    assert refused(b" " * (4 * MIB + 1)).startswith("f:1:1: the text has 4,194,305 bytes")


def test_the_depth_limit_counts_collections_and_looks_through_aliases():
    assert read("[[[1]]]", depth=3) == [[[1]]]
    assert refused("[[[1]]]", depth=2).startswith("f:1:3: more than 2 collections")
    assert read("{a: &a [[1]], b: [*a]}", depth=4)["b"] == [[[1]]]
    assert refused("{a: &a [[1]], b: [*a]}", depth=3).startswith("f:1:19: more than 3 collections")
    assert refused("{a: &a [1], b: &b [*a], c: [*b]}", depth=3).startswith("f:1:29: more than 3")


def test_the_node_limit_counts_what_aliases_stand_for_and_a_collection_twice():
    text = "{a: &a [1, 2], b: *a}"
    assert read(text, nodes=12) == {"a": [1, 2], "b": [1, 2]}
    assert refused(text, nodes=11).startswith("f:1:19: the file has more than 11 values")
    assert refused("[1, 2, 3]", nodes=4).startswith("f:1:8: the file has more than 4 values")


def test_the_alias_limit_counts_uses():
    text = "{a: &a 1, b: *a, c: *a}"
    assert read(text, aliases=2) == {"a": 1, "b": 1, "c": 1}
    assert refused(text, aliases=1).startswith("f:1:21: the file uses more than 1 aliases")


HOSTILE = {
    "brackets": "[" * 40_000,
    "braces": "{a: " * 40_000,
    "dashes": "- " * (2 * MIB),
    "questions": "? " * 40_000,
    "tags": "!!python/object/apply:os.system [" * 40_000,
    "alias bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
    ),
    "aliases": "a: &a x\nb: [" + "*a," * 200_000 + "]",
    "values": "[" + "1," * (2 * MIB - 2) + "]",
    "keys": "".join(f"k{number}: v\n" for number in range(350_000)),
    "digits": "a: " + "9" * (4 * MIB - 3),
    "documents": "---\n" * MIB,
    "quotes": '"' + "\\x41" * (MIB - 1),
    "nul": "a: 1\n" + "\x00" * MIB,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_refused_in_no_time(name):
    began = time.process_time()
    refused(HOSTILE[name])
    # A second is the promise; the processor's time is measured, as other work on the machine is not the loader's.
    assert time.process_time() - began < (1.5 if sys.gettrace() is None else 15.0)


@given(st.text(alphabet="ab01:-?,[]{}&*!|>'\"%@`# \n\t\\x~.<=é\u2028\ufeff", max_size=60))
@settings(max_examples=200)
def test_any_text_gives_nodes_or_a_contract_error(text):
    with suppress(ContractError):
        read(text)


@given(st.binary(max_size=60))
def test_any_bytes_give_nodes_or_a_contract_error(data):
    for reader in (read_yaml, read_json):
        with suppress(ContractError):
            reader(data, "f")


def test_the_slow_parser_of_pyyaml_serves_where_there_is_no_other(monkeypatch):
    from mycelium.schema import source

    monkeypatch.setattr(source, "_LOADER", yaml.SafeLoader)
    assert read("a: [1, {b: &x yes}, *x]\n") == {"a": [1, {"b": "yes"}, "yes"]}
    assert refused("[" * 40_000).startswith("f:1:33: more than 32 collections")
    assert "not YAML" in refused("a: [1\n")
    assert "the YAML parser gave up" in refused('a: "\\UFFFFFFFF"')


# --- JSON ------------------------------------------------------------------------------------------------------------


def test_a_peers_json_becomes_the_same_nodes_at_the_start_of_the_document():
    node = read_json(b'{"a":[1,2.5,"x",true,null],"b":{}}', "peer")
    assert to_json(node) == {"a": [1, 2.5, "x", True, None], "b": {}}
    assert str(node.location) == "peer:1:1"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "peer:1:1: not JSON"),
        (b"{", "peer:1:2: not JSON"),
        (b'{"a":1,"a":2}', "the key 'a' comes twice in one object"),
        (b'{"a":NaN}', "NaN is no JSON"),
        (b'{"a":-Infinity}', "-Infinity is no JSON"),
        (b'{"a":1e999}', "the number 1e999 is beyond the range of an f64"),
        (b'{"a":' + b"9" * 5000 + b"}", "a number of 5000 characters is more than any type holds"),
        (b'{"a":"\\ud800"}', "holds half of a surrogate pair"),
        (b'{"\\udc00":1}', "holds half of a surrogate pair"),
        (b'{"a":"\xff"}', "send valid JSON in UTF-8"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        (b'{"a":"\n"}', "not JSON"),
    ],
)
def test_what_json_leaves_open_is_refused(data, told):
    assert told in json_refused(data)


def test_surrogate_pairs_are_characters():
    assert to_json(read_json(b'["\\ud83c\\udf44"]', "peer")) == ["🍄"]


def test_the_limits_hold_for_json():
    assert json_refused(b" " * (MIB + 1), size=MIB).startswith("peer:1:1: the document has 1,048,577 bytes")
    assert "more than 32 collections" in json_refused(b"[" * 100_000)
    assert "more than 32 collections" in json_refused(b'{"a":' * 100_000)
    assert "more than 500,000 values" in json_refused(b"[" + b"1," * 500_000 + b"1]")
    assert to_json(read_json(b'["[[[[", "\\"{{{{", 1]', "peer", limits=Limits(depth=1))) == ["[[[[", '"{{{{', 1]
