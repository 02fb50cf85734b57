"""Contracts of one field, and the faults of a text."""

import pytest

from mycelium.schema.errors import ContractError
from mycelium.schema.parse import parse_text


def one_field(spelling, extra="", types=""):
    """The only field of a file that has little else."""
    text = f"types: {{{types}}}\nmessages:\n  M: {{tlv_type: 1001, fields: {{f: {{type: '{spelling}'{extra}}}}}}}\n"
    return parse_text(text).messages["M"].fields[0]


def faults(text, **options):
    with pytest.raises(ContractError) as caught:
        parse_text(text, "f", **options)
    return [str(fault) for fault in caught.value.faults]
