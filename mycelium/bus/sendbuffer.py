"""What a client has published and not handed to the socket yet, in order, across its connections. No I/O, no clock.

A message that was handed to a socket is gone from here, and is never sent again; one that is still here when the
connection ends is sent through the next one, before anything newer. What is said to a bridge beside messages (a Ping, a
Subscribe) belongs to its connection, and is forgotten with it.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, final

from mycelium.bus.flowgate import FlowGate
from mycelium.bus.parcel import PLAIN, Parcel
from mycelium.bus.pongwindow import PongWindow
from mycelium.bus.segment import Note, Run, Segment
from mycelium.bus.unconfirmed import Unconfirmed, Waiter
from mycelium.wire.frames import LENGTH_SIZE, TYPE_ID_SIZE

__all__ = ["BUFFER_BYTES", "CHUNK_BYTES", "SendBuffer"]

BUFFER_BYTES: Final = 8 * 1024 * 1024
"""Bytes of messages that may wait."""
_MOST_MESSAGES: Final = 65_536
_LIVE_SECONDS: Final = 30.0
"""How long a message may wait."""
CHUNK_BYTES: Final = 64 * 1024
"""Bytes that are given out at a time, about."""
_MOST_AT_ONCE: Final = 4 * CHUNK_BYTES
"""Bytes of a run that is given out as a whole."""
_RUN_SECONDS: Final = 0.25
"""How far apart messages may be that are looked at as equally old."""


@final
class SendBuffer:
    """One ordered buffer of what is to be sent.

    Args:
        clock: Seconds of a monotonic clock.
        ping: Makes the frame of a Ping with a nonce.
        confirm: The frame of a Confirm that turns receipts on.
        limit: Bytes of messages that may wait.
        receipts: Who waits for one.

    Attributes:
        put: Adds the frame of a message; it is counted at the end of the turn, or when anything else is asked.
        flow: Types that the bridge takes no more of for now.
        expired: Messages that waited for too long, or could not be kept.
        is_corked: Whether messages wait for a connection, or for another one.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        ping: Callable[[int], bytes],
        confirm: bytes,
        limit: int = BUFFER_BYTES,
        receipts: Unconfirmed | None = None,
    ) -> None:
        self.flow = FlowGate()
        self.expired = 0
        self._fresh: list[bytes] = []
        """Frames that are not in a run yet, and not counted."""
        self.put: Callable[[bytes], None] = self._fresh.append
        self._marks: list[tuple[int, Waiter]] = []
        """Which of them are confirmed, and who waits for the Receipt."""
        self._receipts = Unconfirmed(0) if receipts is None else receipts
        self._messages = self._size = self._entered = 0
        self._clock = clock
        self._ping = ping
        self._confirm = confirm
        self._limit = limit
        self._segments: deque[Segment] = deque()
        self._tail: Run | None = None
        self._session: int | None = None
        self.is_corked = True
        self._window = PongWindow()
        self._sent = 0
        self._confirmed: int | None = None
        """Messages since receipts were turned on; None before."""

    def __repr__(self) -> str:
        return f"<SendBuffer, {self.messages} messages of {self.size} bytes>"

    @property
    def messages(self) -> int:
        """How many wait."""
        return self._messages + len(self._fresh)

    @property
    def size(self) -> int:
        """Their bytes."""
        return self._size + sum(map(len, self._fresh))

    @property
    def entered(self) -> int:
        """Messages that were put here, and not taken back."""
        return self._entered + len(self._fresh)

    # --- in ---

    def has_room(self, size: int) -> bool:
        """Whether a message of so many bytes may wait here. One that is larger than all goes alone while connected."""
        self._fold()
        if self._messages >= _MOST_MESSAGES:
            return False
        return self._size + size <= self._limit or (self._messages == 0 and self._session is not None)

    def put_confirmed(self, frame: bytes, waiter: Waiter) -> None:
        """The same of a message whose Receipt somebody waits for."""
        self._marks.append((len(self._fresh), waiter))
        self._fresh.append(frame)

    def put_parcel(self, parcel: Parcel) -> None:
        """Add a message of which more has to be known."""
        parcel.since = self._clock()
        self._append(parcel)
        self._size += parcel.size
        self._messages += 1
        self._entered += 1

    def hand_over(self, parcel: Parcel) -> bytes:
        """Give out a message that was just published and need not wait for anything; else empty, and it is not here."""
        if self._segments or self._fresh or self.is_corked or (self.flow.is_shut and not parcel.is_reply):
            return b""
        if not self._window.allows(parcel.size):
            return b""
        self._size += parcel.size
        self._messages += 1
        self._entered += 1
        pieces: list[bytes] = []
        self._hand(parcel, pieces)
        return b"".join(pieces)

    def say(self, note: Note) -> None:
        """Add something for this bridge; without a connection it is for nobody."""
        if self._session is not None:
            self._append(note)

    def withdraw(self, parcel: Parcel) -> bool:
        """Take a message back; false where it has been handed to the socket, or was dropped."""
        if parcel.is_handed:
            return False
        try:
            self._segments.remove(parcel)
        except ValueError:
            return False
        self._size -= parcel.size
        self._messages -= 1
        self._entered -= 1
        return True

    # --- connections ---

    def attach(self, session: int) -> None:
        """There is a connection. Messages wait until `uncork`: the subscriptions come first."""
        self._session = session

    def uncork(self) -> None:
        """Messages may go."""
        self.is_corked = False

    def detach(self, *, keep: bool = True) -> None:
        """The connection is gone.

        Args:
            keep: Whether messages wait for the next one.
        """
        self._session, self.is_corked = None, True
        self._window, self._sent, self._confirmed = PongWindow(), 0, None
        self.flow.clear()
        self._keep_if(lambda one: keep and not isinstance(one, Note), "the connection ended before it was sent")

    def pong(self, nonce: int) -> bool:
        """A Pong came; whether it belongs to a Ping of this buffer."""
        return self._window.pong(nonce)

    def drop_larger(self, size: int) -> int:
        """Drop messages of more bytes than another bridge takes; how many."""
        self._fold()
        before = self._messages
        for run in [one for one in self._segments if isinstance(one, Run)]:
            kept = [frame for frame in run.frames if len(frame) <= size]
            self._messages -= len(run.frames) - len(kept)
            self._size -= run.size
            run.frames, run.size = kept, sum(map(len, kept))
            self._size += run.size
        dropped = before - self._messages
        expired = self.expired
        self._keep_if(lambda one: not isinstance(one, Parcel) or one.size <= size, "it is larger than the bridge takes")
        dropped += self.expired - expired
        self.expired = expired
        return dropped

    # --- time ---

    @property
    def oldest(self) -> float | None:
        """When the time of the message that has waited longest is over; None where none waits."""
        self._fold()
        for one in self._segments:
            if not isinstance(one, Note):
                return one.since + _LIVE_SECONDS
        return None

    def expire(self) -> None:
        """Drop what has waited for too long."""
        limit = self._clock() - _LIVE_SECONDS
        self._keep_if(lambda one: isinstance(one, Note) or one.since > limit, "it waited in vain, and was not sent")

    # --- out ---

    @property
    def is_waiting(self) -> bool:
        """Whether something is here."""
        return bool(self._segments) or bool(self._fresh)

    def take(self) -> bytes:
        """The next bytes for the socket, about 64 KiB; empty where nothing may go now."""
        if self._fresh and not (self._segments or self.is_corked or self.flow.is_shut) and (data := self._take_fresh()):
            return data
        self._fold()
        if self._session is None or not self._segments:
            return b""
        pieces: list[bytes] = []
        before = self._size
        while self._segments:
            if not self._take_head(self._segments[0], pieces):
                self._overtake(pieces)
                break
            if before - self._size >= CHUNK_BYTES:
                break
        return b"".join(pieces)

    # --- inside ---

    def _fold(self) -> None:
        """Count what was put since the last time: it joins the last run, if that is about as old and not full."""
        frames = self._fresh
        if self._marks:
            self._fold_marked()
            return
        if not frames:
            return
        now, run = self._clock(), self._tail
        if run is None or run.size >= CHUNK_BYTES or now - run.since > _RUN_SECONDS:
            run = self._tail = Run(now)
            self._segments.append(run)
        size = sum(map(len, frames))
        run.frames += frames
        run.size += size
        self._size += size
        self._messages += len(frames)
        self._entered += len(frames)
        frames.clear()

    def _fold_marked(self) -> None:
        """The same where some are confirmed, which are parcels while they wait."""
        frames, marks = self._fresh[:], dict(self._marks)
        self._fresh.clear()
        self._marks.clear()
        for number, frame in enumerate(frames):
            if number in marks:
                self.put_parcel(self._receipts.parcel(frame, PLAIN, marks[number]))
            else:
                self._fresh.append(frame)
        self._fold()

    def _take_fresh(self) -> bytes:
        """Give out what is fresh, some of it confirmed, as if it had been in a run; empty where it is too much."""
        frames, marks = self._fresh, self._marks
        data, count = b"".join(frames), len(frames)
        size = len(data)
        if size > _MOST_AT_ONCE or not self._window.allows(size):
            return b""
        if marks and self._confirmed is None:  # receipts begin with the first who waits for one
            first = marks[0][0]
            data = b"".join((*frames[:first], self._confirm, *frames[first:]))
            self._confirmed = -first
        for number, waiter in marks:
            self._receipts.expect(waiter, (self._confirmed or 0) + 1 + number)
        frames.clear()
        marks.clear()
        self._messages += count
        self._size += size
        self._entered += count
        more: list[bytes] = []
        self._count(count, size, more)
        return b"".join((data, *more)) if more else data

    def _append(self, segment: Parcel | Note) -> None:
        self._fold()
        self._segments.append(segment)
        self._tail = None

    def _keep_if(self, keeps: Callable[[Segment], bool], why: str) -> None:
        """Drop the other segments, and count what was in them as expired."""
        self._fold()
        dropped = [one for one in self._segments if not keeps(one)]
        if not dropped:
            return
        self._segments = deque(one for one in self._segments if keeps(one))
        self._tail = None
        for one in dropped:
            if isinstance(one, Note):
                continue
            count = len(one.frames) if isinstance(one, Run) else 1
            self._messages -= count
            self._size -= one.size
            self.expired += count
            if isinstance(one, Parcel) and one.on_dropped is not None:
                one.on_dropped(why)

    def _take_head(self, head: Segment, pieces: list[bytes]) -> bool:
        """Give out the first segment; false where it has to wait, as a whole or in part."""
        if isinstance(head, Run):
            return self._take_run(head, pieces)
        if isinstance(head, Note):
            self._take_note(head, pieces)
            return True
        return self._take_parcel(head, pieces)

    def _take_run(self, run: Run, pieces: list[bytes]) -> bool:
        is_small = run.size <= _MOST_AT_ONCE or len(run.frames) == 1
        if is_small and not self.is_corked and not self.flow.is_shut and self._window.allows(run.size):
            pieces += run.frames
            self._pop()
            self._count(len(run.frames), run.size, pieces)
            return True
        for taken, frame in enumerate(run.frames):
            if not self._may_go(frame, len(frame), pieces):
                del run.frames[:taken]
                return False
            pieces.append(frame)
            run.size -= len(frame)
            self._count(1, len(frame), pieces)
        self._pop()
        return True

    def _take_note(self, note: Note, pieces: list[bytes]) -> None:
        self._pop()
        pieces.append(note.frame)
        self.is_corked |= note.is_last
        if note.on_handed is not None:
            note.on_handed()

    def _take_parcel(self, parcel: Parcel, pieces: list[bytes]) -> bool:
        if not self._may_go(parcel.frame, parcel.size, pieces, is_reply=parcel.is_reply):
            return False
        self._pop()
        self._hand(parcel, pieces)
        return True

    def _hand(self, parcel: Parcel, pieces: list[bytes]) -> None:
        """The message is the socket's from now on."""
        if parcel.is_confirmed and self._confirmed is None:
            pieces.append(self._confirm)
            self._confirmed = 0
        assert self._session is not None  # noqa: S101  there is a connection to take for
        pieces.append(parcel.seal(self._session, self._sent + 1))
        parcel.is_handed = True
        self._count(1, parcel.size, pieces)
        if parcel.on_handed is not None:
            parcel.on_handed(self._confirmed or 0)

    def _pop(self) -> None:
        if self._segments.popleft() is self._tail:
            self._tail = None

    def _may_go(self, frame: bytes, size: int, pieces: list[bytes], *, is_reply: bool = False) -> bool:
        if self.is_corked:
            return False
        if self.flow.is_shut and not is_reply:
            type_id = int.from_bytes(frame[LENGTH_SIZE : LENGTH_SIZE + TYPE_ID_SIZE], "little")
            if self.flow.holds(type_id):
                return False
        if self._window.allows(size):
            return True
        if self._window.is_unasked:
            pieces.append(self._ping(self._window.ping()))
        return False

    def _count(self, messages: int, size: int, pieces: list[bytes]) -> None:
        self._messages -= messages
        self._size -= size
        self._sent += messages
        if self._confirmed is not None:
            self._confirmed += messages
        if self._window.add(size):
            pieces.append(self._ping(self._window.ping()))

    def _overtake(self, pieces: list[bytes]) -> None:
        """Messages have to wait; what need not stay behind them goes."""
        notes = [one for one in self._segments if isinstance(one, Note) and not one.is_barrier]
        for note in notes:
            self._segments.remove(note)
            pieces.append(note.frame)
            if note.on_handed is not None:
                note.on_handed()
