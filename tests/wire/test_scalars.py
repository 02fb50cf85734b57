"""Numbers and bools: every type's limits, byte order, and what is not a value of it."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import scalars
from wire_rows import SCALAR_ROWS

from mycelium.schema.model import INTEGERS, SCALAR_SIZES
from mycelium.wire.errors import Misfit
from mycelium.wire.scalars import SCALARS


@pytest.mark.parametrize(("name", "value", "data"), SCALAR_ROWS)
def test_a_value_has_these_bytes_both_ways(name, value, data):
    kind = SCALARS[name]
    assert kind.encode(value) == bytes.fromhex(data)
    decoded = kind.decode(bytes.fromhex(data), 0)
    assert (decoded, type(decoded)) == (value, type(value))
    assert math.copysign(1, decoded) == math.copysign(1, value)


def test_every_scalar_of_the_language_has_its_size():
    assert {name: kind.size for name, kind in SCALARS.items()} == dict(SCALAR_SIZES)


@pytest.mark.parametrize("name", INTEGERS)
def test_an_integer_past_its_limits_is_refused(name):
    low, high = INTEGERS[name]
    for value in (low - 1, high + 1):
        with pytest.raises(Misfit) as caught:
            SCALARS[name].encode(value)
        assert caught.value.problem == f"takes an int from {low} to {high} ({name})"
        assert caught.value.value == value


class Liar:
    """Says that it is something else."""

    def __init__(self, cls):
        self.cls = cls

    def __repr__(self):
        return f"Liar({self.cls.__name__})"

    @property
    def __class__(self):
        return self.cls


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None, b"\x01", [1], Liar(int)])
@pytest.mark.parametrize("name", ["u8", "i64", "u128", "U256"])
def test_only_an_int_is_an_integer_and_a_bool_is_none(name, value):
    with pytest.raises(Misfit, match="takes an int"):
        SCALARS[name].encode(value)


@pytest.mark.parametrize("value", [True, "1.0", None, b"", Liar(float)])
@pytest.mark.parametrize("name", ["f32", "f64"])
def test_only_a_float_or_an_int_is_a_float(name, value):
    with pytest.raises(Misfit, match="takes a float"):
        SCALARS[name].encode(value)


def test_an_int_is_a_fine_float():
    assert SCALARS["f64"].encode(3) == struct.pack("<d", 3.0)
    assert SCALARS["f32"].encode(-2) == struct.pack("<f", -2.0)


@pytest.mark.parametrize(("name", "value"), [("f32", 3.5e38), ("f32", -1e300), ("f32", 10**400), ("f64", 10**400)])
def test_a_float_that_its_type_does_not_hold_is_refused(name, value):
    with pytest.raises(Misfit, match=f"takes a float that fits {name}"):
        SCALARS[name].encode(value)


@pytest.mark.parametrize("value", [0, 1, None, "true", Liar(bool)])
def test_only_a_bool_is_a_bool(value):
    with pytest.raises(Misfit, match="takes a bool"):
        SCALARS["bool"].encode(value)


@pytest.mark.parametrize("byte", [2, 128, 255])
def test_a_bool_byte_is_0_or_1(byte):
    with pytest.raises(Misfit) as caught:
        SCALARS["bool"].decode(bytes([byte]), 7)
    assert (caught.value.offset, caught.value.value) == (7, byte)


@given(st.sampled_from(sorted(SCALARS)).flatmap(lambda name: st.tuples(st.just(name), scalars(name))))
def test_any_value_survives(case):
    name, value = case
    kind = SCALARS[name]
    assert kind.decode(kind.encode(value), 0) == value


@given(st.sampled_from(["f32", "f64"]), st.binary(min_size=8, max_size=8))
def test_any_bits_of_a_float_survive_but_for_signalling_nans_of_f32(name, bits):
    kind = SCALARS[name]
    data = bits[: kind.size]
    written = kind.encode(kind.decode(data, 0))
    signalling = (
        name == "f32" and data[3] & 0x7F == 0x7F and data[2] & 0xC0 == 0x80 and any(data[:2] + bytes([data[2] & 0x3F]))
    )
    quiet = data[:2] + bytes([data[2] | 0x40]) + data[3:] if signalling else data
    assert written == quiet
