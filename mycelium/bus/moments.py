"""Times as people and machines read them."""

from datetime import UTC, datetime

__all__ = ["rfc3339"]


def rfc3339(seconds: float) -> str:
    """A time in seconds since the epoch, in UTC: `2026-01-31T23:59:59.123456Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
