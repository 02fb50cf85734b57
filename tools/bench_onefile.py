"""What each way to make one file of the bridge costs: PyInstaller, a zipapp, and an installation beside them.

    python tools/bench_onefile.py [--rounds 9] [--onefile dist/mycelium]

Builds what is not given, then starts each in turn: with nothing unpacked yet, again, and as a bridge until it listens.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from build_onefile import ROOT, build, extras

_MIB: Final = 1024 * 1024
_CACHE: Final = "SHIV_ROOT"
"""Where a zipapp of shiv is told to unpack itself."""


@dataclass
class Contender:
    """One way.

    Attributes:
        name: For people.
        command: What starts it.
        size: Bytes of what has to be copied to a machine.
        cache: What it leaves there, and makes again when it is gone; None for nothing.
        figures: Milliseconds, or KiB, by what was measured.
    """

    name: str
    command: Sequence[str]
    size: int
    cache: Path | None = None
    figures: dict[str, list[float]] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """The environment of its processes."""
        return _environment() | ({_CACHE: str(self.cache)} if self.cache else {})

    def measure(self) -> None:
        """One round."""
        if self.cache is not None:
            shutil.rmtree(self.cache, ignore_errors=True)
        self._keep("listens, the first time, ms", self._serve()[0])
        took, kib = self._serve()
        self._keep("listens, after that, ms", took)
        self._keep("--version, ms", self._version())
        self._keep("memory of its processes, MiB", kib / 1024)

    def _keep(self, what: str, figure: float) -> None:
        self.figures.setdefault(what, []).append(figure)

    def _version(self) -> float:
        return _timed(
            lambda: subprocess.run([*self.command, "--version"], env=self.env, capture_output=True, check=True)
        )

    def _serve(self) -> tuple[float, float]:
        command = [*self.command, "serve", str(ROOT / "contracts.yaml"), "--listen", "tcp://127.0.0.1:0"]
        start = time.perf_counter()
        with subprocess.Popen(command, env=self.env, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            next(line for line in process.stderr if "listening on" in line)
            took = (time.perf_counter() - start) * 1e3
            kib = sum(map(_proportional_kib, [process.pid, *_children(process.pid)]))
            process.terminate()
            process.stderr.read()
        return took, kib


def _environment() -> dict[str, str]:
    """That of this process, without what changes how Python runs, or where it finds modules."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _proportional_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _contenders(scratch: Path, onefile: Path | None) -> list[Contender]:
    wanted = f"{ROOT}[{','.join(extras())}]"
    for name, packages in (("installed", [wanted]), ("shiv", ["shiv"])):
        venv.create(scratch / name, with_pip=True)
        _run(scratch / name / "bin" / "pip", "install", "-q", *packages)
    zipapp, python = scratch / "mycelium.pyz", scratch / "installed" / "bin" / "python"
    _run(scratch / "shiv" / "bin" / "shiv", "-q", "-c", "mycelium", "--compressed", "-o", zipapp, wanted)
    if onefile is None:
        onefile = scratch / "mycelium"
        build(onefile, extras())
    _run(scratch / "installed" / "bin" / "pip", "uninstall", "-q", "-y", "pip", "setuptools")
    size = sum(path.stat().st_size for path in (scratch / "installed" / "lib").rglob("*") if path.is_file())
    return [
        Contender("installed", [str(scratch / "installed" / "bin" / "mycelium")], size),
        Contender("PyInstaller", [str(onefile)], onefile.stat().st_size),
        Contender("zipapp (shiv)", [str(python), str(zipapp)], zipapp.stat().st_size, scratch / "cache"),
    ]


def _run(*command: "str | Path") -> None:
    done = subprocess.run(list(map(str, command)), env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="starts of each kind (default: 9)")
    parser.add_argument("--onefile", type=Path, help="a file that build_onefile.py has made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="onefile-") as name:
        contenders = _contenders(Path(name), options.onefile and options.onefile.resolve())
        for _ in range(options.rounds):
            for one in contenders:
                one.measure()
    rows = list(contenders[0].figures)
    print(f"{'median of ' + str(options.rounds):<30}{''.join(f'{one.name:>16}' for one in contenders)}")
    print(f"{'size, MiB':<30}{''.join(f'{one.size / _MIB:>16.1f}' for one in contenders)}")
    for row in rows:
        print(f"{row:<30}{''.join(f'{statistics.median(one.figures[row]):>16.0f}' for one in contenders)}")


if __name__ == "__main__":
    main()
