"""What became of a published message, as far as the bus has decided it."""

from attrs import frozen

__all__ = ["Receipt"]


@frozen
class Receipt:
    """The answer to a confirmed publish: the bus has routed the message.

    Attributes:
        sequence: The message's number among those that this publisher's connection has had confirmed, from 1.
        matched: Subscriptions that it fitted.
        enqueued: Those that have taken it.
        dropped: Those that have not.
        code: Why the bus or a lag policy refused it, as the wire protocol's error code; None where it did not.
    """

    sequence: int
    matched: int
    enqueued: int
    dropped: int
    code: int | None = None
