"""Pieces of Markdown."""

import re
from collections.abc import Iterable, Sequence

__all__ = ["cell", "fence", "first_line", "table"]


def cell(text: object) -> str:
    """A text that stays inside its cell of a table."""
    return re.sub(r"\s+", " ", str(text)).replace("|", "\\|").strip()


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with its head."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines) + "\n"


def fence(text: str, language: str = "text") -> str:
    """A fenced block."""
    return f"```{language}\n{text.rstrip()}\n```\n"


def first_line(documented: object) -> str:
    """What the docstring of something begins with."""
    return (documented.__doc__ or "").strip().partition("\n")[0]
