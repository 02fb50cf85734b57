"""Files that commands write."""

import os
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(target: Path, text: str) -> None:
    """Write a file so that a reader finds the old one or the new one, never half of it."""
    draft = target.with_name(f"{target.name}.new")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, target)  # noqa: PTH105  the same thing, and it says what it is
