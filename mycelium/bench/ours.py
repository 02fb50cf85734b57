"""Mycelium as a contender: `mycelium serve`, and clients of `mycelium.bench.role`."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from mycelium.bench.contender import LOOPBACK, Contender, Server
from mycelium.bench.process import started
from mycelium.bench.workload import contract_text

__all__ = ["MYCELIUM", "WATCHED", "serve"]


@frozen
class _Way:
    """A way to run a bridge.

    Attributes:
        options: Of `mycelium serve`, but for where it listens.
        ready: What it says when it is all there.
        modules: What has to be importable.
        env: Additions to the environment of client processes.
    """

    options: tuple[str, ...] = ("--http", "off")
    ready: str = "listening on"
    modules: tuple[str, ...] = ()
    env: Mapping[str, str] = {}


@contextlib.contextmanager
def serve(
    scheme: str,
    *,
    module: str = "mycelium",
    options: Sequence[str] = ("--http", "off"),
    ready: str = "listening on",
    env: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """A bridge as users run it; peers, too, are measured with nobody watching.

    Args:
        scheme: `tcp` or `unix`.
        module: What is run in place of the command.
        options: More of its command line.
        ready: What it says when it is all there.
        env: Additions to its environment.
    """
    with tempfile.TemporaryDirectory(prefix="mycelium-bench-") as folder:
        contracts = Path(folder, "contracts.yaml")
        contracts.write_text(contract_text(), encoding="utf-8")
        listen = f"unix://{folder}/bench.sock" if scheme == "unix" else f"tcp://{LOOPBACK}:0"
        command = ["python", "-m", module, "serve", str(contracts), "--listen", listen, *options]
        with started("bridge", command, env=env, talks_on_stderr=True, grace=0) as process:
            line = process.line_with("listening on")
            if ready not in line:
                process.line_with(ready)
            process.ignore()
            yield Server(line.split()[-1], process)


MYCELIUM: Final = Contender("mycelium", ("python", "-m", "mycelium.bench.role"), serve)
_WAYS: Final[Mapping[str, _Way]] = {
    "metrics": _Way(
        ("--http", f"{LOOPBACK}:0"),
        "health, metrics",
        ("starlette", "uvicorn", "prometheus_client"),
    ),
}
"""Ways of watching a bridge, by what the benchmark calls them."""
WATCHED: Final = tuple(
    evolve(
        MYCELIUM,
        name=name,
        serve=partial(serve, options=way.options, ready=way.ready),
        modules=way.modules,
        env=way.env,
    )
    for name, way in _WAYS.items()
)
"""Mycelium with somebody watching: what that costs is its ratio to MYCELIUM."""
