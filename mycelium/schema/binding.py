"""A class body that somebody wrote, held against the contract."""

import inspect
import sys
import typing
from collections.abc import Iterable
from typing import Any

from mycelium.schema.classes import Message, Types, annotation
from mycelium.schema.model import Message as MessageModel
from mycelium.schema.model import messages_in

__all__ = ["differences"]


def differences(model: MessageModel, types: Types, body: type[Message]) -> list[str]:
    """A line for each field in which the body is not the contract; empty where they agree.

    An enum field may be written as the enum or as `enum | int`.

    Args:
        model: What the contract says.
        types: Where classes of nested messages and enums come from.
        body: The class that was written; its own annotations count, inherited ones don't.
    """
    inside = {name for one in model.fields for name in messages_in(one.type)}
    written = _hints(body, types, inside)
    found = [f"{name} is no field" for name in written if name not in model.by_name]
    for one in model.fields:
        expected = annotation(one, types)
        if one.name not in written:
            found.append(f"field {one.name}: {_text(expected)} is missing")
        elif written[one.name] not in (expected, annotation(one, types, open_enums=False)):
            found.append(f"{one.name} is {_text(expected)}, not {_text(written[one.name])}")
    return found


def _hints(body: type, types: Types, names: Iterable[str]) -> dict[str, Any]:
    """The annotations of a class body; names that its module does not have are those of the contract."""
    known = vars(sys.modules[body.__module__])
    others = {name: types.annotation_of(name) for name in names if name not in known}
    hints = typing.get_type_hints(body, localns=others)
    own = inspect.get_annotations(body)
    return {name: hints[name] for name in own if typing.get_origin(hints[name]) is not typing.ClassVar}


def _text(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
