"""What a subscriber may ask for beside its types."""

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias, TypedDict, Unpack

from attrs import field, frozen

from mycelium.bus.errors import UsageError
from mycelium.bus.lag import Lag
from mycelium.events import Gap
from mycelium.schema.classes import Message

__all__ = [
    "DEFAULT_BLOCK_SECONDS",
    "DEFAULT_QUEUE",
    "DEFAULT_WINDOW",
    "GROUP_PROBLEM",
    "MOST_GROUP",
    "LagWord",
    "Options",
    "SubscribeOptions",
    "is_group",
    "options_of",
]

DEFAULT_QUEUE: Final = 8192
"""Messages that wait for a subscriber before the lag policy acts."""
DEFAULT_WINDOW: Final = 1024
"""Messages that a bridge sends a client ahead of its handlers."""
DEFAULT_BLOCK_SECONDS: Final = 5.0
"""How long a publisher waits under `block`."""
MOST_GROUP: Final = 128
"""Characters of a group's name."""
GROUP_PROBLEM: Final = f"a group has a name of 1 to {MOST_GROUP} printable characters; leave it out for none"


LagWord: TypeAlias = Literal["drop_oldest", "drop_newest", "latest", "block", "reject", "disconnect"]


class SubscribeOptions(TypedDict, total=False):
    """Keyword arguments of `subscribe` and `messages`, the same on a bus and on a client."""

    on_lag: LagWord | None
    """When the queue is full: `drop_oldest`, `drop_newest`, `latest`, `block`, `reject` or `disconnect`; None for what
    the contract of each message says, else `drop_oldest`."""
    queue: int | None
    """Messages that may wait, by default 8,192; on a bridge 8 MiB is a bound too."""
    window: int | None
    """Messages that a bridge sends ahead of the handlers, by default 1,024. Inside a process nothing is sent ahead."""
    group: str | None
    """Of the subscriptions with the same group one gets each message. A name of 1 to 128 printable characters."""
    concurrency: int
    """Calls of an async handler at a time, by default 1. Above 1 order is kept only for messages of one `key`."""
    no_echo: bool
    """Leave out what this bus or client has published itself."""
    on_gap: Callable[[Gap], object] | None
    """Called with each gap, before the message that comes after it."""
    gaps: bool
    """Of `messages`: give out the Gap itself, in its place."""
    on_error: Callable[[Exception, Message], object] | None
    """Called with what a handler raised, and the message."""


@frozen
class Options:
    """The same, checked, and with the defaults where there are any."""

    on_lag: Lag | None = None
    queue: int | None = None
    window: int | None = None
    group: str | None = None
    concurrency: int = 1
    no_echo: bool = False
    on_gap: Callable[[Gap], object] | None = field(default=None, eq=False)
    gaps: bool = False
    on_error: Callable[[Exception, Message], object] | None = field(default=None, eq=False)


def options_of(**given: Unpack[SubscribeOptions]) -> Options:
    """What a caller has asked for.

    Raises:
        UsageError: There is no such option, or it makes no sense.
    """
    values: dict[str, Any] = dict(given)
    unknown = values.keys() - SubscribeOptions.__annotations__.keys()
    if unknown:
        known = ", ".join(SubscribeOptions.__annotations__)
        raise UsageError(f"no option {', '.join(sorted(unknown))}; there are {known}")
    for name in ("queue", "window", "concurrency"):
        _check_size(name, values.get(name))
    if values.get("on_lag") is not None:
        values["on_lag"] = Lag.of(values["on_lag"])
    if (group := values.get("group")) is not None and not (isinstance(group, str) and is_group(group)):
        raise UsageError(GROUP_PROBLEM)
    for name in ("on_gap", "on_error"):
        if values.get(name) is not None and not callable(values[name]):
            raise UsageError(f"{name}={values[name]!r} cannot be called; give a plain function")
    return Options(**values)


def is_group(name: str) -> bool:
    """Whether a group may be called that, which is kept for each subscription and shown to people."""
    return 1 <= len(name) <= MOST_GROUP and name.isprintable()


def _check_size(name: str, size: object) -> None:
    if size is None:
        return
    if not isinstance(size, int) or isinstance(size, bool):
        raise UsageError(f"{name} is a number of messages, not {size!r}; give an int from 1 on")
    if size < 1:
        raise UsageError(f"a {name} of {size} messages lets none through; give at least 1")
