"""Frames to those who want them: as many at a time as fare alike, and who is left out."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from mycelium.bus.fate import Trouble
from mycelium.bus.subscription import LocalSubscription
from mycelium.wire.buffer import Batch

if TYPE_CHECKING:
    from mycelium.bus.remote import RemoteSubscriptions
    from mycelium.bus.remotesubscription import RemoteSubscription
    from mycelium.bus.sessionlog import SessionLog

__all__ = ["Origin", "alike", "batch_of", "is_echoless", "is_own", "note", "offer"]


class Origin(Protocol):
    """Whoever frames come from."""

    subscriptions: "RemoteSubscriptions"
    log: "SessionLog"


def alike(run: Batch, takers: "Iterable[RemoteSubscription]", deadline: float | None, *, exactly: bool) -> Batch:
    """The first frames of a run that fare alike with everybody, the run itself if all of them do."""
    end = len(run.type_ids)
    count = min((one.alike(run, 0, deadline, exactly=exactly) for one in takers), default=end)
    return run if count >= end else run.part(0, count).compact()


def offer(takers: "Iterable[RemoteSubscription]", run: Batch, deadline: float | None, troubles: list[Trouble]) -> int:
    """Offer one frame, or several that fare alike; how many they were offered to."""
    count = 0
    for taker in takers:
        if not taker.has_ended:
            count += 1
            outcome = taker.offer(run, deadline)
            if outcome is not None:
                troubles.append(outcome)
    return count


def note(troubles: list[Trouble], outcome: Trouble | None) -> None:
    """Remember what became of a message at one subscription, if it was not taken at once."""
    if outcome is not None:
        troubles.append(outcome)


def batch_of(frame: bytes, type_id: int) -> Batch:
    """A batch of one."""
    return Batch(frame, [type_id], [0, len(frame)])


def is_echoless(member: Any) -> bool:
    """Of a message that is published here: whether it is this process's own, and it leaves those out."""
    return isinstance(member, LocalSubscription) and member.options.no_echo


def is_own(origin: Origin, member: Any) -> bool:
    """Of a message of a client: whether the member is the same client's, and leaves those out."""
    return not isinstance(member, LocalSubscription) and member.no_echo and member.owner is origin.subscriptions
