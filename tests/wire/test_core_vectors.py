"""Core messages as literal frames: each row is written by one side's connection and read by the other's."""

from pathlib import Path

import pytest
import yaml

from mycelium.handle import core_protocol
from mycelium.wire.connection import Connection
from mycelium.wire.frames import encode_frame
from mycelium.wire.state import Role, State

CORE = core_protocol()
ROWS = yaml.safe_load((Path(__file__).parent.parent / "vectors" / "core.yaml").read_text())["rows"]
STATES = {"Hello": State.START, "Welcome": State.HELLO, "NeedContracts": State.HELLO}
"""Where a message belongs that does not belong in OPEN."""


def message_of(row):
    fields = {
        name: bytes.fromhex(value[2:]) if isinstance(value, str) and value.startswith("0x") else value
        for name, value in row["fields"].items()
    }
    return getattr(CORE, row["message"])(**fields)


def sides(row):
    """Connections of who says it and who hears it, both where it may be said."""
    speaker = Role.CLIENT if CORE.may_send(Role.CLIENT, row["message"]) else Role.BRIDGE
    pair = Connection(speaker, CORE), Connection(speaker.peer, CORE)
    for each in pair:
        each.state = STATES.get(row["message"], State.OPEN)
    return pair


@pytest.fixture(params=ROWS, ids=lambda row: row["message"])
def row(request):
    return request.param


def heard_by(connection, pieces):
    heard = []
    for piece in pieces:
        connection.receive_data(piece)
        while (event := connection.next_event()) is not None:
            heard.append(event)
    return heard


def test_is_written_as_these_bytes(row):
    speaker, _ = sides(row)
    assert speaker.send(message_of(row)).hex() == row["frame"]


def test_is_read_from_these_bytes(row):
    _, hearer = sides(row)
    assert heard_by(hearer, [bytes.fromhex(row["frame"])]) == [message_of(row)]


def test_is_read_byte_by_byte(row):
    _, hearer = sides(row)
    frame = bytes.fromhex(row["frame"])
    assert heard_by(hearer, [frame[at : at + 1] for at in range(len(frame))]) == [message_of(row)]


def test_is_read_with_the_beginning_of_the_next_frame_behind_it(row):
    _, hearer = sides(row)
    assert heard_by(hearer, [bytes.fromhex(row["frame"]) + b"\x10\0\0"]) == [message_of(row)]


def test_is_read_with_unknown_fields_of_a_newer_version_behind_its_own(row):
    _, hearer = sides(row)
    frame = bytes.fromhex(row["frame"])
    type_id = int.from_bytes(frame[4:6], "little")
    newer = encode_frame(type_id, frame[6:] + bytes.fromhex("e700 02000000 abcd"))
    assert heard_by(hearer, [newer]) == [message_of(row)]


def test_every_core_message_has_a_row():
    assert {row["message"] for row in ROWS} == set(CORE.registry.schema.messages)
