"""A connection's states: who may say what, when; limits before Welcome; and how it ends."""

from pathlib import Path

import pytest
import yaml

from mycelium.handle import core_protocol
from mycelium.wire.buffer import Batch
from mycelium.wire.connection import Connection
from mycelium.wire.errors import ErrorCode, LocalProtocolError, ProtocolError
from mycelium.wire.frames import encode_frame
from mycelium.wire.state import Role, State, is_fatal

CORE = core_protocol()
CLIENT, BRIDGE = Role.CLIENT, Role.BRIDGE
PING = bytes.fromhex("10000000 0700 0100 08000000 0100000000000000")
HELLO = bytes.fromhex("11000000 0100 0100 02000000 0100 0200 01000000 63")
ORDER = encode_frame(1010, b"order")


def message_of(row):
    fields = {
        name: bytes.fromhex(value[2:]) if isinstance(value, str) and value.startswith("0x") else value
        for name, value in row["fields"].items()
    }
    return getattr(CORE, row["message"])(**fields)


ROWS = yaml.safe_load((Path(__file__).parent.parent / "vectors" / "core.yaml").read_text())["rows"]
EXAMPLES = {row["message"]: message_of(row) for row in ROWS}
"""One of each; the Error among them is not fatal."""
FATAL = CORE.Error(code=ErrorCode.PROTOCOL, message="m", fatal=True)
CLIENTS = {"Hello", "Subscribe", "Unsubscribe", "Credit", "Confirm", "Query"}
BOTH = {"Error", "Ping", "Pong", "Goodbye"}
BRIDGES = set(EXAMPLES) - CLIENTS - BOTH

TABLE = {
    (State.START, CLIENT): {"Hello", "Goodbye"},
    (State.START, BRIDGE): {"Goodbye"},
    (State.HELLO, CLIENT): {"Goodbye"},
    (State.HELLO, BRIDGE): {"Welcome", "NeedContracts", "Goodbye"},
    (State.NEED_CONTRACTS, CLIENT): {"Hello", "Goodbye"},
    (State.NEED_CONTRACTS, BRIDGE): {"Goodbye"},
    (State.CONTRACTS, CLIENT): {"Goodbye"},
    (State.CONTRACTS, BRIDGE): {"Welcome", "Goodbye"},
    (State.OPEN, CLIENT): (CLIENTS | BOTH) - {"Hello"},
    (State.OPEN, BRIDGE): (BRIDGES | BOTH) - {"Welcome", "NeedContracts"},
    (State.CLOSED, CLIENT): set(),
    (State.CLOSED, BRIDGE): set(),
}
"""Who may say what in which state, of messages that do not end the connection."""
NEXT = {
    (State.START, "Hello"): State.HELLO,
    (State.HELLO, "Welcome"): State.OPEN,
    (State.HELLO, "NeedContracts"): State.NEED_CONTRACTS,
    (State.NEED_CONTRACTS, "Hello"): State.CONTRACTS,
    (State.CONTRACTS, "Welcome"): State.OPEN,
}


def connection(role, state=State.START):
    """A connection that has come to a state in the way that leads there."""
    made = Connection(role, CORE)
    steps = {
        State.START: [],
        State.HELLO: [CLIENT],
        State.NEED_CONTRACTS: [CLIENT, "NeedContracts"],
        State.CONTRACTS: [CLIENT, "NeedContracts", CLIENT],
        State.OPEN: [CLIENT, "Welcome"],
        State.CLOSED: [],
    }[state]
    for step in steps:
        name = "Hello" if step is CLIENT else step
        speaker = CLIENT if step is CLIENT else BRIDGE
        if speaker is role:
            made.send(EXAMPLES[name])
        else:
            assert hear(made, CORE.encode(EXAMPLES[name])) == [EXAMPLES[name]]
    if state is State.CLOSED:
        made.close()
    assert made.state is state
    return made


def hear(made, data):
    made.receive_data(data)
    heard = []
    while (event := made.next_event()) is not None:
        heard.append(event)
    return heard


@pytest.mark.parametrize(("state", "speaker"), TABLE, ids=lambda each: each.value)
class TestEveryMessageInEveryState:
    def test_is_sent_where_the_table_has_it_and_refused_elsewhere(self, state, speaker):
        for name, message in EXAMPLES.items():
            made = connection(speaker, state)
            if name in TABLE[state, speaker]:
                assert made.send(message) == CORE.encode(message)
                assert made.state is NEXT.get((state, name), state), name
            else:
                with pytest.raises(LocalProtocolError, match=name):
                    made.send(message)
                assert made.state is state

    def test_is_received_where_the_table_has_it_and_a_protocol_error_elsewhere(self, state, speaker):
        for name, message in EXAMPLES.items():
            made = connection(speaker.peer, state)
            if state is State.CLOSED:
                assert hear(made, CORE.encode(message)) == []
            elif name in TABLE[state, speaker]:
                assert hear(made, CORE.encode(message)) == [message]
                assert made.state is NEXT.get((state, name), state), name
            else:
                with pytest.raises(ProtocolError, match=name) as caught:
                    hear(made, CORE.encode(message))
                assert caught.value.code is ErrorCode.PROTOCOL


@pytest.mark.parametrize("state", [state for state in State if state is not State.CLOSED], ids=lambda each: each.value)
@pytest.mark.parametrize("role", Role, ids=lambda each: each.value)
class TestAFatalError:
    def test_said_ends_the_connection_from_any_state(self, role, state):
        made = connection(role, state)
        assert made.send(FATAL) == CORE.encode(FATAL)
        assert made.state is State.CLOSED
        assert made.fail(ProtocolError(ErrorCode.LIMIT, "again")) == b""

    def test_heard_ends_the_connection_from_any_state(self, role, state):
        made = connection(role, state)
        assert hear(made, CORE.encode(FATAL) + PING) == [FATAL]
        assert made.state is State.CLOSED


@pytest.mark.parametrize(
    ("code", "request_", "fatal", "ends"),
    [
        (ErrorCode.INVALID_PAYLOAD, None, False, False),
        (ErrorCode.INVALID_PAYLOAD, None, True, True),
        (ErrorCode.SCHEMA_INCOMPATIBLE, None, False, False),
        (ErrorCode.PAUSED, None, False, False),
        *((code, None, False, True) for code in (1, 2, 3, 4, 5, 6, 14, 15, 16, 17)),
        (ErrorCode.PROTOCOL, 7, True, False),
        (ErrorCode.LIMIT, 7, False, False),
        (999, None, False, False),
        (999, None, True, True),
    ],
)
def test_an_error_is_fatal_by_its_code_unless_it_answers_a_request(code, request_, fatal, ends):
    error = CORE.Error(code=code, message="m", request=request_, fatal=fatal)
    assert is_fatal(error) is ends
    made = connection(CLIENT, State.OPEN)
    assert hear(made, CORE.encode(error)) == [error]
    assert made.state is (State.CLOSED if ends else State.OPEN)


# --- frames that are no core message of this version ---


def test_unknown_core_ids_are_skipped_once_the_connection_is_open():
    for role in Role:
        made = connection(role, State.OPEN)
        assert hear(made, encode_frame(21, b"of a newer version") + encode_frame(999, b"") + PING) == [EXAMPLES["Ping"]]


@pytest.mark.parametrize("role", Role, ids=lambda each: each.value)
@pytest.mark.parametrize("state", [State.START, State.HELLO], ids=lambda each: each.value)
def test_unknown_core_ids_before_welcome_are_a_protocol_error(role, state):
    with pytest.raises(ProtocolError, match="unknown type 21 before Welcome"):
        hear(connection(role, state), encode_frame(21, b""))


def test_type_id_0_is_a_protocol_error():
    with pytest.raises(ProtocolError, match="type id 0"):
        hear(connection(BRIDGE, State.OPEN), bytes.fromhex("02000000 0000"))


@pytest.mark.parametrize("role", Role, ids=lambda each: each.value)
@pytest.mark.parametrize("state", [State.START, State.HELLO, State.NEED_CONTRACTS], ids=lambda each: each.value)
def test_application_frames_before_welcome_are_a_protocol_error(role, state):
    with pytest.raises(ProtocolError, match=r"a message \(type id 1010\) before Welcome"):
        hear(connection(role, state), ORDER)


def test_a_core_message_that_cannot_be_read_is_a_protocol_error_that_says_why():
    with pytest.raises(ProtocolError, match=r"protocol: Ping.*nonce"):
        hear(connection(BRIDGE, State.OPEN), encode_frame(7, b""))


def test_application_frames_come_in_batches_between_core_messages():
    made = connection(BRIDGE, State.OPEN)
    heard = hear(made, ORDER + ORDER + PING + ORDER + PING + PING + ORDER)
    assert [len(each) if isinstance(each, Batch) else type(each).__name__ for each in heard] == [
        2,
        "Ping",
        1,
        "Ping",
        "Ping",
        1,
    ]
    assert [each.to_bytes() for each in heard if isinstance(each, Batch)] == [ORDER + ORDER, ORDER, ORDER]


def test_a_frame_behind_hello_is_looked_at_after_the_bridge_has_answered():
    made = connection(BRIDGE)
    made.receive_data(HELLO + PING)
    assert type(made.next_event()).__name__ == "Hello"
    made.send(EXAMPLES["Welcome"])
    assert made.next_event() == EXAMPLES["Ping"]


# --- limits ---


def hello_of(size):
    """A Hello whose whole frame has that many bytes."""
    empty = len(CORE.encode(CORE.Hello(protocol=1, client="")))
    return CORE.encode(CORE.Hello(protocol=1, client="x" * (size - empty)))


def test_p17_until_welcome_a_frame_of_over_4_kib_is_refused_by_its_header():
    assert len(hear(connection(BRIDGE), hello_of(4096))) == 1
    with pytest.raises(ProtocolError) as caught:
        hear(connection(BRIDGE), hello_of(4097)[:6])
    assert caught.value.code is ErrorCode.LIMIT
    with pytest.raises(ProtocolError, match="limit"):
        hear(connection(BRIDGE, State.HELLO), hello_of(4097)[:6])


def test_the_second_hello_may_have_1_mib():
    def second(size):
        empty = len(CORE.encode(CORE.Hello(protocol=1, client="c", contracts=b"")))
        return CORE.encode(CORE.Hello(protocol=1, client="c", contracts=bytes(size - empty)))

    assert len(hear(connection(BRIDGE, State.NEED_CONTRACTS), second(1024 * 1024))) == 1
    with pytest.raises(ProtocolError, match="limit"):
        hear(connection(BRIDGE, State.NEED_CONTRACTS), second(1024 * 1024 + 1)[:6])


def test_what_follows_the_second_hello_is_limited_to_4_kib_again():
    with pytest.raises(ProtocolError, match="limit"):
        hear(connection(BRIDGE, State.CONTRACTS), hello_of(4097)[:6])


def test_p14_an_open_bridge_takes_its_own_limit_exactly():
    made = Connection(BRIDGE, CORE, max_payload=5000)
    hear(made, HELLO)
    made.send(EXAMPLES["Welcome"])
    assert hear(made, encode_frame(1010, bytes(4999)) + encode_frame(1010, bytes(5000)))[0].size == 9999 + 12
    with pytest.raises(ProtocolError, match="a payload of 5001 bytes; at most 5000 are taken"):
        hear(made, encode_frame(1010, bytes(5001)))


def test_a_client_takes_a_welcome_with_a_large_document():
    made = connection(CLIENT, State.HELLO)
    welcome = CORE.Welcome(
        protocol=1,
        server="s",
        session=1,
        schema_id=1,
        schema_version=1,
        schema_digest=bytes(32),
        contracts=bytes(900_000),
        max_payload=10_000,
        heartbeat_ms=1000,
    )
    assert hear(made, CORE.encode(welcome)) == [welcome]


@pytest.mark.parametrize(("told", "taken"), [(1000, 4_194_304), (8_000_000, 8_000_000), (0xFFFFFFFF, 64 * 1024 * 1024)])
def test_a_client_takes_as_much_as_its_bridge_does(told, taken):
    made = connection(CLIENT, State.HELLO)
    hear(made, CORE.encode(welcome(told)))
    assert made.max_payload == taken
    with pytest.raises(ProtocolError, match=f"at most {taken} are taken"):
        hear(made, (taken + 3).to_bytes(4, "little") + b"\xf2\x03")


def welcome(max_payload):
    return CORE.Welcome(
        protocol=1,
        server="s",
        session=1,
        schema_id=1,
        schema_version=1,
        schema_digest=bytes(32),
        max_payload=max_payload,
        heartbeat_ms=1000,
    )


# --- the end ---


def test_the_end_of_the_stream_between_frames_closes():
    made = connection(BRIDGE, State.OPEN)
    assert hear(made, PING) == [EXAMPLES["Ping"]]
    assert hear(made, b"") == []
    assert made.state is State.CLOSED


@pytest.mark.parametrize("cut", [1, 4, 6, 19])
def test_the_end_of_the_stream_inside_a_frame_is_a_protocol_error(cut):
    made = connection(BRIDGE, State.OPEN)
    assert hear(made, ORDER + PING[:cut])[0].size == len(ORDER)
    with pytest.raises(ProtocolError, match=f"after {cut} bytes of it"):
        hear(made, b"")


def test_whole_frames_before_the_end_are_given_first():
    made = connection(BRIDGE, State.OPEN)
    made.receive_data(PING + PING)
    made.receive_data(b"")
    assert [made.next_event(), made.next_event(), made.next_event()] == [EXAMPLES["Ping"]] * 2 + [None]
    assert made.state is State.CLOSED


def test_a_client_that_said_goodbye_publishes_no_more():
    made = connection(BRIDGE, State.OPEN)
    assert hear(made, ORDER + CORE.encode(CORE.Goodbye(reason="client")))[1] == CORE.Goodbye(reason="client")
    assert made.peer_said_goodbye
    assert hear(made, CORE.encode(EXAMPLES["Credit"])) == [EXAMPLES["Credit"]]
    with pytest.raises(ProtocolError, match="a message after Goodbye"):
        hear(made, ORDER)


def test_a_bridge_that_said_goodbye_still_delivers():
    made = connection(CLIENT, State.OPEN)
    assert len(hear(made, CORE.encode(CORE.Goodbye(reason="shutdown")) + ORDER)) == 2


def test_fail_says_what_was_broken_and_closes():
    made = connection(BRIDGE, State.OPEN)
    frame = made.fail(ProtocolError(ErrorCode.LIMIT, "too large"))
    assert frame == bytes.fromhex("20000000 0300 0100 02000000 0300 0200 09000000 746f6f206c61726765 0500 01000000 01")
    assert made.state is State.CLOSED


def test_once_closed_nothing_is_kept():
    made = connection(BRIDGE, State.OPEN)
    made.receive_data(PING[:5])
    made.close()
    made.receive_data(bytes(100_000))
    assert made.next_event() is None
    assert repr(made) == "<Connection bridge closed, 0 bytes buffered>"


def test_core_messages_are_attributes_and_others_are_none():
    assert CORE.Ping(nonce=1) == EXAMPLES["Ping"]
    with pytest.raises(AttributeError):
        _ = CORE.Order
