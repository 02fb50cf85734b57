"""One client at the bridge in virtual time: handshake, answers, heartbeat, lag, and the reasons for its end."""

import logging

import pytest
from talks import Talk, names

import mycelium
from mycelium.wire.frames import encode_frame
from mycelium.wire.state import State
from peers import CORE, PING

# --- handshake ---


def test_welcome_says_what_the_bridge_is(talk, contracts):
    welcome = talk.open()
    assert welcome == CORE.Welcome(
        protocol=1,
        server="mycelium",
        session=1,
        schema_id=0x4D594345,
        schema_version=1,
        schema_digest=bytes.fromhex(contracts.schema.digest),
        max_payload=4_194_304,
        heartbeat_ms=10_000,
    )
    assert talk.session.is_open
    assert repr(talk.session) == "<Session 1 'c' open, 0 subscriptions>"


def test_contracts_are_sent_to_who_wants_them_and_say_the_same(talk, contracts):
    welcome = talk.open(want_contracts=True)
    assert mycelium.handle.load_document(welcome.contracts, "x").schema.digest == contracts.schema.digest


def test_equal_digests_are_welcomed_at_once(talk, contracts):
    assert talk.open(schema_digest=bytes.fromhex(contracts.schema.digest)).session == 1


@pytest.mark.parametrize("protocol", [0, 2, 255, 65535])
def test_p21_another_protocol_version_is_refused_with_those_that_are_spoken(talk, protocol):
    talk.say(CORE.Hello(protocol=protocol, client="c"))
    (error,) = talk.hear()
    assert error.code == 2
    assert error.message == f"protocol {protocol} is not spoken here; this bridge speaks 1 and no other"
    assert talk.session.reason == "version"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [({"heartbeat_ms": 0}, "a heartbeat of 0 ms"), ({"contracts": b"{}"}, "contracts in the first Hello")],
)
def test_a_hello_that_makes_no_sense_is_a_protocol_error(talk, fields, problem):
    talk.say(CORE.Hello(protocol=1, client="c", **fields))
    (error,) = talk.hear()
    assert (error.code, talk.session.reason) == (1, "protocol")
    assert problem in error.message


def test_p16_the_handshake_has_one_deadline_whatever_drips_in(talk):
    hello = CORE.encode(CORE.Hello(protocol=1, client="c"))
    for second, byte in enumerate(hello[:5]):
        talk.tick(second * 0.9)
        talk.say(bytes([byte]))
    talk.tick(4.99)
    assert talk.session.reason is None
    talk.tick(5.0)
    (error,) = talk.hear()
    assert (error.code, error.message) == (4, "no complete handshake within 5 s")
    assert talk.session.reason == "handshake_timeout"


@pytest.mark.parametrize("name", ["Subscribe", "Unsubscribe", "Ping", "Pong", "Credit", "Confirm", "Query", "Ack"])
def test_p17_any_other_first_frame_ends_the_handshake(talk, name):
    examples = {
        "Subscribe": CORE.Subscribe(request=1, subscription=1, type_ids=[]),
        "Unsubscribe": CORE.Unsubscribe(request=1, subscription=1),
        "Ping": CORE.Ping(nonce=1),
        "Pong": CORE.Pong(nonce=1),
        "Credit": CORE.Credit(subscription=1, messages=1),
        "Confirm": CORE.Confirm(enabled=True),
        "Query": CORE.Query(request=1, what="info"),
        "Ack": CORE.Ack(request=1),
    }
    talk.say(CORE.encode(examples[name]))
    (error,) = talk.hear()
    assert (error.code, error.fatal, talk.session.reason) == (1, True, "protocol")


def test_what_is_clumped_behind_hello_is_read(talk):
    subscribe = CORE.Subscribe(request=1, subscription=1, type_ids=[1010])
    talk.say(CORE.encode(CORE.Hello(protocol=1, client="c")) + CORE.encode(subscribe) + PING)
    talk.client.state = State.HELLO
    assert names(talk.hear()) == ["Welcome", "Ack", "Batch"]


def test_a_clients_name_is_cut_and_escaped_for_people(talk):
    talk.open(client="evil\x1b[2J\n" + "x" * 500)
    assert talk.session.client.startswith("evil\\x1b[2J\\n")
    assert len(talk.session.client) < 150


# --- requests ---


def test_each_request_is_answered_once(opened):
    opened.say(
        CORE.Subscribe(request=1, subscription=1, type_ids=[1010]),
        CORE.Subscribe(request=2, subscription=2, type_ids=[1010]),
        CORE.Subscribe(request=3, subscription=1, type_ids=[1011]),
        CORE.Unsubscribe(request=4, subscription=1),
        CORE.Unsubscribe(request=5, subscription=77),
    )
    heard = opened.hear()
    assert names(heard) == ["Ack", "Error", "Ack", "Ack", "Ack"]
    assert [each.request for each in heard] == [1, 2, 3, 4, 5]
    assert opened.session.is_open


def test_nothing_of_an_unsubscribed_number_follows_its_ack(opened):
    opened.say(CORE.Subscribe(request=1, subscription=1, type_ids=[1010]), PING * 5)
    opened.say(CORE.Unsubscribe(request=2, subscription=1), PING)
    assert names(opened.hear()) == ["Ack", "Ack"]


def test_a_pong_follows_what_was_said_before_its_ping(opened):
    opened.say(CORE.Subscribe(request=1, subscription=1, type_ids=[1010], window=1))
    opened.say(PING, CORE.Ping(nonce=2**64 - 1), PING)
    heard = opened.hear()
    assert names(heard) == ["Ack", "Pong", "Batch"]
    assert heard[1].nonce == 2**64 - 1
    assert opened.session.subscriptions.queued == 1


def test_the_clients_own_messages_come_back_unless_it_says_no_echo(opened):
    opened.say(CORE.Subscribe(request=1, subscription=1, type_ids=[1010]))
    opened.say(CORE.Subscribe(request=2, subscription=2, type_ids=[1011], no_echo=True))
    opened.say(PING + encode_frame(1011, bytes.fromhex("0100 00000000")))
    assert names(opened.hear()) == ["Ack", "Ack", "Batch"]


# --- lag ---


def test_lag_is_told_before_the_next_message(opened):
    opened.say(CORE.Subscribe(request=1, subscription=3, type_ids=[1010], queue=2))
    opened.hear()
    opened.say(PING * 5)
    lagged, batch = opened.hear()
    assert lagged == CORE.Lagged(subscription=3, type_id=1010, dropped=3, reason=0)
    assert len(batch) == 2


def test_lag_is_told_when_no_message_comes(opened):
    opened.say(CORE.Subscribe(request=1, subscription=3, type_ids=[1010], queue=1, window=1))
    opened.say(PING * 4)
    heard = opened.hear()
    assert names(heard) == ["Ack", "Lagged", "Batch"]
    opened.say(PING * 4)
    assert opened.hear() == []
    opened.session.report_lag()
    assert opened.hear() == [CORE.Lagged(subscription=3, type_id=1010, dropped=3, reason=0)]
    opened.session.report_lag()
    assert opened.hear() == []


# --- heartbeat ---


def test_a_silent_client_is_pinged_and_then_ended(opened):
    for second in range(1, 31):
        opened.tick(second)
        heard = opened.hear()
        assert names(heard) == {10: ["Ping"], 20: ["Ping"], 30: ["Error"]}.get(second, []), second
    assert opened.session.reason == "heartbeat"


def test_the_client_chooses_the_interval_within_bounds(contracts):
    assert [Talk(contracts).open(heartbeat_ms=ms).heartbeat_ms for ms in (1, 2500, 10**9)] == [1000, 2500, 300_000]


# --- the end ---


def test_a_client_that_says_goodbye_gets_its_answers_and_is_gone(opened):
    opened.say(CORE.Ping(nonce=5), CORE.Goodbye(reason="client"))
    assert (opened.session.reason, opened.session.is_over) == ("client", True)
    assert names(opened.hear()) == ["Pong"]


def test_the_end_of_the_stream_is_eof_and_inside_a_frame_a_protocol_error(contracts):
    for last, reason in ((b"", "eof"), (PING[:7], "protocol")):
        talk = Talk(contracts)
        talk.open()
        talk.say(PING)
        if last:
            talk.say(last)
        talk.say(b"")
        assert talk.session.reason == reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [(CORE.Error(code=1, message="m", fatal=False), "client"), (CORE.Error(code=9, message="m", fatal=False), None)],
)
def test_a_clients_error_ends_it_where_it_is_fatal(opened, error, reason):
    opened.say(error)
    assert opened.session.reason == reason


def test_a_bridge_that_says_goodbye_delivers_what_is_queued_before_it_ends(opened):
    opened.say(CORE.Subscribe(request=1, subscription=1, type_ids=[1010], window=2), PING * 3)
    opened.hear()
    opened.session.say_goodbye("shutdown")
    opened.session.say_goodbye("shutdown")
    assert opened.hear() == [CORE.Goodbye(reason="shutdown")]
    opened.say(CORE.Goodbye(reason="shutdown"))
    assert (opened.session.said_goodbye, opened.session.reason) == (True, None)
    opened.session.finish()
    assert opened.session.reason is None
    opened.say(CORE.Credit(subscription=1, messages=1))
    assert names(opened.hear()) == ["Batch"]
    assert opened.session.reason == "shutdown"


def test_a_handshake_is_told_that_the_bridge_goes(talk):
    talk.say(CORE.encode(CORE.Hello(protocol=1, client="c"))[:5])
    talk.session.say_goodbye("shutdown")
    assert talk.session.reason == "shutdown"
    assert talk.session.take_output(0) == CORE.encode(CORE.Goodbye(reason="shutdown"))


def test_answers_that_nobody_reads_end_the_session_before_they_fill_the_memory(opened):
    opened.bridge.limits = mycelium.Limits(outbound_bytes=1024 * 1024)
    ping = CORE.encode(CORE.Ping(nonce=1))
    sent = 0
    while not opened.session.is_over:
        opened.say(ping * 1000)
        sent += 1000 * len(ping)
        assert sent < 4 * 1024 * 1024
    assert opened.session.reason == "slow_consumer"
    assert len(opened.session.take_output(0)) < 200


def test_once_over_nothing_is_read_said_or_ticked(opened):
    opened.session.end("eof")
    told = opened.notified
    opened.say(PING + CORE.encode(CORE.Ping(nonce=1)))
    opened.tick(1000)
    opened.session.end("client")
    opened.session.say_goodbye("shutdown")
    opened.session.report_lag()
    opened.session.refuse(mycelium.wire.errors.ErrorCode.LIMIT, "x")
    assert (opened.session.take_output(0), opened.notified, opened.session.reason) == (b"", told, "eof")


async def test_a_fault_inside_the_bridge_ends_that_connection_alone(opened, caplog):
    def broken(message: "Ping"):  # noqa: F821
        raise KeyboardInterrupt

    await opened.bus.subscribe(broken)
    with pytest.raises(KeyboardInterrupt):
        opened.say(PING)
    opened.bus.exchange.publish_batch = None
    opened.say(PING)
    (error,) = opened.hear()
    assert (error.code, error.message) == (16, "a fault of the bridge's own; its log has more")
    assert opened.session.reason == "internal"
    assert "ends by a fault of the bridge" in caplog.text


def test_logs_show_no_payload_and_one_line_a_second(opened, caplog):
    canary = encode_frame(1010, bytes.fromhex("0100 0b000000") + b"\xffcanary6502")
    with caplog.at_level(logging.DEBUG):
        for _ in range(50):
            opened.say(canary)
        opened.now = 1.5
        opened.say(canary * 51)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "client c, session 1: invalid_payload: type id 1010",
        "client c, session 1: invalid_payload: type id 1010 (and 49 more before)",
        "client c, session 1: limit: over 100 errors in 10 s",
    ]
