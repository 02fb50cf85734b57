"""Where results are laid out for people."""

import sys
from typing import Final, final

from rich.console import Console

__all__ = ["Screen"]

_PIPED_WIDTH: Final = 400
"""Characters of a line that no terminal cuts."""


@final
class Screen(Console):
    """A console for results: unstyled and uncut where no terminal reads them, and told when the reader has gone."""

    def __init__(self) -> None:
        super().__init__(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)

    def on_broken_pipe(self) -> None:
        """Whoever read the output has gone: the command says no more, and that is no failure."""
        raise BrokenPipeError
