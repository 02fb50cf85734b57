"""Edits of a contract's text: the wanted number changes, everything else stays."""

import pytest

from mycelium.cli.patches import section_patch, tags_patch
from mycelium.schema.compat.configuration import ConfigurationError
from mycelium.schema.compat.edits import set_section, set_tags
from mycelium.schema.compat.pins import pinned_tags
from mycelium.schema.parse import parse_text

BLOCK = """\
messages:
  M:  # one
    tlv_type: 1001
    fields:
      a: {type: u8}  # flow
      b:

        # a comment
        type: u8
      c: {type: u8, tag: 9}
      d:
        type: u8
        tag: 0x8  # eight
      e: { type: '[u8; 4]', description: 'with {braces}' }
"""


def test_tags_are_written_in_flow_and_block_and_replaced_where_they_stand():
    schema = parse_text(BLOCK)
    edited = set_tags(BLOCK, schema, {("M", name): number for number, name in enumerate("abcde", 21)})
    assert {one.name: one.tag for one in parse_text(edited).messages["M"].fields} == {
        name: number for number, name in enumerate("abcde", 21)
    }
    assert "a: {tag: 21, type: u8}  # flow" in edited
    assert "      b:\n\n        # a comment\n        tag: 22\n        type: u8\n" in edited
    assert "c: {type: u8, tag: 23}" in edited
    assert "tag: 24  # eight" in edited


def test_windows_line_ends_stay():
    text = BLOCK.replace("\n", "\r\n")
    edited = set_tags(text, parse_text(text), {("M", "b"): 7})
    assert "tag: 7\r\n" in edited
    assert edited.count("\r\n") == text.count("\r\n") + 1


def test_an_unknown_layout_is_refused():
    text = "messages: {M: {tlv_type: 1001, fields: {a:\n   {type: u8}}}}\n"
    with pytest.raises(ConfigurationError, match="edit it by hand"):
        tags_patch("c.yaml", text.encode(), parse_text(text), {("M", "a"): 2})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("schema:\n  id: 5\n  version: 1 # one\nmessages: {}\n", "  version: 4 # one"),
        ("schema:\n    id: 5\nmessages: {}\n", "    version: 4"),
        ("schema: {id: 5, version: 1}\nmessages: {}\n", "schema: {min_compatible: 2, id: 5, version: 4}"),
        ("messages: {}\n", "  version: 4"),
    ],
)
def test_versions_are_set_wherever_the_section_is(text, line):
    text = text.replace("messages: {}", "messages: {M: {tlv_type: 1001, fields: {}}}")
    edited = set_section(text, parse_text(text), {"version": 4, "min_compatible": 2})
    assert line in edited.splitlines()
    assert (parse_text(edited).version, parse_text(edited).min_compatible) == (4, 2)


def test_a_patch_names_the_file_and_survives_a_missing_newline():
    text = "schema: {id: 5, version: 1}\nmessages: {M: {tlv_type: 1001, fields: {}}}"
    made = section_patch("c.yaml", text.encode(), parse_text(text), {"version": 2, "min_compatible": 1})
    assert made.startswith("--- a/c.yaml\n+++ b/c.yaml\n")
    assert made.endswith("\\ No newline at end of file\n")


def test_pinned_tags_are_the_baselines_and_else_the_next_free():
    old = parse_text(BLOCK)
    new = parse_text(BLOCK.replace("      a:", "      z: {type: u8}\n      a:"))
    tags = {name: tag for (_, name), tag in pinned_tags(old, new).items()}
    assert tags == {"z": 3, "a": 1, "b": 2, "c": 9, "d": 8, "e": 5}
