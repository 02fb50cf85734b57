"""A report together with what it is called: what every format prints."""

from typing import Final, Literal, TypeAlias

from attrs import frozen

from mycelium.schema.compat.findings import Waiver
from mycelium.schema.compat.peers import Hurt
from mycelium.schema.compat.report import Report

__all__ = ["EXIT_CODES", "LEVEL_WORDS", "SCREEN", "Status", "View"]

Status: TypeAlias = Literal["ok", "incompatible", "usage", "invalid", "no_baseline", "stale"]

EXIT_CODES: Final[dict[Status, int]] = {
    "ok": 0,
    "incompatible": 1,
    "usage": 2,
    "invalid": 3,
    "no_baseline": 4,
    "stale": 5,
}
"""How a run ended, and what the process says of it."""

SCREEN: Final = 48
"""Lines that fit where nobody says how many do."""

LEVEL_WORDS: Final[dict[str, str]] = {
    "full": "any deploy order",
    "backward": "readers first",
    "forward": "writers first",
    "none": "nothing is asked for",
}
"""What a policy level asks for, in words."""


@frozen
class View:
    """One comparison, ready to be printed."""

    report: Report
    current: str
    """What the new contract is called: its path."""
    previous: str
    """What the old one is called: `merge-base:main (3f1c9ab)`."""
    verbose: bool = False
    parity: bool = False
    """Whether the Rust checker's verdict is printed too; JSON always has it."""
    gate: bool = True
    """Whether findings may fail the run."""
    hurt: tuple[Hurt, ...] = ()
    """Clients that are connected to the bridge that is compared with, as far as the change would hurt them."""
    waivable: bool = True
    """Whether a waiver would help."""
    height: int = SCREEN
    """Lines of a screen."""

    @property
    def status(self) -> Status:
        """`ok` or `incompatible`; the other ends of a run have no report."""
        return "ok" if self.report.ok or not self.gate else "incompatible"

    @property
    def policy(self) -> str:
        """The policy in words: `full (any deploy order)`."""
        level = self.report.policy.level
        words = LEVEL_WORDS[level.removesuffix("-transitive")]
        rust = ", equal structs" if self.report.policy.settings.profile == "rust" else ""
        return f"{level} ({words}{', every older version' if level.endswith('-transitive') else ''}{rust})"

    @property
    def stale_waivers(self) -> tuple[tuple[str, Waiver], ...]:
        """Waivers that excuse nothing, with the reason."""
        return (
            *(("expired", one) for one in self.report.expired_waivers),
            *(("unused", one) for one in self.report.unused_waivers),
        )
