"""Figures in the few characters that a table has for them."""

from typing import Final

__all__ = ["age", "count", "rate", "share", "size"]

_THOUSAND: Final = 1000
_STEPS: Final = ("", "k", "M", "G", "T")
_SIZES: Final = ("bytes", "KiB", "MiB", "GiB", "TiB")
_TEN: Final = 10
_NEARLY_TEN, _NEARLY_HUNDRED, _NEARLY_THOUSAND = 9.95, 99.95, 999.5
"""From here on it is rounded to one digit more."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_UNKNOWN: Final = "-"


def count(number: int) -> str:
    """A whole number, thousands apart."""
    return f"{number:,}"


def rate(per_second: float | None) -> str:
    """Something a second: three digits that matter, then k or M; a dash where nobody knows yet."""
    if per_second is None:
        return _UNKNOWN
    step = 0
    while per_second >= _NEARLY_THOUSAND and step < len(_STEPS) - 1:
        per_second /= _THOUSAND
        step += 1
    whole = not per_second or per_second >= (_NEARLY_TEN if step == 0 else _NEARLY_HUNDRED)
    return f"{per_second:.{0 if whole else 1}f}{_STEPS[step]}"


def size(number: float) -> str:
    """Bytes, in the largest unit that leaves something in front of the point."""
    step = 0
    while number >= 1 << 10 and step < len(_SIZES) - 1:
        number /= 1 << 10
        step += 1
    return f"{number:.0f} {_SIZES[step]}" if step == 0 or number >= _TEN else f"{number:.3g} {_SIZES[step]}"


def age(seconds: float) -> str:
    """How long something has lasted, in its two largest units."""
    whole = max(int(seconds), 0)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def share(part: float, whole: float) -> str:
    """A part in percent; nothing of nothing is nothing."""
    return f"{100 * part / whole:.0f}%" if whole else "0%"
