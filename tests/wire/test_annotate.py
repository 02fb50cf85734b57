"""Every byte explained, whatever the bytes are."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import load, message_names, mutated, payloads, worlds

from mycelium.wire.annotate import MOST_ELEMENTS, annotate, annotate_frames
from mycelium.wire.frames import encode_frame

WORLD = load(
    json.dumps(
        {
            "types": {
                "Side": {"enum": {"buy": 1, "sell": 2}, "open": False},
                "Level": {"enum": {"low": 0}, "repr": "u16"},
            },
            "messages": {
                "Inner": {"tlv_type": 1001, "fields": {"word": {"type": "String"}}},
                "Secret": {
                    "tlv_type": 1002,
                    "sensitivity": "internal",
                    "fields": {"pin": {"type": "u16"}, "side": {"type": "Side"}, "raw": {"type": "bytes"}},
                },
                "All": {
                    "tlv_type": 1000,
                    "fields": {
                        "flag": {"type": "bool"},
                        "side": {"type": "Side"},
                        "level": {"type": "Level"},
                        "raw": {"type": "bytes"},
                        "four": {"type": "[u8; 4]"},
                        "pairs": {"type": "[i16; 2]"},
                        "numbers": {"type": "Vec<u32>"},
                        "words": {"type": "Vec<String>"},
                        "table": {"type": "Map<u8, Inner>"},
                        "secret": {"type": "Secret", "optional": True},
                        "deep": {"type": "All", "optional": True},
                    },
                },
            },
        }
    )
)
ALL = WORLD.schema.messages["All"]


def explain(payload, message=ALL):
    rows = annotate(message, payload, WORLD.schema)
    assert b"".join(row.data for row in rows) == payload
    return [f"{row.offset} {'  ' * row.depth}{row.hex}: {row.text}{' (wrong)' if row.wrong else ''}" for row in rows]


def only(payload, message=ALL):
    """The explanation without what is missing behind it."""
    return [line for line in explain(payload, message) if "is missing" not in line]


def wrong(payload, message=ALL):
    return [line for line in only(payload, message) if line.endswith("(wrong)")]


def field(tag, data):
    return tag.to_bytes(2, "little") + (len(data) // 2).to_bytes(4, "little") + bytes.fromhex(data)


@pytest.mark.parametrize(
    ("payload", "lines"),
    [
        (field(1, "01"), ["0 0100: tag 1: flag, bool", "2 01000000: length 1", "6   01: bool True"]),
        (field(2, "01"), ["0 0200: tag 2: side, Side", "2 01000000: length 1", "6   01: Side buy (1)"]),
        (
            field(3, "0900"),
            ["0 0300: tag 3: level, Level", "2 02000000: length 2", "6   0900: Level without a name (9)"],
        ),
        (field(4, "00ff"), ["0 0400: tag 4: raw, bytes", "2 02000000: length 2", "6   00ff: 0x00ff"]),
        (field(4, ""), ["0 0400: tag 4: raw, bytes", "2 00000000: length 0", "6   : 0x"]),
        (field(5, "01020304"), ["0 0500: tag 5: four, [u8; 4]", "2 04000000: length 4", "6   01020304: 0x01020304"]),
        (
            field(6, "0100ffff"),
            ["0 0600: tag 6: pairs, [i16; 2]", "2 04000000: length 4", "6   0100: i16 1", "8   ffff: i16 -1"],
        ),
        (
            field(8, "0200000068690000" + "0000"),
            [
                "0 0800: tag 8: words, Vec<String>",
                "2 0a000000: length 10",
                "6   02000000: element 0, length 2",
                "10     6869: 'hi'",
                "12   00000000: element 1, length 0",
                "16     : ''",
            ],
        ),
        (
            field(9, "14000000" + "01000100000007" + "020007000000" + "01000100000078"),
            [
                "0 0900: tag 9: table, Map<u8, Inner>",
                "2 18000000: length 24",
                "6   14000000: entry 0, length 20",
                "10     0100: tag 1: key, u8",
                "12     01000000: length 1",
                "16       07: u8 7",
                "17     0200: tag 2: value, Inner",
                "19     07000000: length 7",
                "23       0100: tag 1: word, String",
                "25       01000000: length 1",
                "29         78: 'x'",
            ],
        ),
        (field(77, "aa"), ["0 4d00: tag 77: unknown field, skipped", "2 01000000: length 1", "6   aa: raw bytes"]),
        (field(77, ""), ["0 4d00: tag 77: unknown field, skipped", "2 00000000: length 0"]),
        (
            field(0xFF05, "0700000000000000"),
            ["0 05ff: tag 0xff05: metadata, reply to", "2 08000000: length 8", "6   0700000000000000: 7"],
        ),
        (
            field(0xFF04, "aa" * 16),
            [
                "0 04ff: tag 0xff04: metadata, correlation id",
                "2 10000000: length 16",
                f"6   {'aa' * 16}: 0x{'aa' * 16}",
            ],
        ),
        (
            field(0xF001, "01"),
            ["0 01f0: tag 0xf001: unknown metadata, skipped", "2 01000000: length 1", "6   01: raw bytes"],
        ),
    ],
)
def test_bytes_are_explained_like_this(payload, lines):
    assert only(payload) == lines


@pytest.mark.parametrize(
    ("payload", "lines"),
    [
        (field(1, "02"), ["6   02: a bool is 0 or 1 (wrong)"]),
        (field(1, "0101"), ["6   0101: bool takes 1 bytes, not 2 (wrong)"]),
        (field(2, "03"), ["6   03: a closed Side has no such member (wrong)"]),
        (field(6, "01"), ["6   01: [i16; 2] takes 4 bytes, not 1 (wrong)"]),
        (field(7, "010000"), ["6   010000: 3 trailing bytes are no whole u32 (wrong)"]),
        (field(8, "01000000ff"), ["10     ff: invalid UTF-8 at byte 10 (wrong)"]),
        (field(8, "0000"), ["6   0000: trailing bytes are no whole length (wrong)"]),
        (field(8, "05000000aa"), ["6   05000000: element 0, length 5: 1 are left (wrong)"]),
        (field(9, "01000000aa"), ["10     aa: 1 trailing bytes are no whole field header (wrong)"]),
        (field(0xFF05, "07"), ["6   07: takes 8 bytes, not 1 (wrong)"]),
        (field(0, ""), ["0 0000: tag 0: unknown field, skipped, never valid (wrong)"]),
        (field(4, "") * 2, ["6 0400: tag 4: raw, bytes, there twice (wrong)"]),
        (b"\x01\x00\x02\x00\x00\x00\x01", ["2 02000000: length 2: 1 are left (wrong)"]),
        (b"\x01", ["0 01: 1 trailing bytes are no whole field header (wrong)"]),
    ],
)
def test_what_is_wrong_is_said_where_it_is(payload, lines):
    assert wrong(payload) == lines


def test_what_follows_an_overrun_is_shown_as_what_is_left():
    assert only(b"\x01\x00\x02\x00\x00\x00\x01")[-1] == "6   01: what is left"


def test_a_missing_field_is_said_at_the_end():
    lines = explain(b"", WORLD.schema.messages["Inner"])
    assert lines == ["0 : tag 1 (word, String) is missing (wrong)"]


def test_an_entry_without_its_value_is_said_to_lack_it():
    assert any("tag 2 (value, Inner) is missing" in line for line in explain(field(9, "07000000" + "01000100000007")))


def test_values_of_a_redacted_message_stay_hidden_also_inside_another():
    payload = field(1, "3412") + field(2, "09") + field(3, "beef") + field(9, "ff")
    inside = field(10, payload.hex())
    for lines in (explain(payload, WORLD.schema.messages["Secret"]), only(inside)):
        text = "\n".join(lines)
        for value in ("3412", "4660", "beef", ": ff"):
            assert value not in text
        assert "****: [REDACTED]" in text
        assert "**: a closed Side has no such member (wrong)" in text


def test_long_lists_are_cut_short():
    numbers = explain(field(7, "01000000" * (MOST_ELEMENTS + 9)))
    assert numbers[2 + MOST_ELEMENTS].endswith(": 9 more of u32")
    words = only(field(8, "00000000" * (MOST_ELEMENTS + 9)))
    assert words[-1].endswith(": more of the same")


def test_nesting_has_its_limit():
    payload = b""
    for _ in range(16):
        payload = field(11, payload.hex())
    lines = only(payload)
    assert lines[-1].endswith("All nests deeper than 16 messages (wrong)")
    assert not wrong(payload[6:])


def test_an_unknown_message_is_explained_by_its_structure():
    assert only(field(4, "aa"), None)[0] == "0 0400: tag 4: unknown field, skipped"


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (
            encode_frame(1001, field(1, "78")),
            [
                (0, "frame of length 9"),
                (4, "type id 1001: Inner"),
                (6, "tag 1: word, String"),
                (8, "length 1"),
                (12, "'x'"),
            ],
        ),
        (encode_frame(999, b""), [(0, "frame of length 2"), (4, "type id 999: unknown")]),
        (
            b"\x01\x00\x00\x00\xe7\x03",
            [(0, "frame of length 1: too short, a frame has a type id"), (4, "type id 999: unknown")],
        ),
        (b"\x09\x00\x00\x00\xe7\x03", [(0, "frame of length 9: 2 are left"), (4, "type id 999: unknown")]),
        (b"\x09\x00\x00", [(0, "3 bytes are no whole frame header")]),
    ],
)
def test_frames_are_explained_like_this(data, lines):
    for count in (1, 2):
        rows = annotate_frames(data * count, [load('{"messages": {}}').schema, WORLD.schema])
        assert b"".join(row.data for row in rows) == data * count
        if count == 1:
            assert [(row.offset, row.text) for row in rows] == lines
    assert rows[0].length == len(rows[0].data)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_rows_of_any_bytes_hold_every_byte_once(data):
    world = data.draw(worlds())
    name = data.draw(message_names(world))
    payload = data.draw(payloads(world, name))
    rows = annotate(world.schema.messages[name], payload, world.schema)
    assert not any(row.wrong for row in rows)
    for changed in (payload, data.draw(mutated(payload)), data.draw(st.binary(max_size=40))):
        rows = annotate(world.schema.messages[name], changed, world.schema)
        assert b"".join(row.data for row in rows) == changed
        assert [row.offset for row in rows] == [sum(one.length for one in rows[:at]) for at in range(len(rows))]
        frame = encode_frame(world.schema.messages[name].type_id, changed)
        assert b"".join(row.data for row in annotate_frames(frame, [world.schema])) == frame
