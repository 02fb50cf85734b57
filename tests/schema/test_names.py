"""Names out of files become Python classes, attributes and source: none that could do harm gets through."""

import pytest

from mycelium.schema.errors import ContractError
from mycelium.schema.model import MessageRef, Vec
from mycelium.schema.parse import parse_text

DANGEROUS = [
    *("__class__", "__init__", "x; import os", "x\ny", "a.b", "a-b", "a b", "", "1a", "x" * 256),
    *("class", "None", "lambda", "self", "TYPE_ID", "TOPIC", "to_bytes", "from_bytes"),
    # Dangerous only after NFKC: full-width low lines, and a ligature that makes a keyword.
    *("\uff3f\uff3fclass\uff3f\uff3f", "i\uff46"),
    *("zero\u200bwidth", "\u202eevil", "e\u0301" * 256),
]


@pytest.mark.parametrize("name", DANGEROUS)
def test_no_dangerous_name_gets_through(name):
    quoted = '"' + name.encode("unicode_escape").decode("ascii") + '"'
    for text in (
        f"messages: {{{quoted}: {{tlv_type: 1001, fields: {{}}}}}}",
        f"messages: {{M: {{tlv_type: 1001, fields: {{{quoted}: {{type: u8}}}}}}}}",
        f"types: {{{quoted}: {{type: u8}}}}",
        f"types: {{E: {{enum: {{{quoted}: 1}}}}}}",
    ):
        with pytest.raises(ContractError) as caught:
            parse_text(text)
        assert len(caught.value.faults) == 1


@pytest.mark.parametrize(
    "name", ["match", "type", "_", "_x", "__x", "_x_", "print", "mro", "na\xefve", "\u65e5\u672c", "x" * 255]
)
def test_soft_keywords_and_builtins_of_python_are_names(name):
    schema = parse_text(f"messages: {{M: {{tlv_type: 1001, fields: {{{name}: {{type: u8}}}}}}}}")
    assert list(schema.messages["M"].by_name) == [name]


@pytest.mark.parametrize("name", ["mro", "_x_", "_missing_", "_E__x"])
def test_members_of_an_enum_have_fewer_names_to_choose_from(name):
    with pytest.raises(ContractError, match="is kept by Python's enums"):
        parse_text(f"types: {{E: {{enum: {{{name}: 1}}}}}}")


def test_members_may_have_the_names_of_attributes_of_numbers():
    schema = parse_text("types: {E: {enum: {name: 0, value: 1, real: 2, _: 3, __x: 4, no: 5, _F__x: 6}}}")
    assert list(schema.enums["E"].members.values()) == [0, 1, 2, 3, 4, 5, 6]


def test_names_are_taken_in_the_form_that_python_compares():
    text = """
messages:
  Order\ufb01\u2168:
    tlv_type: 1001
    key: \xaa
    reserved: {names: [\uff43]}
    fields:
      \xaa: {type: u8, renamed_from: \xba}
      b: {type: 'Vec<OrderfiIX>'}
"""
    message = parse_text(text).messages["OrderfiIX"]
    assert message.key == ("a",)
    assert message.reserved.names == ("c",)
    assert [(one.name, one.renamed_from) for one in message.fields] == [("a", "o"), ("b", None)]
    assert message.fields[1].type == Vec(MessageRef("OrderfiIX"))
