"""Builds the bridge, and the whole command, as one executable file that needs no Python: PyInstaller.

    python tools/build_onefile.py                     # dist/mycelium
    python tools/build_onefile.py -o /tmp/mycelium --extras speed

It is for machines like this one, with the same or a newer glibc. docs/onefile.md says what else it needs, and why it is
made like this.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
_LEFT_OUT: Final = frozenset({"dev", "bench", "docs", "otel"})
"""Extras for developers, and the one that is of no use without packages of the user's choice."""
_MIB: Final = 1024 * 1024


def extras() -> list[str]:
    """The extras of the package that a bridge on its own can use."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return sorted(set(project["optional-dependencies"]) - _LEFT_OUT)


def build(output: Path, chosen: Sequence[str]) -> None:
    """Build it in an environment of its own, which holds nothing that does not belong into the file."""
    with tempfile.TemporaryDirectory(prefix="onefile-") as name:
        scratch = Path(name)
        venv.create(scratch / "venv", with_pip=True)
        python = scratch / "venv" / "bin" / "python"
        _run(python, "-m", "pip", "install", "-q", f"{ROOT}[{','.join(chosen)}]" if chosen else str(ROOT))
        for path in (scratch / "venv").rglob("direct_url.json"):
            path.unlink()  # it names the folder that this was built in
        carried = json.loads(_run(python, "-m", "pip", "list", "--format", "json", "--exclude", "pip"))
        _run(python, "-m", "pip", "install", "-q", "pyinstaller>=6.11")
        _run(python, *_pyinstaller(scratch, output, [each["name"] for each in carried]), cwd=scratch)
        output.parent.mkdir(parents=True, exist_ok=True)
        # Beside the old one first: that may be running, and then nobody may write to it, but anybody replace it.
        draft = output.with_name(f"{output.name}.new")
        shutil.copyfile(scratch / "dist" / output.name, draft)
        draft.chmod(0o755)
        draft.replace(output)


def _pyinstaller(scratch: Path, output: Path, carried: Sequence[str]) -> list[str]:
    hidden = ["--hidden-import", "uvloop"] if "uvloop" in carried else []  # it is imported by its name only
    metadata = [word for name in carried for word in ("--copy-metadata", name)]  # `mycelium doctor` reads it
    return [
        *("-m", "PyInstaller", "--onefile", "--strip", "--noconfirm", "--log-level", "WARN"),
        *("--name", output.name, "--distpath", str(scratch / "dist")),
        *("--workpath", str(scratch / "work"), "--specpath", str(scratch)),
        *(
            "--collect-submodules",
            "mycelium",
            "--collect-data",
            "mycelium",
        ),  # commands are imported by their names, too
        *("--exclude-module", "mycelium.testing"),  # nobody runs pytest in it
        *metadata,
        *hidden,
        str(ROOT / "tools" / "onefile_entry.py"),
    ]


def _run(*command: "str | Path", cwd: Path | None = None) -> str:
    """A step: what it printed; all that it said is shown if it fails."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("dist/mycelium"), help="the file (dist/mycelium)")
    parser.add_argument("--extras", help=f"what it carries, beside the bridge (default: {','.join(extras())})")
    options = parser.parse_args()
    chosen = extras() if options.extras is None else [one for one in options.extras.split(",") if one]
    output = options.output.resolve()
    build(output, chosen)
    told, size = _run(output, "--version").strip(), output.stat().st_size / _MIB
    print(f"{output}: {told}, {size:.1f} MiB, with {', '.join(chosen) or 'no extras'}")


if __name__ == "__main__":
    main()
