"""What can be installed beside Mycelium, and how one is told that it is not."""

import importlib.util
from collections.abc import Mapping
from typing import Final

from mycelium.bus.errors import UsageError

__all__ = ["is_installed", "required"]

_MODULES: Final[Mapping[str, tuple[str, ...]]] = {"http": ("starlette", "uvicorn", "prometheus_client")}
"""Of each extra, what it brings."""


def is_installed(extra: str) -> bool:
    """Whether everything of an extra can be imported."""
    return not _missing(extra)


def required(extra: str) -> None:
    """Go on only with an extra.

    Raises:
        UsageError: It is not installed.
    """
    missing = _missing(extra)
    if missing:
        names = " and ".join(one.replace("_", "-") for one in missing)
        raise UsageError(f"{names} cannot be imported; pip install 'mycelium-py[{extra}]'")


def _missing(extra: str) -> list[str]:
    return [one for one in _MODULES[extra] if importlib.util.find_spec(one) is None]
