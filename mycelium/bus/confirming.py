"""A confirmed publish: out with the message, and wait for its Receipt."""

from collections.abc import Coroutine
from typing import Any

from mycelium.bus.clientmeter import within
from mycelium.bus.errors import NoSubscribers
from mycelium.bus.outlet import Outlet
from mycelium.bus.parcel import Parcel
from mycelium.bus.receipt import Receipt
from mycelium.schema.classes import Message

__all__ = ["confirmed"]


def confirmed(
    outlet: Outlet, message: Message, seconds: float, *, mandatory: bool, trace: bytes | None = None
) -> Coroutine[Any, Any, Receipt]:
    """Publish, and wait for the Receipt; see `_confirmed`.

    It is no coroutine function, since awaiting one coroutine inside another would be felt.
    """
    receipt = _confirmed(outlet, message, seconds, mandatory=mandatory, trace=trace)
    return receipt if outlet.meter is None else within(outlet.meter.publishing(message), receipt)


async def _confirmed(
    outlet: Outlet, message: Message, seconds: float, *, mandatory: bool, trace: bytes | None
) -> Receipt:
    """Publish, and wait for the Receipt.

    Args:
        outlet: Through which the message goes.
        message: The message.
        seconds: How long to wait.
        mandatory: Whether somebody must have subscribed.
        trace: Its trace context.

    Raises:
        ConfirmTimeout: None came in time.
        NoSubscribers: It is mandatory, and nobody has subscribed.
        BusError: As the Receipt says, or as `Outlet.admit` does.
    """
    is_free = outlet.is_free
    if not is_free:
        frame = await outlet.admit(message, trace=trace)
    else:
        frame = outlet.publisher.frame(message, trace)
    receipts, name = outlet.receipts, message.__mycelium__.message.name
    waiter = receipts.new_waiter(name, seconds)
    parcel: Parcel | None = None
    if is_free:
        outlet.post_confirmed(frame, waiter)
    else:
        parcel = receipts.parcel(frame, outlet.new_stamp(), waiter)
        outlet.post_parcel(parcel)
    try:
        receipt = await waiter
    finally:
        receipts.forget(waiter)
        if parcel is not None:
            outlet.withdraw(parcel)
    if mandatory and receipt.matched == 0:
        raise NoSubscribers(name)
    return receipt
