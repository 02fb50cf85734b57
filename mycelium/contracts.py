"""Types of the default contracts file: `from mycelium.contracts import Ping`.

The file is $MYCELIUM_CONTRACTS, else the nearest contracts.yaml from the working directory upward. This module has next
to no names of its own, so that a message may have any; one called `Contracts`, `bind` or `load` is reached as
`mycelium.load()["load"]`.
"""

from typing import Any as __Any

from mycelium import handle as __handle
from mycelium.handle import Contracts, bind, load

__all__ = ["Contracts", "bind", "load"]


def __getattr__(name: str) -> __Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(__handle.default(), name)
