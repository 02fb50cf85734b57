"""Errors word themselves, keep their values, and survive a pickle."""

import pickle

import pytest

from mycelium.errors import MyceliumError
from mycelium.schema.errors import MessageError
from mycelium.wire.errors import (
    NOTHING,
    DecodeError,
    EncodeError,
    ErrorCode,
    LocalProtocolError,
    Misfit,
    ProtocolError,
    show,
)

ROWS = [
    (EncodeError("Order", "side", "takes a Side"), "Order.side: takes a Side"),
    (EncodeError("Order", None, "takes an Order", 3), "Order: takes an Order, got 3 (int)"),
    (EncodeError("Order", "pin", "takes a u8", "[REDACTED]"), "Order.pin: takes a u8, got [REDACTED]"),
    (DecodeError("Order", "id", "is missing", 7), "Order.id: is missing (at byte 7 of the payload)"),
    (DecodeError("metadata", "trace", "takes 26 bytes", None), "metadata.trace: takes 26 bytes"),
    (
        DecodeError("Order", "id", "breaks the rule min: 1", 6, "min", 0),
        "Order.id: breaks the rule min: 1, got 0 (int) (at byte 6 of the payload)",
    ),
    (ProtocolError(ErrorCode.LIMIT, "a frame of 9 GiB"), "limit: a frame of 9 GiB"),
    (LocalProtocolError("a client does not send Welcome"), "protocol: a client does not send Welcome"),
]


@pytest.mark.parametrize(("error", "text"), ROWS, ids=[text for _, text in ROWS])
def test_an_error_says_so_also_after_a_pickle(error, text):
    assert str(error) == text
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), text, vars(error))
    assert isinstance(error, MyceliumError)
    assert isinstance(error, ProtocolError | MessageError)


NAMES = (
    *("protocol", "version", "limit", "handshake_timeout", "auth_required", "auth_refused", "schema_incompatible"),
    *("unknown_type", "invalid_payload", "denied", "queue_full", "backpressure_timeout", "paused", "slow_consumer"),
    *("heartbeat", "internal", "shutdown"),
)


def test_error_codes_are_those_of_the_protocol():
    assert [(one.value, one.reason) for one in ErrorCode] == list(enumerate(NAMES, 1))
    assert [one.value for one in ErrorCode if one.always_fatal] == [1, 2, 3, 4, 5, 6, 14, 15, 16, 17]


def test_a_path_is_built_from_the_inside_out():
    misfit = Misfit("takes a u8", 300, offset=4)
    assert misfit.path is None
    assert misfit.within("field", "price").path == "price"
    assert misfit.within("index", 2).within("field", "legs").path == "legs[2].price"
    assert (
        misfit.within("key", "a").within("field", "table").within("entry", 1).path
        == "[entry 1].table['a'].legs[2].price"
    )


def test_redaction_takes_the_value_and_the_keys_but_not_the_way():
    misfit = Misfit("takes a u8", 300).within("key", "secret").within("index", 1).within("field", "table")
    misfit.redacted().within("key", "open")
    assert misfit.path == "['open'].table[1][[REDACTED]]"
    assert misfit.value == "[REDACTED]"
    assert Misfit("is missing").redacted().value is NOTHING


def test_a_shown_value_is_short_and_names_its_type():
    assert show("a\n") == "'a\\n' (str)"
    assert show(None) == "None (NoneType)"
    assert show("[REDACTED]") == "[REDACTED]"
    assert len(show([b"x" * 1000] * 1000)) < 140
    assert repr(NOTHING) == "NOTHING"


class Broken:
    def __repr__(self):
        raise RuntimeError


def test_a_value_that_cannot_be_shown_is_named():
    assert "Broken" in show(Broken())
