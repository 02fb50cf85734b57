"""Builds the package, or takes one that was built, and checks it: contents, metadata, and an installation of the wheel.

    python tools/check_package.py                                        # with this interpreter
    python tools/check_package.py --python python3.11 --python python3.13
    python tools/check_package.py --dist dist --python python3.12        # what is in dist, as a release does

Each interpreter gets an empty environment with the wheel and nothing else, in which tools/smoke.py runs. Needs build
and twine, which the extra `dev` brings.
"""

import argparse
import fnmatch
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
_INFO: Final = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
_PACKED: Final = {"mycelium/contracts.yaml"}
"""What comes from elsewhere in the checkout."""


def wheel_faults(names: list[str], source: set[str]) -> Iterator[str]:
    """What is wrong with the files of a wheel.

    Args:
        names: The files in it.
        source: Files of the package in the checkout, as paths from its root.
    """
    info = {name for name in names if ".dist-info/" in name}
    yield from _differences("the wheel", {name.split("/", 1)[1] for name in info}, _INFO)
    yield from _differences("the wheel", set(names) - info, source | _PACKED)


def sdist_faults(names: list[str], source: set[str]) -> Iterator[str]:
    """The same of a source distribution, which is the whole checkout."""
    yield from _differences("the sdist", {name.split("/", 1)[1] for name in names}, source | {"PKG-INFO"})


def _differences(what: str, there: set[str], wanted: set[str]) -> Iterator[str]:
    yield from (f"{what} lacks {name}" for name in sorted(wanted - there))
    yield from (f"{what} has {name}, which does not belong there" for name in sorted(there - wanted))


def _source() -> set[str]:
    """The files of the checkout: those that git knows, or where there is no git all that it would not leave out."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=False)  # noqa: S607
    if listed.returncode == 0:
        return set(listed.stdout.split("\0")) - {""}
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    files = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return {
        path.as_posix()
        for path in files
        if not any(fnmatch.fnmatch(part, pattern) for part in path.parts for pattern in ignored)
    }


def check_contents(dist: Path) -> list[str]:
    """What is wrong with the files of the wheel and the source distribution of a folder."""
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    source = _source()
    with zipfile.ZipFile(wheel) as packed:
        found = list(wheel_faults(packed.namelist(), {name for name in source if name.startswith("mycelium/")}))
    with tarfile.open(sdist) as packed_source:
        names = [one.name for one in packed_source.getmembers() if not one.isdir()]
    return [*found, *sdist_faults(names, source)]


def check_installation(dist: Path, python: str, scratch: Path) -> str:
    """Install the wheel for an interpreter; what the smoke test says."""
    place = Path(tempfile.mkdtemp(prefix="venv-", dir=scratch))  # two interpreters may have one name
    (wheel,) = dist.glob("*.whl")
    _run(python, "-m", "venv", place)
    asked, made = _run(python, "--version"), _run(place / "bin" / "python", "--version")
    if asked != made:
        sys.exit(f"{python} is {asked.strip()}, and its environment {made.strip()}")
    _run(place / "bin" / "python", "-m", "pip", "install", "-q", wheel)
    _run(place / "bin" / "python", "-m", "pip", "check")
    return _run(place / "bin" / "python", "-W", "error", ROOT / "tools" / "smoke.py", cwd=scratch).strip()


def _run(*command: "str | Path", cwd: Path | None = None) -> str:
    """What a program printed; it ends this one with all that it said if it fails."""
    # Nothing of this checkout, of its environment or of a user's settings is to be found by what runs.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MYCELIUM_"))}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dist", type=Path, help="a folder with one wheel and one sdist (default: they are built)")
    parser.add_argument("--python", action="append", metavar="PYTHON", help="an interpreter; repeatable")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="package-") as name:
        scratch = Path(name)
        dist = options.dist.resolve() if options.dist else scratch / "dist"
        if options.dist is None:
            _run(sys.executable, "-m", "build", "--outdir", dist, ROOT)
        if faults := check_contents(dist):
            sys.exit("\n".join(faults))
        _run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir())
        print(f"{', '.join(sorted(path.name for path in dist.iterdir()))}: contents and metadata are right", flush=True)
        for python in options.python or [sys.executable]:
            print(check_installation(dist, python, scratch), flush=True)


if __name__ == "__main__":
    main()
