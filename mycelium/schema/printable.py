"""Text from elsewhere, as it may be shown."""

__all__ = ["printable"]


def printable(text: str) -> str:
    """Text in which what cannot be seen, moves a cursor or ends a line is written as Python escapes it."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
