"""Mycelium: a message bus for typed messages."""

from mycelium._version import __version__

__all__ = ["__version__"]
