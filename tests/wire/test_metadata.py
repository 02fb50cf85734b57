"""Envelope metadata as bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelium.wire.errors import DecodeError, Misfit
from mycelium.wire.metadata import KINDS, Metadata, check_shape
from mycelium.wire.tlv import walk

U64 = st.integers(0, 2**64 - 1)
METADATA = st.builds(
    Metadata,
    trace=st.none() | st.binary(min_size=26, max_size=26),
    published_at=st.none() | U64,
    origin=st.none() | st.tuples(U64, U64),
    correlation=st.none() | st.binary(min_size=16, max_size=16),
    reply_to=st.none() | U64,
    deliver_to=st.none() | U64,
)
ROWS = [
    (Metadata(), ""),
    (Metadata(trace=bytes(range(26))), "01ff1a000000" + bytes(range(26)).hex()),
    (Metadata(published_at=1), "02ff080000000100000000000000"),
    (Metadata(origin=(7, 1)), "03ff1000000007000000000000000100000000000000"),
    (Metadata(correlation=b"c" * 16), "04ff10000000" + "63" * 16),
    (Metadata(reply_to=2**64 - 1), "05ff08000000ffffffffffffffff"),
    (Metadata(deliver_to=0), "06ff080000000000000000000000"),
    (Metadata(published_at=1, deliver_to=2), "02ff08000000010000000000000006ff080000000200000000000000"),
]


def tags(data):
    return {tag: data[start:stop] for tag, start, stop in walk(data, 0, len(data))}


@pytest.mark.parametrize(("metadata", "data"), ROWS)
def test_metadata_has_these_bytes_both_ways(metadata, data):
    assert metadata.encode().hex() == data
    assert Metadata.from_tags(tags(bytes.fromhex(data))) == metadata


@given(METADATA)
def test_any_metadata_survives_in_ascending_order(metadata):
    data = metadata.encode()
    found = tags(data)
    assert list(found) == sorted(found)
    assert Metadata.from_tags(found) == metadata


def test_metadata_of_unknown_kind_is_skipped():
    assert Metadata.from_tags({0xF000: b"?", 0xFF07: b"", 0xFF05: struct.pack("<Q", 3)}) == Metadata(reply_to=3)


@pytest.mark.parametrize("tag", KINDS)
@pytest.mark.parametrize("by", [-1, 1])
def test_metadata_of_another_length_is_refused(tag, by):
    kind = KINDS[tag]
    with pytest.raises(DecodeError) as caught:
        Metadata.from_tags({tag: bytes(kind.size + by)})
    assert str(caught.value) == (
        f"metadata.{kind.name}: metadata {kind.title!r} (tag {tag:#06x}) takes {kind.size} bytes, not {kind.size + by}"
    )


def test_the_shape_of_unknown_metadata_is_nobodys_business():
    check_shape(0xFFFF, 3)
    with pytest.raises(Misfit):
        check_shape(0xFF02, 3)


@pytest.mark.parametrize("name", ["trace", "correlation"])
@pytest.mark.parametrize("value", [b"", b"x" * 17, "x" * 16])
def test_raw_metadata_of_another_length_is_not_sent(name, value):
    with pytest.raises(ValueError, match=f"{name} takes"):
        Metadata(**{name: value}).encode()
