"""How a client process of a peer is started."""

import os
from pathlib import Path
from typing import Final

__all__ = ["ENVIRONMENT", "MODULE_COMMAND"]

_TOOLS: Final = Path(__file__).resolve().parent.parent
MODULE_COMMAND: Final = ("python", "-m")
_PATH: Final = os.pathsep.join([str(_TOOLS), str(_TOOLS.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
ENVIRONMENT: Final = {"PYTHONPATH": _PATH}
"""With this package and the project's own on the path."""
