"""What the one-file bridge begins with; `build_onefile.py` makes it.

It is a process and its child: the first one has unpacked the file to a temporary folder, passes signals on, and removes
the folder in the end; this is the other one.
"""

import ctypes
import fcntl
import os
import runpy
import signal
import sys
from typing import Final

from mycelium.cli.main import main

_PR_SET_PDEATHSIG: Final = 1
"""prctl(2): the signal that this process gets when its parent ends."""


def settle() -> None:
    """Bind this process to its folder and to its parent."""
    folder = os.open(sys._MEIPASS, os.O_RDONLY)  # type: ignore[attr-defined]  # noqa: SLF001  PyInstaller's
    fcntl.flock(folder, fcntl.LOCK_SH)  # systemd-tmpfiles, which clears /tmp by age, leaves a locked folder alone
    # Whoever kills the parent means this process, and nobody knows its number.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if sys.argv[1:2] == ["serve"]:
        # A Ctrl-C is for the whole group of processes, and the parent would pass it on: a second one stops at once.
        os.setpgid(0, 0)


def run() -> int:
    """The command; after `-m` a module, as of the interpreter that this file takes the place of."""
    if sys.argv[1:2] != ["-m"]:
        return main()
    module = sys.argv[2]
    del sys.argv[1:3]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    settle()
    sys.exit(run())
