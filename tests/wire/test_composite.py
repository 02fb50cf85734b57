"""Values of types that are made of others: bytes both ways, and what is wrong with which part of them."""

import pytest
from wire_rows import BROKEN, CLOSE, MISFITS, ROWS, WORLD, Tree, type_of

from mycelium.schema.model import MAX_NESTING
from mycelium.wire.bulk import bulk
from mycelium.wire.composite import value_codec
from mycelium.wire.errors import Misfit


def codec_of(spelling):
    return value_codec(type_of(spelling), lambda name: WORLD.codec(name).walk.value, WORLD.registry.enum_of)


@pytest.mark.parametrize(("spelling", "value", "data"), ROWS)
def test_a_value_has_these_bytes_both_ways(spelling, value, data):
    codec = codec_of(spelling)
    payload = b"??" + bytes.fromhex(data) + b"!!"
    assert codec.encode(value, 1).hex() == data
    decoded = codec.decode(payload, 2, len(payload) - 2, 1)
    assert (decoded, type(decoded)) == (value, type(value))
    codec.scan(payload, 2, len(payload) - 2, 1)
    assert codec.size in (None, len(data) // 2)
    if isinstance(value, dict):
        assert list(decoded) == list(value)


@pytest.mark.parametrize(("spelling", "value", "data"), CLOSE)
def test_a_value_of_a_class_that_is_close_enough_is_written(spelling, value, data):
    assert codec_of(spelling).encode(value, 1).hex() == data


@pytest.mark.parametrize(("spelling", "value", "path", "problem"), MISFITS)
def test_a_value_that_does_not_fit_is_told_with_its_path(spelling, value, path, problem):
    with pytest.raises(Misfit) as caught:
        codec_of(spelling).encode(value, 1)
    assert (caught.value.path, caught.value.problem) == (path, problem)


@pytest.mark.parametrize(("spelling", "data", "path", "problem", "offset"), BROKEN)
def test_bytes_that_are_no_such_value_are_told_with_path_and_offset(spelling, data, path, problem, offset):
    codec, payload = codec_of(spelling), b"??" + bytes.fromhex(data)
    for read in (codec.decode, codec.scan):
        with pytest.raises(Misfit) as caught:
            read(payload, 2, len(payload), 1)
        assert (caught.value.path, caught.value.problem, caught.value.offset) == (path, problem, offset)


@pytest.mark.parametrize(
    "data",
    [
        "020002000000070001000100000001",  # value before key
        "01000100000001090000000000020002000000" + "0700",  # a tag that nobody knows
        "010001000000010200020000000700" + "02ff00000000",  # metadata has no meaning here
    ],
)
def test_an_entry_is_a_tlv_sequence_like_any_other(data):
    entry = bytes.fromhex(data)
    payload = len(entry).to_bytes(4, "little") + entry
    assert codec_of("Map<u8, u16>").decode(payload, 0, len(payload), 1) == {1: 7}
    codec_of("Map<u8, u16>").scan(payload, 0, len(payload), 1)


def tree(depth):
    return Tree([] if depth == 1 else [tree(depth - 1)])


def test_messages_nest_16_deep_and_no_deeper():
    codec = codec_of("Tree")
    assert MAX_NESTING == 16
    payload = codec.encode(tree(15), 1)
    assert codec.decode(payload, 0, len(payload), 1) == tree(15)
    codec.scan(payload, 0, len(payload), 1)
    path = "leaves[0]." * 15
    with pytest.raises(Misfit) as caught:
        codec.encode(tree(16), 1)
    assert (caught.value.path, caught.value.problem) == (path[:-1], "nests deeper than 16 messages")
    deeper = (len(payload) + 4).to_bytes(4, "little")
    payload = b"\x01\x00" + deeper + len(payload).to_bytes(4, "little") + payload
    for read in (codec.decode, codec.scan):
        with pytest.raises(Misfit) as caught:
            read(payload, 0, len(payload), 1)
        assert (caught.value.path, caught.value.problem) == (path[:-1], "nests deeper than 16 messages")
        assert caught.value.offset == 150


def test_lists_of_what_has_no_fixed_size_cannot_be_packed():
    with pytest.raises(TypeError, match="String is not fixed-size"):
        bulk(type_of("String"), WORLD.registry.enum_of)
