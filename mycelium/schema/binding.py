"""A class body that somebody wrote, held against the contract."""

import typing
from typing import Any

from mycelium.schema.classes import Message
from mycelium.schema.model import Message as MessageModel

__all__ = ["differences"]


def differences(model: MessageModel, contract: type[Message], body: type[Message]) -> list[str]:
    """A line for each field in which the body is not the contract; empty where they agree.

    Args:
        model: What the contract says.
        contract: The class made from it.
        body: The class that was written; its own annotations count, inherited ones don't.
    """
    written = _hints(body)
    expected = _hints(contract)
    found = [f"{name} is no field" for name in written if name not in expected]
    for one in model.fields:
        if one.name not in written:
            found.append(f"field {one.name}: {_text(expected[one.name])} is missing")
        elif written[one.name] != expected[one.name]:
            found.append(f"{one.name} is {_text(expected[one.name])}, not {_text(written[one.name])}")
    return found


def _hints(cls: type) -> dict[str, Any]:
    own = cls.__dict__.get("__annotations__", {})
    # Names of other messages resolve to themselves: a body may refer to classes that are bound further down.
    names = {each.__name__: each for each in Message.__subclasses__()}
    hints = typing.get_type_hints(cls, localns=names)
    return {name: hints[name] for name in own if typing.get_origin(hints[name]) is not typing.ClassVar}


def _text(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(annotation)
