"""What starting costs: `import mycelium` over bare Python, and loading a contract of a thousand messages.

    python tools/bench_start.py          # the figures with their targets
    python tools/bench_start.py --json   # the same for machines

Every figure is from a process of its own, bare Python and ours in turn; the median of the rounds is what counts.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from figures import Row, table

ROOT: Final = Path(__file__).resolve().parent.parent
MESSAGES: Final = 1000
FIELDS: Final = ("u64", "i32", "String", "bool", "Vec<u16>", "Side")

_LOAD: Final = """
import sys, time, mycelium
mycelium.load("messages:\\n  A: {tlv_type: 1000, fields: {a: {type: u8}}}\\n").A
start = time.perf_counter()
contracts = mycelium.load(sys.argv[1])
loaded = time.perf_counter()
for cls in contracts:
    cls.to_bytes, cls.from_bytes
made = time.perf_counter()
print(loaded - start, made - loaded)
"""


def contract() -> str:
    """A contracts file of many messages."""
    lines = ["types:", "  Side: {enum: {buy: 1, sell: 2}}", "messages:"]
    for number in range(MESSAGES):
        lines += [f"  Message{number}:", f"    tlv_type: {1000 + number}", "    fields:"]
        lines += [
            f"      field_{place}: {{type: {kind!r}, tag: {place}, description: number {place}}}"
            for place, kind in enumerate(FIELDS, 1)
        ]
    return "\n".join(lines) + "\n"


def run(code: str, *arguments: str) -> tuple[float, str]:
    """Milliseconds of a whole process, and what it printed."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return (time.perf_counter() - start) * 1e3, done.stdout


def measure(rounds: int) -> Iterator[Row]:
    """All rows."""
    imported: list[float] = []
    loaded: list[float] = []
    made: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "contracts.yaml"
        file.write_text(contract())
        run("import mycelium")  # leaves compiled modules behind, as an installation does
        for _ in range(rounds):
            bare = run("pass")[0]
            imported.append(run("import mycelium")[0] - bare)
            load, classes = run(_LOAD, str(file))[1].split()
            loaded.append(float(load) * 1e3)
            made.append(float(classes) * 1e3)
    yield Row("import mycelium", "bare Python", "ms", imported, 80, 50)
    yield Row(f"load {MESSAGES} messages", "-", "ms", loaded, 1500, 500)
    yield Row(f"make their {MESSAGES} classes", "-", "ms", made, None, None)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="figures for machines")
    parser.add_argument("--rounds", type=int, default=15, help="processes of each kind (default: 15)")
    options = parser.parse_args()
    rows = list(measure(options.rounds))
    if options.json:
        where = {"python": platform.python_version(), "machine": platform.machine(), "rounds": options.rounds}
        print(json.dumps({**where, "rows": [row.as_json() for row in rows]}, indent=1))
        return
    print(f"Python {platform.python_version()}, median of {options.rounds} rounds\n")
    for line in table(rows):
        print(line)


if __name__ == "__main__":
    main()
