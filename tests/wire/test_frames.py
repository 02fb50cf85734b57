"""Frames as literal bytes: length u32, type id u16, payload, all little-endian."""

import pytest

from mycelium.wire.frames import (
    CONTRACTS_MAX_FRAME,
    DEFAULT_MAX_PAYLOAD,
    FIRST_APPLICATION_ID,
    HANDSHAKE_MAX_FRAME,
    HARD_MAX_PAYLOAD,
    encode_frame,
)


@pytest.mark.parametrize(
    ("type_id", "payload", "frame"),
    [
        (12, b"", "02 00 00 00  0c 00"),
        (1010, b"\xff", "03 00 00 00  f2 03  ff"),
        (65535, b"ab", "04 00 00 00  ff ff  61 62"),
        (1000, bytes(300), "2e 01 00 00  e8 03" + "00" * 300),
    ],
)
def test_length_counts_the_type_id_and_the_payload(type_id, payload, frame):
    assert encode_frame(type_id, payload) == bytes.fromhex(frame)


def test_limits_are_the_protocols():
    assert DEFAULT_MAX_PAYLOAD == 4 * 1024 * 1024
    assert HARD_MAX_PAYLOAD == 64 * 1024 * 1024
    assert HANDSHAKE_MAX_FRAME == 4096
    assert CONTRACTS_MAX_FRAME == 1024 * 1024
    assert FIRST_APPLICATION_ID == 1000


def test_the_largest_payload_leaves_the_top_four_bits_of_length_clear():
    assert (HARD_MAX_PAYLOAD + 2).bit_length() <= 28
