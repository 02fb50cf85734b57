"""What a handler's annotation means, and how it is called."""

import functools
from typing import Annotated, Any, Union

import pytest

import mycelium
from mycelium import Delivery, Message, UsageError
from mycelium.bus.delivery import LOCAL
from mycelium.bus.handlers import describe, types_of

Elsewhere = mycelium.load("messages:\n  Elsewhere: {tlv_type: 1000, fields: {}}\n").Elsewhere


@pytest.fixture
def ping(contracts):
    return contracts.Ping


@pytest.fixture
def pong(contracts):
    return contracts.Pong


def annotated(annotation):
    def handler(message): ...

    handler.__annotations__["message"] = annotation
    return handler


# --- types ---


def test_a_class(contracts, ping):
    assert types_of(annotated(ping), contracts) == (ping,)


def test_unions_in_every_spelling(contracts, ping, pong):
    for annotation in (
        ping | pong,
        Union[ping, pong],  # noqa: UP007  what is tested
        "Ping | Pong",
        Annotated[ping, "x"] | pong,
    ):
        assert types_of(annotated(annotation), contracts) == (ping, pong)


def test_a_string_that_names_a_message_of_the_contracts(contracts, ping):
    assert types_of(annotated("Ping"), contracts) == (ping,)
    assert types_of(annotated("Annotated[Ping, 1]"), contracts) == (ping,)


def test_postponed_annotations_with_imports_inside_the_function(contracts, ping, pong):
    namespace = {}
    source = """
from __future__ import annotations

def make(contracts):
    Ping, Pong = contracts.Ping, contracts.Pong

    async def on_ping(message: Ping): ...
    def on_either(message: Ping | Pong, delivery: Delivery): ...
    return on_ping, on_either
"""
    exec(compile(source, "<handlers>", "exec", dont_inherit=True), namespace)
    on_ping, on_either = namespace["make"](contracts)
    assert types_of(on_ping, contracts) == (ping,)
    assert types_of(on_either, contracts) == (ping, pong)


def test_a_name_that_the_handler_took_from_around_it(contracts, ping):
    alias = ping

    def handler(message: "alias"):
        return alias, message

    assert types_of(handler, contracts) == (ping,)


class Shop:
    """Handlers as people write them."""

    def __init__(self):
        self.got = []

    def take(self, message: "Ping"):  # noqa: F821  a message of the contracts
        self.got.append(message)

    async def take_slowly(self, message: "Ping", delivery: Delivery):  # noqa: F821
        self.got.append((message, delivery))

    def __call__(self, message: "Pong"):  # noqa: F821
        self.got.append(message)


class SlowShop:
    async def __call__(self, message: "Pong", delivery):  # noqa: F821
        return message, delivery


def test_methods_and_callable_objects(contracts, ping, pong):
    assert types_of(Shop().take, contracts) == (ping,)
    assert types_of(Shop(), contracts) == (pong,)
    assert types_of(SlowShop(), contracts) == (pong,)


def test_partials(contracts, ping):
    def handler(prefix, message: "Ping"): ...  # noqa: F821

    assert types_of(functools.partial(handler, "x"), contracts) == (ping,)
    assert types_of(functools.partial(functools.partial(Shop.take, Shop())), contracts) == (ping,)


def test_decorated_functions(contracts, ping):
    def decorator(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args)

        return wrapper

    @decorator
    def handler(message: "Ping"): ...  # noqa: F821

    assert types_of(handler, contracts) == (ping,)


def no_annotation(message): ...


def no_parameter(): ...


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (no_annotation, "no_annotation has no annotated parameter; write `message: Ping`"),
        (no_parameter, "no_parameter has no annotated parameter"),
        (annotated(int), "takes <class 'int'>, which is no message type; name the types after the handler"),
        (annotated(Message), "which is no message type"),
        (annotated(Any), "which is no message type"),
        (annotated(Elsewhere | None), "takes <class 'NoneType'>, which is no message type"),
        (annotated("Pinng"), "the annotation 'Pinng' cannot be read .*Pinng.*; name the types after the handler"),
        (annotated("1 +"), "the annotation '1 [+]' cannot be read"),
        (annotated("1 / 0"), "the annotation '1 / 0' cannot be read"),
        (annotated("'Ping'"), "takes 'Ping', which is no message type"),
    ],
)
def test_bad_annotations_say_what_is_wrong_and_what_to_do(contracts, handler, problem):
    with pytest.raises(UsageError, match=problem):
        types_of(handler, contracts)


async def test_a_type_of_other_contracts_is_refused(contracts):
    bus = mycelium.MessageBus(contracts)
    with pytest.raises(UsageError, match="Elsewhere is not of <Contracts"):
        await bus.subscribe(annotated(Elsewhere))


# --- calls ---


def test_only_the_message_is_given_where_only_one_parameter_must_be(contracts, ping):
    got = []
    message = ping(value="x")

    def one(message):
        got.append(message)

    def with_default(message, extra=5):
        got.append((message, extra))

    def any_number(*args):
        got.append(args)

    for handler in (one, with_default, any_number, got.append):
        described = describe(handler)
        described.call(message, LOCAL)
        assert not described.is_async
    assert got == [message, (message, 5), (message,), message]


def test_a_second_parameter_gets_the_delivery(contracts, ping):
    got = []
    message = ping(value="x")

    def two(message, delivery):
        got.append(delivery)

    def typed_with_default(message, delivery: Delivery | None = None):
        got.append(delivery)

    def in_a_string(message, delivery: "Delivery | None" = None):
        got.append(delivery)

    for handler in (two, typed_with_default, in_a_string):
        describe(handler).call(message, LOCAL)
    assert got == [LOCAL] * 3


def test_async_functions_are_told_from_others():
    async def function(message): ...

    assert describe(function).is_async
    assert describe(functools.partial(function)).is_async
    assert describe(Shop().take_slowly).is_async
    assert describe(SlowShop()).is_async
    assert not describe(Shop()).is_async
    assert not describe(lambda _: None).is_async


def test_handlers_have_names_for_people():
    assert describe(no_annotation).name == "no_annotation"
    assert describe(Shop().take).name == "Shop.take"
    assert describe(Shop()).name == "Shop"
    assert describe(functools.partial(Shop.take, Shop())).name == "partial of Shop.take"


def three(first, second, third): ...


def needs_a_keyword(message, *, needed): ...


def takes_keywords(*, message): ...


@pytest.mark.parametrize("handler", [no_parameter, three, needs_a_keyword, takes_keywords])
def test_functions_that_cannot_be_called_so_are_refused(handler):
    with pytest.raises(UsageError, match="is no handler; one takes the message and, if it wants to, a Delivery"):
        describe(handler)


def test_functions_of_c_code_take_the_message():
    got = set()
    describe(got.add).call("x", LOCAL)
    assert got == {"x"}
