"""What one client may say at the bridge, in virtual time: good frames, bad ones, forged ones, and any bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from talks import Talk, names

import mycelium
from mycelium.wire.frames import encode_frame
from mycelium.wire.metadata import Metadata
from peers import CORE, PING

BAD = encode_frame(1010, bytes.fromhex("0100 02000000 ff68"))
"""A Ping with what is no UTF-8."""


def test_good_frames_reach_subscribers_and_bad_ones_are_answered_and_never_delivered(opened):
    opened.say(CORE.Subscribe(request=1, subscription=1, type_ids=[1010]))
    opened.say(PING + BAD + PING + PING)
    ack, error, batch = opened.hear()
    assert names([ack, error, batch]) == ["Ack", "Error", "Batch"]
    assert (error.code, error.type_id, error.fatal, error.request) == (9, 1010, False, None)
    assert error.message.startswith("Ping.value: ")
    assert batch.to_bytes() == PING * 3
    assert (opened.session.intake.received, opened.session.intake.refused) == (3, 1)
    assert opened.session.is_open


def test_p06_unknown_types_are_told_and_the_101st_error_in_ten_seconds_ends_it(opened):
    unknown = encode_frame(4242, b"")
    opened.say(unknown * 100)
    told = opened.hear()
    assert {(error.code, error.type_id, error.fatal, error.message) for error in told} == {
        (8, 4242, False, "the bridge's contracts have no type id 4242")
    }
    assert (len(told), opened.session.is_open) == (100, True)
    opened.say(unknown + PING)
    (error,) = opened.hear()
    assert (error.code, error.fatal, error.message) == (3, True, "over 100 errors in 10 s")
    assert (opened.session.reason, opened.session.intake.received) == ("limit", 0)


def test_p06_errors_that_come_slowly_are_borne(opened):
    for number in range(300):
        opened.now = number * 0.11
        opened.say(BAD)
    assert opened.session.is_open


FORGED = {
    "origin of another session": Metadata(origin=(2, 1)),
    "reply to another session": Metadata(reply_to=7, correlation=bytes(16)),
    "a reply that nobody asked for": Metadata(deliver_to=1, correlation=bytes(16)),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_what_a_client_says_of_itself_must_be_true(opened, forged):
    opened.say(encode_frame(1010, bytes.fromhex("0100 02000000 6869") + forged.encode()))
    (error,) = opened.hear()
    assert (error.code, error.type_id, error.fatal) == (10, 1010, False)
    assert opened.session.intake.received == 0


def test_true_metadata_passes_and_metadata_of_a_wrong_shape_does_not(opened):
    true = Metadata(origin=(1, 5), reply_to=1, correlation=bytes(16), published_at=1, trace=bytes(26))
    opened.say(encode_frame(1010, bytes.fromhex("0100 02000000 6869") + true.encode()))
    assert opened.hear() == [CORE.NoResponders(correlation=bytes(16))]
    assert opened.session.intake.received == 1
    opened.say(encode_frame(1010, bytes.fromhex("0100 02000000 6869 02ff 01000000 00")))
    assert [error.code for error in opened.hear()] == [9]


def test_monotonic_fields_are_held_per_session():
    contracts = mycelium.load(
        "messages:\n  Tick: {tlv_type: 1000, fields: {at: {type: u8, validation: [{monotonic: true}]}}}\n"
    )
    talk = Talk(contracts)
    talk.open()
    tick = [encode_frame(1000, bytes.fromhex("0100 01000000") + bytes([at])) for at in range(5)]
    talk.say(tick[2] + tick[1] + tick[2] + tick[3])
    (error,) = talk.hear()
    assert (error.code, talk.session.intake.received) == (9, 3)
    assert "monotonic" in error.message
    other = talk.another()
    other.receive_data(CORE.encode(CORE.Hello(protocol=1, client="d")) + tick[0], 0)
    assert other.intake.received == 1


@given(st.binary(min_size=1, max_size=300), st.integers(0, 300))
@settings(max_examples=150, deadline=None)
def test_p11_any_bytes_after_the_handshake_are_answered_or_end_it_with_one_reason(data, cut):
    talk = Talk(mycelium.load("messages:\n  A: {tlv_type: 1000, fields: {a: {type: String}}}\n"))
    talk.open()
    talk.say(data[:cut])
    if data[cut:]:
        talk.say(data[cut:])
    talk.say(b"")
    talk.hear()
    assert talk.session.reason in {"protocol", "limit", "eof", "client"}
