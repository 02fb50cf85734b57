"""Contracts files: where the default one is, and what is in one."""

import os
from pathlib import Path
from typing import Final

from attrs import frozen

from mycelium.schema.errors import ContractError, ContractNotFound, Fault
from mycelium.schema.model import Location, Schema
from mycelium.schema.nodes import FILE_LIMITS
from mycelium.schema.parse import parse_text

__all__ = ["PATH_VARIABLE", "Origin", "find", "read_file", "read_schema"]

FILE_NAME: Final = "contracts.yaml"
PATH_VARIABLE: Final = "MYCELIUM_CONTRACTS"


@frozen
class Origin:
    """The file that a handle was loaded from."""

    given: Path
    """As the user gave it: its links are followed anew at each reload."""
    real: Path
    """Where it was."""
    content_hash: str
    """SHA-256 of its bytes, in hex."""


def find(start: Path | None = None) -> Path:
    """The default contracts file: $MYCELIUM_CONTRACTS, else the nearest contracts.yaml from `start` upward.

    Args:
        start: A directory; None for the working directory.

    Raises:
        ContractNotFound: There is none; the error says where it looked.
    """
    named = os.environ.get(PATH_VARIABLE)
    if named:
        return Path(named)
    here = (start or Path.cwd()).resolve()
    places = [folder / FILE_NAME for folder in (here, *here.parents)]
    for place in places:
        if place.is_file():
            return place
    raise ContractNotFound(places)


def read_schema(path: str | os.PathLike[str]) -> Schema:
    """The model of a contracts file, and no more.

    Raises:
        ContractNotFound: There is no such file.
        ContractError: The file has faults.
    """
    return parse_text(read_file(Path(path)), str(path))


def read_file(path: Path) -> bytes:
    """The bytes of a regular file, at most one more than a contracts file may have.

    Raises:
        ContractNotFound: There is no such file.
        ContractError: It is a folder or a device.
    """
    if not path.exists():
        raise ContractNotFound([path])
    if not path.is_file():
        raise ContractError([Fault(Location(str(path), 1, 1), "", "not a regular file", "name a contracts file")])
    with path.open("rb") as file:
        return file.read(FILE_LIMITS.size + 1)
