"""Messages nested deep, the cost of hostile bytes, and what a generation leaves behind."""

import gc
import linecache
import struct
import sys
import tracemalloc
import weakref

import pytest
from wire_worlds import field, one, outcome, world

from mycelium.wire.errors import DecodeError, EncodeError

# --- nesting ---------------------------------------------------------------------------------------------------------


CHAIN = {
    "Chain": {"fields": {"next": {"type": "Chain", "optional": True}, "many": {"type": "Vec<Chain>", "optional": True}}}
}


def chain(cls, depth, *, through_many):
    message = cls()
    for _ in range(depth - 1):
        message = cls(many=[message]) if through_many else cls(message)
    return message


@pytest.mark.parametrize("through_many", [False, True])
def test_messages_nest_16_deep_on_the_fast_path_too(through_many):
    made = world(CHAIN)
    cls, codec = made.registry.class_of("Chain"), made.codec("Chain")
    message = chain(cls, 16, through_many=through_many)
    payload = codec.encode(message)
    assert codec.decode(payload) == message
    assert codec.verify(payload) == {}
    codec.check(message)
    step = "many[0]" if through_many else "next"
    for function in (codec.encode, codec.check):
        with pytest.raises(EncodeError) as refused:
            function(chain(cls, 17, through_many=through_many))
        assert refused.value.field == ".".join([step] * 16)
        assert refused.value.problem == "nests deeper than 16 messages"
    inner = len(payload).to_bytes(4, "little") + payload if through_many else payload
    deeper = (b"\2\0" if through_many else b"\1\0") + len(inner).to_bytes(4, "little") + inner
    for door in (codec.decode, codec.verify):
        with pytest.raises(DecodeError) as caught:
            door(deeper)
        assert caught.value.field == ".".join([step] * 16)
        assert caught.value.problem == "nests deeper than 16 messages"


def test_a_surprise_deep_inside_is_walked_once_and_not_once_per_level():
    made = world(CHAIN)
    codec = made.codec("Chain")
    payload = field(999) + field(998)  # unknown fields behind the last known one are no surprise, tag 2 after 999 is
    payload += field(2)
    for _ in range(15):
        payload = b"\1\0" + len(payload).to_bytes(4, "little") + payload
    walks = 0

    def count(frame, event, _):
        nonlocal walks
        walks += event == "call" and frame.f_code.co_name == "_read"

    sys.setprofile(count)
    try:
        message = codec.decode(payload)
    finally:
        sys.setprofile(None)
    assert walks == 16
    assert codec.decode(codec.encode(message)) == message


def test_metadata_tags_inside_a_nested_message_are_unknown_fields():
    made = world(CHAIN)
    found: dict[int, bytes] = {}
    nested = field(0xFF02, "0102")  # no shape to obey
    message = made.codec("Chain").decode(field(1, nested.hex()) + field(0xFF05, "07" * 8), found)
    assert message == chain(made.registry.class_of("Chain"), 2, through_many=False)
    assert found == {0xFF05: b"\7" * 8}
    assert made.codec("Chain").verify(field(1, nested.hex())) == {}


# --- a generation and its cost ---------------------------------------------------------------------------------------


def test_a_generation_that_nobody_holds_is_collected_and_leaves_no_source_behind():
    entries = set(linecache.cache)
    made = world({"Leg": {"fields": {"price": {"type": "f64"}}}, "Order": {"fields": {"legs": {"type": "Vec<Leg>"}}}})
    codec, leg, order = made.codec("Order"), made.registry.class_of("Leg"), made.registry.class_of("Order")
    message = order([leg(1.0)])
    assert codec.decode(codec.encode(message)) == message
    codec.check(message)
    codec.verify(codec.encode(message))
    dead = [weakref.ref(one) for one in (codec, codec.decode, made.codec("Leg"), leg, order)]
    del made, codec, leg, order, message
    gc.collect()
    assert [each() for each in dead] == [None] * 5
    assert not [name for name in set(linecache.cache) - entries if "codec" in name]


def test_generated_functions_say_whose_they_are():
    _, codec = one({"a": {"type": "u8"}})
    assert codec.encode.__code__.co_filename == "<mycelium codec Message>"
    assert codec.decode.__qualname__ == "Message.decode"
    assert repr(codec) == "<Codec Message (1000)>"


HOSTILE = {
    "bytes": field(1, "")[:2] + (4_000_000).to_bytes(4, "little") + b"x" * 10,
    "strings": field(2)[:2] + (400_000).to_bytes(4, "little") + b"\xff\xff\xff\x7f" + b"\0" * 399_996,
    "array": field(3)[:2] + (100).to_bytes(4, "little") + b"\0" * 100,
    "numbers": field(4)[:2] + (400_001).to_bytes(4, "little") + b"\0" * 400_001,
    "unknown": b"".join(field(tag) for tag in range(10, 61_000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_p12_a_hostile_payload_makes_nothing_big_of_something_small(name):
    fields = {
        "raw": {"type": "bytes"},
        "strings": {"type": "Vec<String>"},
        "array": {"type": "[u32; 1000000]"},
        "numbers": {"type": "Vec<u64>"},
    }
    _, codec = one({each: {**spec, "optional": True, "tag": tag} for tag, (each, spec) in enumerate(fields.items(), 1)})
    payload = HOSTILE[name]
    for door in (codec.decode, codec.verify):  # compiled before anything is measured
        door(b"")
        tracemalloc.start()
        try:
            outcome(door, payload)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 16 * len(payload) + 200_000


def calls(function, *arguments):
    """How many functions run before a DecodeError."""
    count = 0

    def profile(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        outcome(function, *arguments)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize(
    "spelling",
    ["Vec<Vec<[u16; 2]>>", "Vec<Vec<bool>>", "Vec<bool>", "Vec<String>", "Map<u8, Vec<bool>>", "Vec<Message>"],
)
def test_a_length_far_beyond_the_payload_costs_nothing(spelling, optional):
    _, codec = one({"a": {"type": spelling, **({"optional": True} if optional else {})}})
    lengths = b"".join(struct.pack("<I", 2**31 - 4 * step) for step in range(3))
    entry = struct.pack("<HIBHI", 1, 1, 0, 2, 2**31 - 100) if spelling.startswith("Map") else b""
    payload = b"\1\0" + lengths[: 4 if entry else 12] + (lengths[4:8] + entry) + b"\1" * 21
    for door in (codec.decode, codec.verify):
        door_of = calls(door, payload)
        assert door_of < 200


def test_elements_that_verify_looks_at_are_not_kept():
    _, codec = one({"words": {"type": "Vec<String>"}, "table": {"type": "Map<u32, String>", "optional": True}})
    payload = field(1, "00000000" * 100_000)
    codec.verify(field(1))
    tracemalloc.start()
    try:
        codec.verify(payload)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000
