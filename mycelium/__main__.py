"""`python -m mycelium`: the command."""

import sys

from mycelium.cli.main import main

sys.exit(main())
