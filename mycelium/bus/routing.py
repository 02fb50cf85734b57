"""What a publisher inside the process learns of its message: whom it waits for, and what it is told in the end."""

import asyncio
from collections.abc import Sequence

from mycelium.bus.calling import calling_subscription
from mycelium.bus.dispatch import Dispatcher
from mycelium.bus.errors import BackpressureTimeout, NoResponders, NoSubscribers, QueueFull, WouldDeadlock
from mycelium.bus.exchange import Exchange
from mycelium.bus.fate import Trouble
from mycelium.bus.holds import Hold
from mycelium.bus.keys import lag_of
from mycelium.bus.lag import Lag
from mycelium.bus.receipt import Receipt
from mycelium.bus.receipts import Decision, decision_of
from mycelium.bus.traffic import LOCAL
from mycelium.schema.classes import M, Message
from mycelium.wire.errors import ErrorCode

__all__ = ["asked", "raise_for", "receipt_of", "refuse_deadlock", "settled"]


async def settled(exchange: Exchange, troubles: Sequence[Trouble], seconds: float) -> None:
    """Wait until every subscription has taken the message or not.

    Args:
        exchange: Where the time is counted.
        troubles: What became of the message where it was not taken at once.
        seconds: How long it may wait for room.
    """
    holds = [one for one in troubles if isinstance(one, Hold)]
    if not holds:
        return
    loop = asyncio.get_running_loop()
    start = loop.time()
    events = [asyncio.Event() for _ in holds]
    for hold, event in zip(holds, events, strict=True):
        hold.when_decided(event.set)
    try:
        async with asyncio.timeout(seconds):
            for event in events:
                await event.wait()
    except TimeoutError:
        pass
    except asyncio.CancelledError as cancelled:
        cancelled.add_note(
            f"publish was cancelled: {sum(not one.is_decided for one in holds)} full subscriptions do not get the "
            "message, all others have it"
        )
        raise
    finally:
        for hold in holds:
            hold.give_up()
        exchange.traffic_over(LOCAL).blocked_seconds += loop.time() - start


async def asked(exchange: Exchange, message: Message, reply: type[M], seconds: float, trace: bytes | None = None) -> M:
    """Publish a request, perhaps with a trace context, and wait for the first reply.

    Raises:
        NoResponders: Nobody has subscribed to the request.
        QueueFull: Nobody who has subscribed to it has room.
        TimeoutError: No reply came in time.
        UsageError: The reply is of another type.
    """
    holds: list[Hold] = []
    asked_with = b""

    def send(correlation: bytes) -> None:
        nonlocal asked_with
        asked_with = correlation
        type_id = exchange.publisher.entry(message).message.type_id
        if not exchange.matched(type_id):
            exchange.answers.outcomes[type_id, "no_responders"] += 1
            raise NoResponders(type(message).__name__)
        deadline = asyncio.get_running_loop().time() + seconds
        matched, troubles = exchange.publish(message, deadline, correlation, trace)
        holds.extend(one for one in troubles if isinstance(one, Hold))
        if len(troubles) == matched and not holds:
            raise_for(matched, troubles, 0.0)

    try:
        return await exchange.answers.awaited.ask(send, reply, seconds)
    except TimeoutError:
        exchange.answers.give_up(asked_with)
        raise
    finally:
        for hold in holds:
            hold.give_up()


def raise_for(matched: int, troubles: Sequence[Trouble], seconds: float) -> None:
    """Tell the publisher that somebody refused the message.

    Raises:
        QueueFull: Under `reject`, or under `block` where it does not wait.
        BackpressureTimeout: Under `block`.
    """
    decision = decision_of(0, 0, matched, tuple(troubles))
    if decision.code is ErrorCode.QUEUE_FULL:
        problem = "a subscriber's queue is full, and its lag policy refuses more"
        raise QueueFull(f"{problem}; {decision.enqueued} others have the message", decision.enqueued)
    if decision.code is ErrorCode.BACKPRESSURE_TIMEOUT:
        raise BackpressureTimeout(seconds, decision.enqueued)


def receipt_of(
    sequence: int, message: Message, matched: int, troubles: Sequence[Trouble], *, mandatory: bool
) -> Receipt:
    """What became of a message that nobody refused.

    Raises:
        NoSubscribers: It is mandatory, and nobody has subscribed.
    """
    if mandatory and not matched:
        raise NoSubscribers(type(message).__name__)
    decision: Decision = decision_of(sequence, sequence, matched, tuple(troubles))
    return Receipt(sequence, matched, decision.enqueued, decision.dropped)


def refuse_deadlock(dispatcher: Dispatcher, message: Message) -> None:
    """Whether a handler is about to wait for room that only it could make.

    Raises:
        WouldDeadlock: It is.
    """
    caller = calling_subscription()
    if caller is None or caller not in dispatcher.subscriptions or not caller.is_calling or caller.group is not None:
        return  # others of its group may have room
    if caller.wants(message.TYPE_ID) and caller.is_blocked:
        lag = lag_of(message.__mycelium__.message) if caller.options.on_lag is None else caller.options.on_lag
        if lag is Lag.BLOCK:
            raise WouldDeadlock(type(message).__name__)
