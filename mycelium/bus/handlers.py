"""What a handler wants: its message types from the annotation, and how it has to be called."""

import inspect
import typing
from collections.abc import Awaitable, Callable
from types import UnionType
from typing import Any, Final, TypeAlias

from attrs import frozen

from mycelium.bus.delivery import Delivery
from mycelium.bus.errors import UsageError
from mycelium.contracts import Contracts
from mycelium.schema.classes import Message

__all__ = ["Call", "Handler", "HandlerFunction", "describe", "types_of"]

HandlerFunction: TypeAlias = Callable[..., object]
Call: TypeAlias = Callable[[Message, Delivery], Awaitable[object] | object]
_MOST_PARAMETERS: Final = 2


@frozen
class Handler:
    """A function that takes messages.

    Attributes:
        call: Takes message and delivery, whatever the function itself takes.
        is_async: Whether `call` returns an awaitable.
        name: For logs and errors.
    """

    call: Call
    is_async: bool
    name: str


def describe(function: HandlerFunction) -> Handler:
    """How a function has to be called.

    Raises:
        UsageError: It takes no message, or more than message and delivery.
    """
    name = getattr(function, "__qualname__", repr(function))
    count = _count_positional(function, name)
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
    if count == _MOST_PARAMETERS:
        return Handler(function, is_async, name)
    return Handler(lambda message, _: function(message), is_async, name)  # type: ignore[return-value]


def types_of(function: HandlerFunction, contracts: Contracts) -> tuple[type[Message], ...]:
    """The message types in the annotation of a handler's first parameter.

    The annotation is a message class, a union of them, or a string that says so; names that the function's module does
    not have are looked up in the contracts.

    Raises:
        UsageError: There is no annotation, or it is no message type.
    """
    name = getattr(function, "__qualname__", repr(function))
    parameters = list(inspect.signature(function).parameters.values())
    annotation = parameters[0].annotation if parameters else inspect.Parameter.empty
    if annotation is inspect.Parameter.empty:
        raise UsageError(
            f"{name} has no annotated parameter; write `message: Ping`, or name the types after the handler"
        )
    if isinstance(annotation, str):
        annotation = _evaluate(annotation, function, contracts, name)
    choices = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
    for choice in choices:
        if not (isinstance(choice, type) and issubclass(choice, Message) and choice is not Message):
            raise UsageError(f"{name} takes {choice!r}, which is no message type; name the types after the handler")
    return choices


def _count_positional(function: HandlerFunction, name: str) -> int:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    if any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters):
        return 1
    required = [one for one in parameters if one.kind in positional and one.default is inspect.Parameter.empty]
    allowed = [one for one in parameters if one.kind in positional]
    if not allowed or len(required) > _MOST_PARAMETERS:
        raise UsageError(f"{name} is no handler; it takes the message, and if it wants to a Delivery")
    return max(1, len(required))


def _evaluate(annotation: str, function: HandlerFunction, contracts: Contracts, name: str) -> Any:
    inner = inspect.unwrap(function)
    scope = _Scope(getattr(inner, "__globals__", {}), contracts)
    try:
        return eval(annotation, {}, scope)  # noqa: S307  the handler's own source, as typing.get_type_hints does
    except Exception as error:
        raise UsageError(f"{name}: the annotation {annotation!r} cannot be read: {error}") from error


class _Scope(dict[str, Any]):
    """A handler's module, then the contracts: a message imported inside a function is in no module."""

    def __init__(self, names: dict[str, Any], contracts: Contracts) -> None:
        super().__init__(names)
        self._contracts = contracts

    def __missing__(self, name: str) -> Any:
        if name in self._contracts:
            return self._contracts[name]
        raise KeyError(name)


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, UnionType)
