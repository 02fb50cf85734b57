"""Checks of a whole file that no single section can make: what has to be unique, in range, or agree with something else."""

from mycelium.schema.model import Schema
from mycelium.schema.readers import Reading

__all__ = ["validate"]


def validate(schema: Schema, reading: Reading) -> None:
    """Adds every fault of a model to the faults of its reading."""
