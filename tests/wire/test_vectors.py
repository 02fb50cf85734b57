"""Every row of the shared vectors for the wire, both ways, through every door."""

from pathlib import Path

import pytest
import yaml
from strategies import fields_of, load

from mycelium.schema.model import MessageRef
from mycelium.schema.values import from_json_value
from mycelium.wire.errors import DecodeError
from mycelium.wire.frames import encode_frame
from mycelium.wire.metadata import Metadata

VECTORS = yaml.safe_load((Path(__file__).parent.parent / "vectors" / "native.yaml").read_text())
WORLD = load(VECTORS["contracts"])
TRAILING = Metadata(published_at=17, reply_to=4)


def rows(section):
    return [
        pytest.param(row, id=f"{row['message']}, {row.get('title', number)}")
        for number, row in enumerate(VECTORS[section])
    ]


def message_of(row):
    fields = {name: value for name, value in row["fields"].items() if value is not None}
    return from_json_value(MessageRef(row["message"]), fields, WORLD.registry)


def payload_of(row):
    return bytes.fromhex(row["payload"])


@pytest.mark.parametrize("row", rows("roundtrip"))
def test_a_message_has_these_bytes(row):
    codec = WORLD.codec(row["message"])
    assert codec.encode(message_of(row)).hex() == row["payload"]
    assert encode_frame(codec.message.type_id, payload_of(row)).hex() == row["frame"]
    codec.check(message_of(row))
    if codec.check_rules is not None:
        codec.check_rules(message_of(row))


@pytest.mark.parametrize("row", rows("roundtrip"))
def test_these_bytes_are_the_message(row):
    codec = WORLD.codec(row["message"])
    assert codec.decode(payload_of(row)) == message_of(row)
    assert codec.verify(payload_of(row)) == {}
    assert codec.walk.decode(payload_of(row), 0, len(payload_of(row)), 1, None) == message_of(row)


@pytest.mark.parametrize("row", rows("roundtrip"))
def test_metadata_behind_the_fields_is_found_and_changes_nothing(row):
    codec, payload = WORLD.codec(row["message"]), payload_of(row) + TRAILING.encode()
    found: dict[int, bytes] = {}
    assert codec.decode(payload, found) == message_of(row)
    assert Metadata.from_tags(found) == TRAILING
    assert codec.decode(payload) == message_of(row)
    assert codec.verify(payload) == found


@pytest.mark.parametrize("row", rows("roundtrip"))
def test_metadata_may_stand_anywhere(row):
    codec, payload = WORLD.codec(row["message"]), TRAILING.encode() + payload_of(row)
    found: dict[int, bytes] = {}
    assert codec.decode(payload) == codec.decode(payload, found) == message_of(row)
    assert codec.verify(payload) == found
    assert Metadata.from_tags(found) == TRAILING


@pytest.mark.parametrize("row", rows("roundtrip"))
def test_the_order_of_fields_is_free(row):
    codec, payload = WORLD.codec(row["message"]), b"".join(reversed(fields_of(payload_of(row))))
    assert codec.decode(payload) == message_of(row)
    assert codec.verify(payload) == {}
    assert codec.encode(codec.decode(payload)) == payload_of(row)


@pytest.mark.parametrize("row", rows("accept"))
def test_what_a_decoder_has_to_accept(row):
    codec = WORLD.codec(row["message"])
    assert codec.decode(payload_of(row)) == message_of(row)
    codec.verify(payload_of(row))


@pytest.mark.parametrize("row", rows("reject"))
def test_what_a_decoder_has_to_refuse(row):
    codec = WORLD.codec(row["message"])
    for door in (codec.decode, codec.verify):
        with pytest.raises(DecodeError) as caught:
            door(payload_of(row))
        assert caught.value.message == row["message"]
        assert 0 <= caught.value.offset <= len(payload_of(row))
