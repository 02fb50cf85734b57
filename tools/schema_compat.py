"""Compare two contracts files from a clone, without an install: `python tools/schema_compat.py PREVIOUS CURRENT`.

The dependencies (attrs, pyyaml, cattrs) have to be at hand. Arguments, output and exit codes are those of
`mycelium compat`.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mycelium.cli.schema_compat import add_arguments


def main() -> int:
    """Compare the files of the command line; the exit code."""
    parser = argparse.ArgumentParser(description="Check whether a contracts file is compatible with an older one.")
    add_arguments(parser)
    args = parser.parse_args()
    code: int = args.func(args)
    return code


if __name__ == "__main__":
    sys.exit(main())
