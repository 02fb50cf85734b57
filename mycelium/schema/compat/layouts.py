"""Rules of the profile `rust`: a struct has no tags, so whoever reads it needs the very same layout.

They come on top of the others: a bridge that speaks the Rust dialect speaks the native form too. Messages that only one
side knows are skipped by the other one, here as there.
"""

from collections.abc import Iterator
from functools import partial
from typing import Final

from mycelium.schema.compat import fixes
from mycelium.schema.compat.findings import Finding, found
from mycelium.schema.compat.pairs import MessagePair
from mycelium.schema.compat.scope import Scope
from mycelium.schema.errors import LayoutError
from mycelium.schema.layout import Layout, layout_of
from mycelium.schema.model import Json, Message

__all__ = ["LAYOUT_RULES", "layout_rules", "new_layout_rules"]

LAYOUT_RULES: Final = ("LAYOUT_CHANGED", "LAYOUT_MISSING")
_MOST_NAMED: Final = 3
_HEADS: Final = ("field", "old offset", "size", "new offset", "size", "")


def layout_rules(scope: Scope, pair: MessagePair) -> Iterator[Finding]:
    """Whether a message of both schemas is the same struct in both."""
    if scope.settings.profile != "rust":
        return
    old, new = _layout(pair.previous), _layout(pair.current)
    if isinstance(old, LayoutError) or isinstance(new, LayoutError):
        yield _missing(scope, pair, old, new)
    elif not old.is_like(new):
        yield _changed(scope, pair, old, new)


def new_layout_rules(scope: Scope) -> Iterator[Finding]:
    """Whether the messages that came are structs at all."""
    if scope.settings.profile == "rust":
        pairs = scope.pair.messages
        for message in (*pairs.added, *(pair.current for pair in pairs.reused)):
            layout = _layout(message)
            if isinstance(layout, LayoutError):
                yield _without(scope, message, layout)


def _layout(message: Message) -> Layout | LayoutError:
    try:
        return layout_of(message)
    except LayoutError as error:
        return error


# --- no layout -------------------------------------------------------------------------------------------------------


def _without(scope: Scope, message: Message, error: LayoutError) -> Finding:
    return found(
        "LAYOUT_MISSING",
        f"messages.{message.name}",
        f"Message `{message.name}` was added and has no layout: {_why(error)}.",
        backward=False,
        forward=False,
        failure_mode="every_message",
        subject=message.name,
        new=_reasons(error),
        old_location=scope.pair.previous.location,
        new_location=message.location,
        remedy=partial(fixes.leave_out, message),
    )


def _missing(scope: Scope, pair: MessagePair, old: Layout | LayoutError, new: Layout | LayoutError) -> Finding:
    name = pair.current.name
    return found(
        "LAYOUT_MISSING",
        f"messages.{name}",
        f"`{name}` {_lack(old, new)}.",
        backward=False,
        forward=False,
        failure_mode="every_message",
        subject=name,
        old=_side(old),
        new=_side(new),
        old_location=pair.previous.location,
        new_location=pair.current.location,
        remedy=None if isinstance(old, LayoutError) else partial(fixes.restore_struct, scope.pair, pair),
    )


def _lack(old: Layout | LayoutError, new: Layout | LayoutError) -> str:
    if not isinstance(new, LayoutError):
        return f"had no layout before, because of {_why(old)}" if isinstance(old, LayoutError) else ""
    return f"has no layout{'' if isinstance(old, LayoutError) else ' any more'}, because of {_why(new)}"


def _why(error: LayoutError) -> str:
    return ", ".join(f"{one.field}: {one.reason}" if one.field else one.reason for one in error.problems)


def _reasons(error: LayoutError) -> Json:
    return {"problems": {one.field or "": one.reason for one in error.problems}}


# --- another layout --------------------------------------------------------------------------------------------------


def _changed(scope: Scope, pair: MessagePair, old: Layout, new: Layout) -> Finding:
    name = pair.current.name
    size = f"still has {new.size} bytes" if old.size == new.size else f"has {new.size} bytes in place of {old.size}"
    moved = list(_moved(old, new))
    more = f"; and {len(moved) - _MOST_NAMED} more" if len(moved) > _MOST_NAMED else ""
    return found(
        "LAYOUT_CHANGED",
        f"messages.{name}",
        f"The struct of `{name}` {size}: {'; '.join(moved[:_MOST_NAMED])}{more}.",
        backward=False,
        forward=False,
        failure_mode="silent" if old.size == new.size else "every_message",
        subject=name,
        old=_side(old),
        new=_side(new),
        old_location=pair.previous.location,
        new_location=pair.current.location,
        table=tuple(_table(old, new)),
        remedy=partial(fixes.restore_struct, scope.pair, pair),
    )


def _places(layout: Layout) -> dict[str, tuple[int, int]]:
    return {slot.name: (slot.offset, slot.size) for slot in layout.slots}


def _both(old: Layout, new: Layout) -> Iterator[tuple[str, tuple[int, int] | None, tuple[int, int] | None]]:
    """Name, and offset and size in both, in the order of the new struct; what is gone stands where it stood."""
    before, after = _places(old), _places(new)
    names = sorted({**before, **after}, key=lambda name: (after.get(name) or before[name])[0])
    return ((name, before.get(name), after.get(name)) for name in names)


def _moved(old: Layout, new: Layout) -> Iterator[str]:
    """What happened to each field that does not stand where it stood."""
    for name, before, after in _both(old, new):
        if before is None or after is None:
            yield f"`{name}` is {'new' if before is None else 'gone'}"
        elif before[1] != after[1]:
            yield f"`{name}` has {after[1]} bytes in place of {before[1]}"
        elif before != after:
            yield f"`{name}` went from offset {before[0]} to {after[0]}"


def _table(old: Layout, new: Layout) -> Iterator[tuple[str, ...]]:
    yield _HEADS
    for name, before, after in _both(old, new):
        yield name, *_cells(before), *_cells(after), "" if before == after else "<"
    yield "the struct", "", str(old.size), "", str(new.size), "" if old.size == new.size else "<"


def _cells(place: tuple[int, int] | None) -> tuple[str, str]:
    return ("-", "-") if place is None else (str(place[0]), str(place[1]))


def _side(layout: Layout | LayoutError) -> Json:
    """One side in JSON form."""
    if isinstance(layout, LayoutError):
        return _reasons(layout)
    return {
        "size": layout.size,
        "fields": {name: {"offset": offset, "size": size} for name, (offset, size) in _places(layout).items()},
    }
