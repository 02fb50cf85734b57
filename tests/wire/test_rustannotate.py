"""Every byte of a struct explained, padding included, whatever the bytes are."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import load, message_names, mutated, struct_messages, struct_worlds

from mycelium.schema.errors import LayoutError
from mycelium.wire.rustannotate import annotate_rust_frames, annotate_struct
from mycelium.wire.rustframes import encode_rust_frame, preamble

SIDE = {"Side": {"enum": {"buy": 1, "sell": 2}, "open": False}}


def message_of(fields, **more):
    document = {"types": SIDE, "messages": {"M": {"tlv_type": 1000, "fields": fields, **more}}}
    return load(json.dumps(document)).schema.messages["M"]


def lines_of(rows):
    return [f"{row.offset} {'  ' * row.depth}{row.hex}: {row.text}{' (wrong)' if row.wrong else ''}" for row in rows]


def explain(message, payload):
    rows = annotate_struct(message, bytes.fromhex(payload))
    assert b"".join(row.data for row in rows).hex() == payload.replace(" ", "")
    return lines_of(rows)


TEXT = {"type": "String", "validation": [{"max_length": 3}]}


def test_fields_padding_and_unused_room_have_rows():
    message = message_of({"a": {"type": "u8"}, "b": TEXT, "c": {"type": "u32"}})
    assert explain(message, "07ff 0100000000000000 61000000 0000 04000000".replace(" ", "")) == [
        "0 07: a: u8 7",
        "1 ff: padding, not zero",
        "2 0100: b, String: count 1, room for 3",
        "4 000000000000: padding",
        "10   61: 'a'",
        "11   000000: unused",
        "14 0000: padding",
        "16 04000000: c: u32 4",
    ]


def test_lists_have_a_row_for_each_element():
    vec = {"type": "Vec<[u8; 2]>", "validation": [{"max_length": 2}]}
    assert explain(message_of({"v": vec, "w": {"type": "[i16; 2]"}}), "0100000000000000 6162 0000 0100ffff") == [
        "0 0100: v, Vec<[u8; 2]>: count 1, room for 2",
        "2 000000000000: padding",
        "8   6162: 0x6162",
        "10   0000: unused",
        "12 : w, [i16; 2]",
        "12   0100: i16 1",
        "14   ffff: i16 -1",
    ]


def test_zeros_of_an_optional_field_may_be_none():
    assert explain(message_of({"v": {"type": "Side", "optional": True}}), "00") == ["0 00: v: zero, which may be None"]


@pytest.mark.parametrize(
    ("field", "payload", "lines"),
    [
        ({"type": "bool"}, "02", ["0 02: v: a bool is 0 or 1 (wrong)"]),
        ({"type": "Side"}, "00", ["0 00: v: a closed Side has no such member (wrong)"]),
        ({"type": "u32"}, "0102", ["0 0102: 2 of 4 bytes: v, u32 (wrong)"]),
        ({"type": "u8"}, "", ["0 : 0 of 1 bytes: v, u8 (wrong)"]),
        ({"type": "u8"}, "0102", ["0 01: v: u8 1", "1 02: 1 bytes more than the 1 of the struct (wrong)"]),
        (
            TEXT,
            "0400 000000000000 61616161",
            [
                "0 0400: v, String: count 4, room for 3 (wrong)",
                "2 000000000000: padding",
                "8   61616161: unused, not zero",
            ],
        ),
        (
            TEXT,
            "0100 000000000000 ff000000",
            [
                "0 0100: v, String: count 1, room for 3",
                "2 000000000000: padding",
                "8   ff: invalid UTF-8 at byte 8 (wrong)",
                "9   000000: unused",
            ],
        ),
    ],
)
def test_what_makes_no_sense_is_said_to_make_none(field, payload, lines):
    assert explain(message_of({"v": field}), payload) == lines


def test_a_struct_without_its_last_padding_is_too_short():
    message = message_of({"a": {"type": "u16"}, "b": {"type": "u8"}})
    assert explain(message, "010002")[2:] == ["3 : 1 of the 4 bytes are missing (wrong)"]


def test_values_of_a_redacted_message_are_hidden():
    message = message_of({"a": {"type": "u8", "optional": True}, "b": TEXT, "c": {"type": "u8"}}, sensitivity="pii")
    rows = annotate_struct(message, bytes.fromhex("00ee 0100000000000000 6177 0000 07 00"))
    assert lines_of(rows) == [
        "0 **: a: [REDACTED]",
        "1 **: padding, not zero",
        "2 0100: b, String: count 1, room for 3",
        "4 000000000000: padding",
        "10   **: [REDACTED]",
        "11   ******: unused, not zero",
        "14 **: c: [REDACTED]",
        "15 00: padding",
    ]


def test_frames_and_a_preamble_are_explained():
    world = load(json.dumps({"messages": {"M": {"tlv_type": 1000, "fields": {"a": {"type": "u8"}}}}}))
    data = preamble(bytes(32)) + encode_rust_frame(1000, b"\1") + encode_rust_frame(1001, b"xy") + b"\xe8\x03"
    rows = annotate_rust_frames(data, world.schema)
    assert b"".join(row.data for row in rows) == data
    assert lines_of(rows) == [
        "0 2000: preamble: a digest of 32 bytes",
        f"2 {'00' * 32}: SHA-256 of a contracts file's bytes",
        "34 e803: type id 1000: M",
        "36 01000000: payload of length 1",
        "40   01: a: u8 1",
        "41 e903: type id 1001: unknown",
        "43 02000000: payload of length 2",
        "47   7879: raw bytes",
        "49 e803: 2 bytes are no whole frame header (wrong)",
    ]
    cut = annotate_rust_frames(encode_rust_frame(1000, b"\1")[:-1], world.schema)
    assert lines_of(cut)[1:] == [
        "2 01000000: payload of length 1: 0 are left (wrong)",
        "6   : 0 of 1 bytes: a, u8 (wrong)",
    ]


def test_a_message_without_a_layout_is_not_explained():
    with pytest.raises(LayoutError):
        annotate_struct(message_of({"a": {"type": "u128"}}), b"")


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_every_byte_is_explained_once_whatever_the_bytes_are(data):
    drawn = data.draw(struct_worlds())
    name = data.draw(message_names(drawn))
    message, codec = drawn.schema.messages[name], drawn.codec(name).rust
    payload = codec.encode(data.draw(struct_messages(drawn, name)))
    assert not any(row.wrong for row in annotate_struct(message, payload))
    broken = data.draw(mutated(payload))
    rows = annotate_struct(message, broken)
    assert b"".join(row.data for row in rows) == broken
    frames = data.draw(mutated(preamble(bytes(32)) + encode_rust_frame(codec.layout.type_id, payload)))
    rows = annotate_rust_frames(frames, drawn.schema)
    assert b"".join(row.data for row in rows) == frames
