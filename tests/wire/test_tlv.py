"""The shape of a payload."""

import pytest

from mycelium.wire.errors import Misfit
from mycelium.wire.tlv import MAX_LENGTH, field, length_of, walk


def spans(payload, start=0, stop=None):
    return list(walk(payload, start, len(payload) if stop is None else stop))


def test_a_header_is_tag_and_length_little_endian():
    assert field(0x0102, b"abc") == b"\x02\x01\x03\x00\x00\x00abc"


def test_fields_come_in_wire_order_with_start_and_stop_of_their_values():
    payload = b"\x05\x00\x02\x00\x00\x00hi" + b"\x01\x00\x00\x00\x00\x00"
    assert spans(payload) == [(5, 6, 8), (1, 14, 14)]


def test_only_the_given_part_is_walked():
    assert spans(b"??\x01\x00\x01\x00\x00\x00x??", 2, 9) == [(1, 8, 9)]


def test_nothing_is_no_field():
    assert spans(b"") == []


@pytest.mark.parametrize(
    ("payload", "problem", "offset", "tag"),
    [
        (b"\x00\x00\x01\x00\x00\x00x", "tag 0 is never valid", 0, 0),
        (b"\x01\x00\x00\x00\x00\x00" * 2, "tag 1 is there twice", 6, 1),
        (b"\xff\xff\x00\x00\x00\x00" * 2, "tag 65535 is there twice", 6, 65535),
        (b"\x01\x00\x03\x00\x00\x00hi", "tag 1 says 3 bytes where 2 are left", 0, 1),
        (b"\x01\x00\xff\xff\xff\xffhi", "tag 1 says 4294967295 bytes where 2 are left", 0, 1),
        (b"\x01\x00\x00\x00\x00\x00\x07", "1 trailing bytes are no whole field header", 6, 0),
        (b"\x01\x00\x00\x00\x00", "5 trailing bytes are no whole field header", 0, 0),
    ],
)
def test_broken_structure_is_told_with_its_offset(payload, problem, offset, tag):
    with pytest.raises(Misfit) as caught:
        spans(payload)
    assert (caught.value.problem, caught.value.offset, caught.value.tag) == (problem, offset, tag)


def test_a_field_may_not_overrun_the_part_that_it_is_in():
    with pytest.raises(Misfit, match="says 2 bytes where 1 are left"):
        spans(b"\x01\x00\x02\x00\x00\x00hi", 0, 7)


def test_a_value_longer_than_a_header_can_say_is_refused():
    assert MAX_LENGTH == 2**32 - 1
    assert length_of(b"abc", limit=3) == 3
    with pytest.raises(Misfit, match="takes 4 bytes, and no value has more than 3"):
        length_of(b"abcd", limit=3)
