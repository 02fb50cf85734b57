"""Rules of messages in memory: which of them there are, nested messages included, and whether a message obeys them."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from mycelium.schema.model import Map, MessageRef, Rule, Type, Vec, messages_in
from mycelium.wire.errors import Misfit, StepKind

if TYPE_CHECKING:
    from mycelium.wire.walk import MessageWalk

__all__ = ["Checks", "Visit", "obey", "rule_visit"]

Checks = tuple[tuple[Rule, Callable[[Any], bool]], ...]
"""Rules, each with the function that says whether a value obeys it."""
Visit = Callable[[Any], None]
"""Raises a `Misfit` if a value, which is not None, breaks a rule of its own or of a message inside."""


def obey(checks: Checks, value: Any) -> None:
    """Holds a field's value against its rules; None has none to obey.

    Raises:
        Misfit: It breaks one; without offset and field.
    """
    if value is not None:
        for rule, holds in checks:
            if not holds(value):
                raise Misfit(
                    f"breaks the rule {rule.name}: {rule.argument}", value, rule=rule.name, limit=rule.argument
                )


def rule_visit(walk: "MessageWalk") -> Visit | None:
    """What checks the rules of a message and of every message nested in it; None if there are none.

    It asks for the codecs of nested messages, so it cannot be called while those are still being made.
    """
    if not _has_rules(walk, set()):
        return None
    steps = [(one.field.name, one.checks, _visit(one.field.type, walk)) for one in walk.fields.values()]
    steps = [step for step in steps if step[1] or step[2]]

    def visit(message: Any) -> None:
        try:
            for name, checks, inside in steps:
                value = getattr(message, name)
                if value is not None:
                    with_step("field", name, checks, inside, value)
        except Misfit as misfit:
            walk.conceal(misfit)
            raise

    return visit


def with_step(kind: StepKind, step: object, checks: Checks, inside: Visit | None, value: Any) -> None:
    """Visits a value, and adds its step to the path of what is wrong."""
    try:
        obey(checks, value)
        if inside is not None:
            inside(value)
    except Misfit as misfit:
        misfit.within(kind, step)
        raise


def _has_rules(walk: "MessageWalk", seen: set[str]) -> bool:
    """Whether the message or one that it may hold has rules; messages may hold each other in a circle."""
    if walk.message.name in seen:
        return False
    seen.add(walk.message.name)
    nested = (name for one in walk.fields.values() for name in messages_in(one.field.type))
    return bool(walk.ruled) or any(_has_rules(walk.codec_of(name).walk, seen) for name in nested)


def _visit(type_: Type, walk: "MessageWalk") -> Visit | None:
    """What visits the messages inside a value, None if none of them can have rules."""
    match type_:
        case MessageRef(name):
            nested = walk.codec_of(name).walk
            return nested.check_rules if _has_rules(nested, set()) else None
        case Vec(element):
            return _visit_each("index", _visit(element, walk), enumerate)
        case Map(_, content):
            return _visit_each("key", _visit(content, walk), dict.items)
        case _:
            return None


def _visit_each(kind: StepKind, inside: Visit | None, items: Callable[[Any], Iterable[Any]]) -> Visit | None:
    if inside is None:
        return None

    def visit(value: Any) -> None:
        for step, each in items(value):
            with_step(kind, step, (), inside, each)

    return visit
