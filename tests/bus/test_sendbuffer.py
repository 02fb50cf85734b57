"""The send buffer: one order over connections, nothing twice, bounds, Flow, the window of Pongs, receipts by number."""

from sendbuffers import CONFIRM, frame, frames_of, make, ping

from mycelium.bus.flowgate import FlowGate
from mycelium.bus.parcel import LETTER_BYTES, Parcel, Stamp
from mycelium.bus.pongwindow import PING_BYTES, WINDOW_BYTES, PongWindow
from mycelium.bus.segment import Note
from mycelium.wire.frames import HEADER
from peers import CORE


def drain(buffer):
    data = []
    while taken := buffer.take():
        data.append(taken)
    return frames_of(b"".join(data))


def numbers(found):
    return [int.from_bytes(payload[:4], "little") for type_id, payload in found if type_id >= 1000]


# --- order and connections ---


def test_what_is_put_comes_out_once_and_in_order_byte_for_byte():
    buffer, _ = make()
    put = [frame(number) for number in range(100)]
    for each in put:
        buffer.put(each)
    assert (buffer.messages, buffer.size) == (100, 100 * 16)
    assert buffer.take() == b"".join(put)
    assert (buffer.messages, buffer.size, buffer.is_waiting, buffer.take()) == (0, 0, False, b"")


def test_p54_messages_wait_for_the_subscriptions_and_what_is_said_does_not():
    buffer, _ = make(open_=False)
    buffer.put(frame(1))
    buffer.say(Note(b"nobody hears it"))
    assert buffer.take() == b""
    buffer.attach(7)
    subscribe = CORE.encode(CORE.Subscribe(request=1, subscription=1, type_ids=[1000]))
    buffer.say(Note(subscribe))
    buffer.say(Note(ping(5), is_barrier=True))
    assert buffer.take() == subscribe
    assert buffer.take() == b""
    buffer.uncork()
    assert buffer.take() == frame(1) + ping(5)


def test_what_was_said_to_a_bridge_goes_with_its_connection_and_messages_stay():
    buffer, _ = make()
    buffer.put(frame(1))
    buffer.say(Note(ping(5), is_barrier=True))
    buffer.put(frame(2))
    buffer.detach()
    buffer.put(frame(3))
    buffer.attach(8)
    buffer.uncork()
    assert buffer.take() == frame(1) + frame(2) + frame(3)
    assert buffer.expired == 0


def test_without_a_buffer_nothing_stays_and_it_is_counted():
    buffer, _ = make()
    buffer.put(frame(1))
    buffer.put_parcel(Parcel(frame(2), Stamp()))
    buffer.detach(keep=False)
    assert (buffer.messages, buffer.size, buffer.expired) == (0, 0, 2)


def test_no_message_follows_the_answer_to_a_goodbye_but_credit_does():
    buffer, _ = make()
    goodbye = CORE.encode(CORE.Goodbye(reason="shutdown"))
    buffer.put(frame(1))
    buffer.say(Note(goodbye, is_barrier=True, is_last=True))
    buffer.put(frame(2))
    assert buffer.take() == frame(1) + goodbye
    buffer.say(Note(ping(1)))
    assert buffer.take() == ping(1)
    buffer.detach()
    buffer.attach(8)
    buffer.uncork()
    assert buffer.take() == frame(2)


def test_a_mark_is_told_when_everything_before_it_is_handed_over():
    buffer, _ = make(open_=False)
    told = []
    for number in range(3):
        buffer.put(frame(number, 50_000))
    buffer.attach(7)
    buffer.say(Note(is_barrier=True, on_handed=lambda: told.append(buffer.messages)))
    buffer.take()
    assert told == []
    buffer.uncork()
    drain(buffer)
    assert told == [0]


# --- bounds and time ---


def test_bounds_are_exact_in_bytes_and_messages(monkeypatch):
    buffer, _ = make(160, open_=False)
    for number in range(10):
        assert buffer.has_room(16)
        buffer.put(frame(number))
    assert not buffer.has_room(1)
    monkeypatch.setattr("mycelium.bus.sendbuffer._MOST_MESSAGES", 11)
    other, _ = make(open_=False)
    for number in range(11):
        assert other.has_room(16)
        other.put(frame(number))
    assert not other.has_room(1)


def test_a_message_larger_than_the_buffer_goes_alone_while_connected():
    buffer, _ = make(100)
    assert buffer.has_room(1000)
    buffer.put(frame(1, 1000))
    assert not buffer.has_room(1)
    buffer.detach()
    drain(buffer)
    assert not make(100, open_=False)[0].has_room(1000)


def test_p54_what_has_waited_for_30_s_is_dropped_and_counted_and_what_has_not_is_sent():
    buffer, clock = make(open_=False)
    dropped = []
    buffer.put(frame(1))
    buffer.put_parcel(Parcel(frame(2), Stamp(), on_dropped=lambda _: dropped.append(2)))
    clock.now = 10.0
    buffer.put(frame(3))
    assert buffer.oldest == 30.0
    clock.now = 29.9
    buffer.expire()
    assert buffer.messages == 3
    clock.now = 30.0
    buffer.expire()
    assert (buffer.expired, buffer.messages, dropped, buffer.oldest) == (2, 1, [2], 40.0)
    buffer.attach(7)
    buffer.uncork()
    assert numbers(drain(buffer)) == [3]


def test_messages_that_another_bridge_does_not_take_are_dropped():
    buffer, _ = make(open_=False)
    for number, size in enumerate([10, 100, 10]):
        buffer.put(frame(number, size))
    buffer.put_parcel(Parcel(frame(3, 20), Stamp(published_at=1)))
    buffer.put_parcel(Parcel(frame(4, 4), Stamp(published_at=1)))
    assert buffer.drop_larger(50 + HEADER.size) == 2
    buffer.attach(7)
    buffer.uncork()
    assert numbers(drain(buffer)) == [0, 2, 4]
    assert (buffer.messages, buffer.size, buffer.expired) == (0, 0, 0)


def test_a_message_that_is_taken_back_is_not_sent():
    buffer, _ = make()
    parcel = Parcel(frame(1), Stamp())
    buffer.put_parcel(parcel)
    assert buffer.withdraw(parcel)
    assert (buffer.take(), buffer.messages, buffer.size) == (b"", 0, 0)
    buffer.put_parcel(parcel)
    buffer.take()
    assert not buffer.withdraw(parcel)


# --- what need not wait ---


def letter(number, *, deliver_to=None, type_id=1000):
    stamp = Stamp(None, b"c" * 16, asks=deliver_to is None, deliver_to=deliver_to)
    return Parcel(frame(number, type_id=type_id), stamp)


def test_what_is_handed_over_at_once_is_what_would_have_been_taken():
    buffer, _ = make()
    buffer.put_parcel(letter(1))
    taken = buffer.take()
    buffer, _ = make()
    parcel = letter(1)
    assert buffer.hand_over(parcel) == taken
    assert parcel.is_handed
    assert not buffer.withdraw(parcel)
    assert (buffer.messages, buffer.size, buffer.entered, buffer.is_waiting) == (0, 0, 1, False)


def test_nothing_is_handed_over_past_what_waits():
    buffer, _ = make(open_=False)
    assert buffer.hand_over(letter(1)) == b""
    buffer.attach(7)
    assert buffer.hand_over(letter(1)) == b""
    buffer.uncork()
    buffer.put(frame(2))
    assert buffer.hand_over(letter(3)) == b""
    buffer.take()
    buffer.say(Note(ping(1)))
    assert buffer.hand_over(letter(3)) == b""
    buffer.take()
    assert (buffer.messages, buffer.entered) == (0, 1)
    assert numbers(frames_of(buffer.hand_over(letter(3)))) == [3]


def test_flow_holds_a_request_and_no_reply():
    buffer, _ = make()
    buffer.flow.apply([1000], paused=True)
    assert buffer.hand_over(letter(1)) == b""
    assert numbers(frames_of(buffer.hand_over(letter(2, deliver_to=9)))) == [2]


def test_what_is_handed_over_counts_for_the_window_of_pongs():
    buffer, _ = make()
    pings = 0
    while data := buffer.hand_over(Parcel(frame(1, 100_000), Stamp(None, b"c" * 16, deliver_to=9))):
        pings += sum(type_id == CORE.Ping.TYPE_ID for type_id, _ in frames_of(data))
    assert buffer.entered == WINDOW_BYTES // (100_000 + HEADER.size + LETTER_BYTES)
    assert pings == 3


# --- stamps and receipts ---


def test_stamps_are_those_of_the_connection_that_a_message_goes_through():
    buffer, _ = make(open_=False)
    for number in (1, 2):
        buffer.put_parcel(Parcel(frame(number, 4), Stamp(published_at=99)))
    for session in (7, 8):
        buffer.attach(session)
        buffer.uncork()
        (found,) = drain(buffer)[:1]
        tail = found[1][4:]
        assert tail.hex(" ", 2) == (
            f"02ff 0800 0000 6300 0000 0000 0000 03ff 1000 0000 0{session}00 0000 0000 0000 0100 0000 0000 0000"
        )
        buffer.detach()
        buffer.put_parcel(Parcel(frame(2, 4), Stamp(published_at=99)))


def test_confirm_is_said_once_before_the_first_confirmed_message_and_all_after_it_are_counted():
    buffer, _ = make()
    told = []
    buffer.put(frame(1))
    buffer.put_parcel(Parcel(frame(2), Stamp(), is_confirmed=True, on_handed=told.append))
    buffer.put(frame(3))
    buffer.put(frame(4))
    buffer.put_parcel(Parcel(frame(5), Stamp(), is_confirmed=True, on_handed=told.append))
    assert buffer.take() == frame(1) + CONFIRM + frame(2) + frame(3) + frame(4) + frame(5)
    assert told == [1, 4]
    buffer.detach()
    buffer.attach(8)
    buffer.uncork()
    buffer.put_parcel(Parcel(frame(6), Stamp(), is_confirmed=True, on_handed=told.append))
    assert buffer.take() == CONFIRM + frame(6)
    assert told == [1, 4, 1]


# --- Flow and the window ---


def test_flow_holds_a_type_back_with_what_comes_after_it_but_not_a_reply():
    buffer, _ = make()
    buffer.flow.apply([1001], paused=True)
    buffer.put(frame(1))
    buffer.put_parcel(Parcel(frame(2, type_id=1001), Stamp(None, bytes(16), deliver_to=3)))
    buffer.put(frame(3))
    buffer.put(frame(4, type_id=1001))
    buffer.put(frame(5))
    buffer.say(Note(ping(9), is_barrier=True))
    buffer.say(Note(ping(1)))
    found = drain(buffer)
    assert numbers(found) == [1, 2, 3]
    assert found[-1] == frames_of(ping(1))[0]
    assert buffer.messages == 2
    buffer.flow.apply([1001], paused=False)
    assert buffer.take() == frame(4, type_id=1001) + frame(5) + ping(9)


def test_flow_gate():
    gate = FlowGate()
    assert not gate.is_shut
    gate.apply([1, 2], paused=True)
    assert (gate.holds(1), gate.holds(3), gate.is_shut) == (True, False, True)
    gate.apply([1], paused=False)
    assert (gate.holds(1), gate.holds(2)) == (False, True)
    gate.apply([], paused=True)
    assert gate.holds(3)
    assert repr(gate) == "<FlowGate, all paused>"
    gate.apply([], paused=False)
    assert (gate.holds(2), gate.holds(3)) == (True, False)
    assert repr(gate) == "<FlowGate, [2] paused>"
    gate.clear()
    assert not gate.is_shut


def test_a_ping_every_256_kib_and_never_more_than_1_mib_without_its_pong():
    buffer, _ = make()
    for number in range(400):
        buffer.put(frame(number, 10_000))
    found = drain(buffer)
    pings = [payload for type_id, payload in found if type_id == 7]
    sent = sum(len(payload) + HEADER.size for type_id, payload in found if type_id == 1000)
    assert WINDOW_BYTES - 2 * 10_000 < sent <= WINDOW_BYTES
    since = 0
    for type_id, payload in found:
        since = 0 if type_id == 7 else since + len(payload) + HEADER.size
        assert since <= PING_BYTES + 64 * 1024 + 10_000
    assert found[-1][0] == 7  # else no Pong would ever open the window
    nonces = [int.from_bytes(payload[-8:], "little") for payload in pings]
    for nonce in nonces:
        assert buffer.pong(nonce)
    assert len(numbers(drain(buffer))) > 90


def test_a_message_larger_than_the_window_goes_alone():
    window = PongWindow()
    assert window.allows(4 * WINDOW_BYTES)
    window.add(4 * WINDOW_BYTES)
    assert not window.allows(1)
    nonce = window.ping()
    assert not window.pong(5)
    assert window.pong(nonce)
    assert window.allows(4 * WINDOW_BYTES)
    assert repr(window) == "<PongWindow, 0 bytes without a Pong>"
