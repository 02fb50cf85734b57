"""Whatever the text is, the loader gives a model or a ContractError, and nothing else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mycelium.schema.document import document_bytes
from mycelium.schema.errors import ContractError
from mycelium.schema.parse import parse_document, parse_text

WORDS = [
    *("messages", "M", "tlv_type", "fields", "type", "u8", "Vec<M>", "1001", "default", "validation", "min", "pattern"),
    *(
        "{",
        "}",
        "[",
        "]",
        ":",
        ": ",
        ",",
        "\n",
        "  ",
        "- ",
        "'",
        '"',
        "&a ",
        "*a",
        "#",
        "~",
        "true",
        "1",
        "-1",
        "1-999",
    ),
    *("enum", "types", "E", "optional", "key", "reserved", "tags", "names", "qos", "on_lag", "latest", "x-a", "schema"),
]
FILE = """
schema: {id: 5, version: 2, reserved: {type_ids: [1007], names: [Old]}}
tag_ranges: {core: 1-999, app: 1000-49999}
types:
  Side: {enum: {buy: 1, sell: 2}, open: false}
  Who: {type: '[u8; 20]'}
  Many: {rust_type: Vec<Who>}
messages:
  Leg: {tlv_type: 1001, fields: {side: {type: Side, default: buy}}}
  Order:
    tlv_type: 1002
    key: who
    qos: {on_lag: latest}
    reserved: {tags: [9-12]}
    fields:
      who: {type: Who, tag: 7}
      legs: {type: Vec<Leg>, validation: [{max_length: 4}, {known: 1}]}
      table: {type: 'Map<Side, f32>', default: {buy: 1.5}}
      note: {type: String, optional: true, validation: [{pattern: '[a-z]+'}]}
domains: {D: {type_range: 1-5}}
invariants: [{name: x}]
"""
DOCUMENT = document_bytes(parse_text(FILE))


def outcome(load, source):
    """What a fault's text is, or nothing."""
    try:
        load(source, "f")
    except ContractError as error:
        return str(error)
    return None


@given(st.lists(st.sampled_from(WORDS), max_size=40).map("".join))
@settings(max_examples=100)
def test_any_words_of_the_language_give_a_model_or_a_contract_error(text):
    assert outcome(parse_text, text) != ""


@given(
    st.integers(0, len(FILE) - 1),
    st.integers(0, 12),
    st.sampled_from(["", " ", "x", "0", "{", "]", "~", "-", "\n", "<", "'", "9" * 30, "_", ", "]),
)
@settings(max_examples=150)
def test_a_file_that_is_cut_or_changed_anywhere_gives_a_model_or_a_contract_error(start, length, replacement):
    assert outcome(parse_text, FILE[:start] + replacement + FILE[start + length :]) != ""


@given(
    st.integers(0, len(DOCUMENT) - 1),
    st.integers(0, 12),
    st.sampled_from([b"", b" ", b"0", b"-1", b"{", b"]", b"null", b'"', b"\\ud800", b"\xff", b"1e400"]),
)
@settings(max_examples=100)
def test_a_document_that_is_cut_or_changed_anywhere_gives_a_model_or_a_contract_error(start, length, replacement):
    assert outcome(parse_document, DOCUMENT[:start] + replacement + DOCUMENT[start + length :]) != ""
