"""What a reader of figures has to know of the machine that they come from."""

import os
import platform
from typing import Any

from mycelium._version import __version__

__all__ = ["machine_facts"]


def machine_facts() -> dict[str, Any]:
    """Versions, processor and number of cores."""
    return {
        "mycelium": __version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }
