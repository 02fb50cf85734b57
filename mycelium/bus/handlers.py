"""What a handler wants: its message types from the annotation, and how it has to be called."""

import functools
import inspect
import typing
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Final, TypeAlias

from attrs import frozen

from mycelium.bus.delivery import Delivery
from mycelium.bus.errors import UsageError
from mycelium.handle import Contracts
from mycelium.schema.classes import Message

__all__ = ["Handler", "HandlerFunction", "describe", "types_of"]

HandlerFunction: TypeAlias = Callable[..., object]
_BOTH: Final = 2
"""Positional parameters of a handler that takes message and delivery."""
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NOTHING: Final = inspect.Parameter.empty


@frozen
class Handler:
    """A function that takes messages.

    Attributes:
        function: The function itself.
        takes_delivery: Whether it takes a Delivery beside the message.
        is_async: Whether it returns an awaitable.
        name: For logs and errors.
    """

    function: Callable[..., Any]
    takes_delivery: bool
    is_async: bool
    name: str

    def call(self, message: Message, delivery: Delivery) -> Any:
        """Call it with what it takes."""
        return self.function(message, delivery) if self.takes_delivery else self.function(message)


def describe(function: HandlerFunction) -> Handler:
    """How a function has to be called.

    It gets a Delivery if it has a second parameter that must be given, or one that is annotated so.

    Raises:
        UsageError: It takes no message, or needs more than message and delivery.
    """
    name = _name(function)
    takes_delivery = _takes_delivery(function, name)
    inner = _inside(function)
    is_async = inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__)
    return Handler(function, takes_delivery, is_async, name)


def types_of(function: HandlerFunction, contracts: Contracts) -> tuple[type[Message], ...]:
    """The message types in the annotation of a handler's first parameter.

    The annotation is a message class, a union of them, or a string that says so; names that the function's module does
    not have are looked up in the contracts.

    Raises:
        UsageError: There is no annotation, or it is no message type.
    """
    name = _name(function)
    parameters = _parameters(function)
    annotation = parameters[0].annotation if parameters else _NOTHING
    if annotation is _NOTHING:
        raise UsageError(
            f"{name} has no annotated parameter; write `message: Ping`, or name the types after the handler"
        )
    choices = tuple(_choices(_evaluated(annotation, function, contracts, name)))
    for choice in choices:
        if not (isinstance(choice, type) and issubclass(choice, Message) and choice is not Message):
            raise UsageError(f"{name} takes {choice!r}, which is no message type; name the types after the handler")
    return choices


def _name(function: HandlerFunction) -> str:
    """`on_ping`, `Shop.on_order`; for a partial or a callable object what is behind it."""
    if isinstance(function, functools.partial):
        return f"partial of {_name(function.func)}"
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def _parameters(function: HandlerFunction) -> list[inspect.Parameter]:
    """What a call may give, without a bound `self`; one parameter of anything where Python does not know."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):  # some functions of C code
        return [inspect.Parameter("message", inspect.Parameter.POSITIONAL_ONLY)]


def _takes_delivery(function: HandlerFunction, name: str) -> bool:
    parameters = _parameters(function)
    allowed = [one for one in parameters if one.kind in _POSITIONAL]
    needed = [one for one in allowed if one.default is _NOTHING]
    missing = [one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY and one.default is _NOTHING]
    anything = any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters)
    if missing or len(needed) > _BOTH or not (allowed or anything):
        raise UsageError(f"{name} is no handler; one takes the message and, if it wants to, a Delivery, nothing else")
    return len(needed) == _BOTH or (len(allowed) >= _BOTH and _says_delivery(allowed[1].annotation))


def _says_delivery(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return "Delivery" in annotation
    return Delivery in _choices(annotation)


def _choices(annotation: Any) -> typing.Iterator[Any]:
    """The classes that an annotation stands for: of a union each, without `Annotated` and names given by `type`."""
    if typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    annotation = getattr(annotation, "__value__", annotation)  # `type Either = Ping | Pong`, from Python 3.12 on
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        for choice in typing.get_args(annotation):
            yield from _choices(choice)
    else:
        yield annotation


def _evaluated(annotation: Any, function: HandlerFunction, contracts: Contracts, name: str) -> Any:
    if not isinstance(annotation, str):
        return annotation
    scope = _Scope(_names_around(function), contracts)
    try:
        return eval(annotation, {}, scope)  # noqa: S307  the handler's own source, as typing.get_type_hints does
    except Exception as error:
        raise UsageError(
            f"{name}: the annotation {annotation!r} cannot be read ({error}); name the types after the handler"
        ) from error


def _inside(function: HandlerFunction) -> HandlerFunction:
    """What a partial was made of."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _names_around(function: HandlerFunction) -> dict[str, Any]:
    """The names of the module where a handler was written, and those that it took from the functions around it."""
    inner: Any = inspect.unwrap(_inside(function))
    if not hasattr(inner, "__globals__"):
        inner = inspect.unwrap(type(inner).__call__)
    try:
        enclosed = inspect.getclosurevars(inner).nonlocals
    except TypeError:  # no Python function at all
        enclosed = {}
    return {**getattr(inner, "__globals__", {}), **enclosed}


class _Scope(dict[str, Any]):
    """A handler's module, then the contracts: a message imported inside a function is in no module."""

    def __init__(self, names: dict[str, Any], contracts: Contracts) -> None:
        super().__init__(names)
        self._contracts = contracts

    def __missing__(self, name: str) -> Any:
        if name in self._contracts:
            return self._contracts[name]
        raise KeyError(name)
