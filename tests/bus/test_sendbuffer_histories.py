"""Any history of the send buffer against a model: nothing twice, in order, and each waiter told once."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sendbuffers import frame, frames_of, make

from mycelium.bus.parcel import PLAIN, Parcel, Stamp
from mycelium.bus.unconfirmed import Unconfirmed


class Expected(Unconfirmed):
    """Who waits is a message's number here."""

    def __init__(self):
        super().__init__(0)
        self.waiting = set()
        self.numbers = {}

    def expect(self, waiter, number):
        self.numbers[waiter] = number

    def parcel(self, frame, stamp, waiter):
        made = super().parcel(frame, stamp, waiter)
        made.on_dropped = lambda _: self.waiting.remove(waiter)
        return made


class AnyHistory(RuleBasedStateMachine):
    """Held against a model: one list of messages, taken from the front."""

    def __init__(self):
        super().__init__()
        self.receipts = Expected()
        self.buffer, self.clock = make(50_000, open_=False, receipts=self.receipts)
        self.counted = None
        self.model = deque()  # number, since
        self.number = 0
        self.sent = []
        self.pings = []
        self.expected = []
        self.attached = self.open = False
        self.expired = 0

    @rule(
        size=st.integers(4, 30_000),
        kind=st.sampled_from(["plain", "stamped", "confirmed", "confirmed later"]),
        type_id=st.integers(1000, 1001),
    )
    def publish(self, size, kind, type_id):
        self.number += 1
        made = frame(self.number, size, type_id)
        parcel = Parcel(made, Stamp(published_at=1 if kind == "stamped" else None))
        if not self.buffer.has_room(parcel.size):
            return
        match kind:
            case "plain":
                self.buffer.put(made)
            case "stamped":
                self.buffer.put_parcel(parcel)
            case "confirmed":
                self.buffer.put_confirmed(made, self.number)
            case "confirmed later":
                self.buffer.put_parcel(self.receipts.parcel(made, PLAIN, self.number))
        if kind.startswith("confirmed"):
            self.receipts.waiting.add(self.number)
        self.model.append((self.number, self.clock.now, type_id))

    @precondition(lambda self: not self.attached)
    @rule()
    def attach(self):
        self.buffer.attach(1)
        self.attached, self.open = True, False

    @precondition(lambda self: self.attached and not self.open)
    @rule()
    def uncork(self):
        self.buffer.uncork()
        self.open = True

    @precondition(lambda self: self.attached)
    @rule()
    def lose(self):
        self.buffer.detach()
        self.attached = self.open = False
        self.counted = None
        self.pings = []

    @rule(type_id=st.sampled_from([1000, 1001, None]), paused=st.booleans())
    def flow(self, type_id, paused):
        if self.attached:
            self.buffer.flow.apply([] if type_id is None else [type_id], paused=paused)

    @rule(seconds=st.sampled_from([0.1, 1.0, 12.0]))
    def wait(self, seconds):
        self.clock.now += seconds
        self.buffer.expire()
        limit = self.clock.now - 30.0
        kept = deque(one for one in self.model if one[1] > limit + 0.25)
        # within the quarter second that a run spans either is right
        while len(kept) < self.buffer.messages:
            kept = deque(list(self.model)[len(self.model) - self.buffer.messages :])
        self.model = kept

    @rule()
    def pong(self):
        for nonce in self.pings:
            self.buffer.pong(nonce)
        self.pings = []

    @rule()
    def take(self):
        while data := self.buffer.take():
            for type_id, payload in frames_of(data):
                if type_id == 7:
                    self.pings.append(int.from_bytes(payload[-8:], "little"))
                    continue
                if type_id == 16:
                    assert self.counted is None
                    self.counted = 0
                    continue
                number, _, expected_type = self.model.popleft()
                if self.counted is not None:
                    self.counted += 1
                if number in self.receipts.waiting:
                    self.receipts.waiting.remove(number)
                    assert self.receipts.numbers.pop(number) == self.counted
                assert self.open
                assert not self.buffer.flow.holds(type_id)
                assert (int.from_bytes(payload[:4], "little"), type_id) == (number, expected_type)
        if self.open and not self.buffer.flow.is_shut and self.buffer.messages:
            assert self.pings, "it waits for a Pong that was never asked for"

    @invariant()
    def nobody_waits_for_what_is_not_there(self):
        assert self.receipts.waiting <= {number for number, _, _ in self.model}
        assert not self.receipts.numbers

    @invariant()
    def counts(self):
        assert self.buffer.messages == len(self.model)
        assert (self.buffer.size == 0) == (self.buffer.messages == 0)
        assert self.buffer.size <= 50_000 or self.buffer.messages == 1


AnyHistory.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyHistory = AnyHistory.TestCase


@pytest.mark.parametrize("limit", [10, 8 * 1024 * 1024])
def test_repr_says_what_waits(limit):
    assert repr(make(limit)[0]) == "<SendBuffer, 0 messages of 0 bytes>"
