"""Mycelium as a contender: `mycelium serve`, and clients of `mycelium.bench.role`."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from mycelium.bench.contender import LOOPBACK, Contender, Server
from mycelium.bench.process import started
from mycelium.bench.workload import contract_text

__all__ = ["MYCELIUM", "serve"]


@contextlib.contextmanager
def serve(
    scheme: str, *, module: str = "mycelium", options: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A bridge as users run it.

    Args:
        scheme: `tcp` or `unix`.
        module: What is run in place of the command.
        options: More of its command line.
        env: Additions to its environment.
    """
    with tempfile.TemporaryDirectory(prefix="mycelium-bench-") as folder:
        contracts = Path(folder, "contracts.yaml")
        contracts.write_text(contract_text(), encoding="utf-8")
        listen = f"unix://{folder}/bench.sock" if scheme == "unix" else f"tcp://{LOOPBACK}:0"
        command = ["python", "-m", module, "serve", str(contracts), "--listen", listen, *options]
        with started("bridge", command, env=env, talks_on_stderr=True, grace=0) as process:
            url = process.line_with("listening on").split()[-1]
            process.ignore()
            yield Server(url, process)


MYCELIUM: Final = Contender("mycelium", ("python", "-m", "mycelium.bench.role"), serve)
