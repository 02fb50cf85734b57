"""Structs of the Rust dialect: the shared vectors, properties, and the codecs of a generation."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import load, message_names, mutated, struct_messages, struct_worlds

from mycelium.schema.errors import LayoutError, RuleError, UnknownTypeError
from mycelium.schema.layout import layout_of
from mycelium.schema.model import MISSING, MessageRef
from mycelium.schema.values import from_json_value
from mycelium.wire.errors import DecodeError, EncodeError, Misfit
from mycelium.wire.frames import encode_frame
from mycelium.wire.rust import RustCodecs
from mycelium.wire.rustframes import RUST_HEADER, RustFrames, encode_rust_frame

FOLDER = Path(__file__).parent.parent
VECTORS = yaml.safe_load((FOLDER / "vectors" / "rust.yaml").read_text())
WORLD = load(VECTORS["contracts"])
CODECS = RustCodecs(WORLD.registry)
ROWS = [pytest.param(row, id=row["message"]) for row in VECTORS["roundtrip"]]
SLOW_TO_DRAW = settings(max_examples=60, deadline=None)


def message_of(row, key="fields"):
    return from_json_value(MessageRef(row["message"]), row.get(key, row["fields"]), WORLD.registry)


def outcome(function, *arguments):
    """What a function returns, or the arguments of the error that it raises; NaN is equal to itself."""
    try:
        return "value", repr(function(*arguments))
    except (DecodeError, EncodeError) as error:
        return type(error).__name__, repr(error.args)


def walked(codec, payload, **options):
    """What the general walk makes of a payload."""
    try:
        return "value", repr(codec.walk.decode(payload, **options))
    except Misfit as misfit:
        found = (codec.layout.message, misfit.path, misfit.problem, misfit.offset, misfit.rule, misfit.value)
        return "DecodeError", repr(found)


# --- vectors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS)
def test_a_message_has_these_bytes(row):
    message = message_of(row)
    codec = CODECS.codec(message.TYPE_ID)
    assert codec.encode(message).hex() == codec.walk.encode(message).hex() == row["payload"]
    assert CODECS.encode_frame(message).hex() == CODECS.publish_frame(message).hex() == row["frame"]
    assert CODECS.size_of(message.TYPE_ID) == len(row["payload"]) // 2


@pytest.mark.parametrize("row", ROWS)
def test_these_bytes_are_the_message(row):
    expected, payload = message_of(row, "decoded"), bytes.fromhex(row["payload"])
    codec = CODECS.codec(expected.TYPE_ID)
    assert CODECS.decode(expected.TYPE_ID, payload) == codec.walk.decode(payload) == expected
    assert codec.decode_run(bytes.fromhex(row["frame"]) * 3) == [expected] * 3


@pytest.mark.parametrize("row", ROWS)
def test_a_frame_crosses_to_the_native_form_and_back(row):
    expected, payload = message_of(row, "decoded"), bytes.fromhex(row["payload"])
    native = CODECS.to_native(expected.TYPE_ID, payload)
    assert native == encode_frame(expected.TYPE_ID, expected.to_bytes())
    assert CODECS.from_native(expected.TYPE_ID, native[6:]).hex() == row["frame"]


# --- properties ------------------------------------------------------------------------------------------------------


def with_zeros(codec, message):
    """The message with the zero of its type in place of each None that has one."""
    zeros = {field.name: field.zero for field in codec.walk.fields if getattr(message, field.name) is None}
    values = {name: getattr(message, name) for name in message.__match_args__}
    return type(message)(**{**values, **zeros})


@SLOW_TO_DRAW
@given(st.data())
def test_any_message_comes_back_with_zeros_for_none(data):
    drawn = data.draw(struct_worlds())
    name = data.draw(message_names(drawn))
    codec, message = drawn.codec(name).rust, data.draw(struct_messages(drawn, name))
    payload = codec.encode(message)
    decoded = codec.decode(payload)
    assert decoded == with_zeros(codec, message) == codec.walk.decode(payload)
    assert codec.encode(decoded) == payload == codec.walk.encode(message)
    assert len(payload) == layout_of(drawn.schema.messages[name]).size
    assert codec.encode_frame(message) == encode_rust_frame(codec.layout.type_id, payload)
    assert not any(payload[at] for start, stop in codec.layout.paddings for at in range(start, stop))


@SLOW_TO_DRAW
@given(st.data())
def test_any_bytes_are_a_message_or_an_error_and_fast_path_run_and_walk_agree(data):
    drawn = data.draw(struct_worlds(rules=True))
    codec = drawn.codec(data.draw(message_names(drawn))).rust
    size = codec.layout.size
    payload = data.draw(st.binary(min_size=size, max_size=size) | st.just(bytes(size)) | st.binary(max_size=size + 1))
    decoded = outcome(codec.decode, payload)
    assert decoded == walked(codec, payload)
    assert outcome(codec.decode_for_native, payload) == walked(codec, payload, for_native=True)
    if len(payload) == size:
        run = codec.decode_run(encode_rust_frame(codec.layout.type_id, payload))
        assert (run is None) is (decoded[0] != "value")
        assert run is None or repr(run[0]) == decoded[1]


@SLOW_TO_DRAW
@given(st.data())
def test_bytes_that_are_nearly_a_message_are_one_or_an_error(data):
    drawn = data.draw(struct_worlds(rules=True))
    name = data.draw(message_names(drawn))
    codec = drawn.codec(name).rust
    payload = data.draw(mutated(codec.encode(data.draw(struct_messages(drawn, name)))))
    payload = payload[: codec.layout.size].ljust(codec.layout.size, b"\0")
    decoded = outcome(codec.decode, payload)
    assert decoded == walked(codec, payload)
    if decoded[0] == "value":
        again = codec.encode(codec.decode(payload))
        assert codec.encode(codec.decode(again)) == again


@SLOW_TO_DRAW
@given(st.data())
def test_what_is_published_obeys_its_rules_and_so_does_what_is_read(data):
    drawn = data.draw(struct_worlds(rules=True))
    name = data.draw(message_names(drawn))
    codec, message = drawn.codec(name).rust, data.draw(struct_messages(drawn, name))
    try:
        frame = codec.publish_frame(message)
    except RuleError as error:
        field = next(one for one in codec.walk.fields if one.name == error.field)
        if not (field.codec.field.optional and getattr(message, field.name) == field.zero):
            with pytest.raises(DecodeError) as caught:
                codec.decode(codec.encode(message))
            assert caught.value.rule is not None
        return
    assert codec.decode(frame[RUST_HEADER.size :]) == with_zeros(codec, message)


@SLOW_TO_DRAW
@given(st.data())
def test_what_crosses_to_the_native_form_is_read_there(data):
    drawn = data.draw(struct_worlds(rules=True))
    codec = drawn.codec(data.draw(message_names(drawn)))
    size = codec.rust.layout.size
    payload = data.draw(st.binary(min_size=size, max_size=size) | st.just(bytes(size)))
    try:
        message = codec.rust.decode_for_native(payload)
    except DecodeError:
        return
    codec.publish_frame(message)
    # Beside a default None does not survive the native wire, and nobody makes a default obey the rules.
    if not any(field.optional and field.default is not MISSING for field in codec.message.fields):
        assert codec.decode(codec.encode(message)) == message or "nan" in repr(message)


SIZES = {
    "mycelium-protocol": {1001: 312, 1002: 16, 1003: 224},
    "mycelium-defi": {1018: 68, 1011: 168, 1020: 144},
    "mycelium-game": {1000: 24, 1001: 40, 1002: 24, 1003: 32, 1004: 32},
}


@settings(max_examples=10, deadline=None)
@given(st.data())
@pytest.mark.parametrize("name", SIZES)
def test_messages_of_the_real_files_come_back(name, data):
    world = load((FOLDER / "contracts" / f"{name}.yaml").read_text())
    codecs = RustCodecs(world.registry)
    assert {type_id: codecs.size_of(type_id) for type_id in codecs.layouts} == SIZES[name]
    message = data.draw(struct_messages(world, data.draw(message_names(world))))
    codec = codecs.codec(message.TYPE_ID)
    payload = codec.encode(message)
    kind, decoded = outcome(codec.decode, payload)
    assert kind == "DecodeError" or decoded == repr(with_zeros(codec, message))
    assert walked(codec, payload) == (kind, decoded)
    assert codec.walk.encode(message) == payload


# --- a generation ----------------------------------------------------------------------------------------------------


def test_the_codecs_of_a_generation_know_their_types():
    assert repr(CODECS) == "<RustCodecs, 6 layouts>"
    assert repr(CODECS.codec(1002)) == "<RustCodec CounterUpdate (1002), 16 bytes>"
    assert 1002 in CODECS
    assert 7 not in CODECS
    assert CODECS.size_of(7) is None
    for call in (lambda: CODECS.codec(7), lambda: CODECS.decode(7, b""), lambda: CODECS.to_native(7, b"")):
        with pytest.raises(UnknownTypeError):
            call()


def test_a_schema_without_layouts_has_no_codecs():
    with pytest.raises(LayoutError, match=r"A.x: u128 .*; B.y: Vec<u32>"):
        RustCodecs(
            load(
                "messages:\n  A: {tlv_type: 1000, fields: {x: {type: u128}}}\n"
                "  B: {tlv_type: 1001, fields: {y: {type: Vec<u32>}}}\n"
            ).registry
        )


def test_a_reload_keeps_the_codecs_of_what_did_not_change_and_the_contract_order():
    import mycelium

    text = "messages:\n  A: {{tlv_type: 1000, fields: {{{}}}}}\n  B: {{tlv_type: 1001, fields: {{x: {{type: u8}}}}}}\n"
    x, y = "x: {type: u8, tag: 1}", "y: {type: u16, tag: 2}"
    contracts = mycelium.load(text.format(f"{x}, {y}"))
    before = RustCodecs(contracts.registry)
    assert before.encode_frame(contracts.A(1, 2)).hex() == "e8030400000001000200"
    kept = before.codec(1001)
    contracts.apply(mycelium.load(text.format(f"{y}, {x}")).schema)
    after = RustCodecs(contracts.registry)
    assert after.codec(1001) is kept
    assert after.encode_frame(contracts.A(1, 2)).hex() == "e8030400000002000100"


# --- batches ---------------------------------------------------------------------------------------------------------


def batch_of(*frames):
    stream = RustFrames()
    stream.feed(b"".join(frames))
    return stream.take()


def test_batches_are_decoded_whole_or_not_at_all():
    counter = [WORLD.registry.class_of("CounterUpdate")(number, -number, 1) for number in range(40)]
    text = WORLD.registry.class_of("TextMessage")("a", "b", 3)
    frames = [CODECS.encode_frame(message) for message in counter]
    assert batch_of(*frames).is_even
    assert CODECS.decode_batch(batch_of(*frames)) == counter
    mixed = [frames[0], CODECS.encode_frame(text), frames[1]]
    assert CODECS.decode_batch(batch_of(*mixed)) == [counter[0], text, counter[1]]
    assert CODECS.decode_batch(batch_of(*frames[:2])) == counter[:2]
    for wrong in (encode_rust_frame(1002, bytes(15)), encode_rust_frame(7, b"")):
        assert CODECS.decode_batch(batch_of(*mixed, wrong)) is None
        assert CODECS.decode_batch(batch_of(*[wrong] * 40)) is None
