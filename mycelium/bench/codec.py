"""Nanoseconds to make a message into bytes, and bytes into a message."""

import timeit
from collections.abc import Mapping
from functools import partial
from typing import Final

from mycelium.bench.figures import Run
from mycelium.bench.scenes import Figures
from mycelium.bench.workload import WORKLOADS, contract_text, readers
from mycelium.handle import load

__all__ = ["codec_runs"]

_SECONDS: Final = 0.1
"""Of a round of one operation."""
_PROBE: Final = 1000


def codec_runs() -> Mapping[str, Run]:
    """A run for each operation."""
    return {
        f"{operation} {workload}": partial(_measure, statement, workload)
        for workload in ("counter", "text")
        for operation, statement in (
            ("construct and encode", "make(7).to_bytes()"),
            ("decode and read", "read(from_bytes(payload))"),
        )
    }


def _measure(statement: str, workload: str) -> Figures:
    contracts = load(contract_text())
    make = WORKLOADS[workload].maker(contracts, 0)
    message = make(7)
    names = {
        "make": make,
        "from_bytes": type(message).from_bytes,
        "payload": message.to_bytes(),
        "read": readers()[type(message).__name__],
    }
    timer = timeit.Timer(statement, globals=names)
    timer.timeit(_PROBE)  # the first calls compile
    loops = max(int(_PROBE * _SECONDS / max(timer.timeit(_PROBE), 1e-9)), 1)
    return {"ns": timer.timeit(loops) / loops * 1e9}
