"""Which versions the change asks for, and in which order to deploy it."""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from attrs import frozen

from mycelium.schema.compat.findings import Finding
from mycelium.schema.model import Schema

__all__ = ["Bump", "Level", "deploy_order", "level_of", "suggest"]

Level: TypeAlias = Literal["full", "backward", "forward", "none"]

_DEPLOY: Final[dict[Level, str]] = {
    "full": "any order",
    "backward": "readers first, then writers",
    "forward": "writers first, then readers; drain stored messages before readers",
    "none": "expand, migrate, contract",
}


@frozen
class Bump:
    """The suggested versions."""

    version: int
    min_compatible: int
    semver: Literal["none", "patch", "minor", "major"]


def level_of(*, backward: bool, forward: bool) -> Level:
    """One word for both directions: backward is "new reads old only", forward is "old reads new only"."""
    if backward:
        return "full" if forward else "backward"
    return "forward" if forward else "none"


def deploy_order(level: Level) -> str:
    """Who goes first."""
    return _DEPLOY[level]


def suggest(previous: Schema, current: Schema, findings: Sequence[Finding], policy: str) -> Bump:
    """The versions that the change asks for.

    `min_compatible` is the oldest data that the new reader accepts, so it rises exactly where new no longer reads old.

    Args:
        previous: The schema that is out there.
        current: The schema that is to replace it.
        findings: Everything that was found between them.
        policy: The level that was asked for; under `full` a break of one direction is a major change.
    """
    if all(one.category == "DOC" or _only_versions(one) for one in findings):
        documented = any(one.category == "DOC" for one in findings)
        return Bump(current.version, current.min_compatible, "patch" if documented else "none")
    version = max(current.version, previous.version + 1)
    backward = all(one.backward for one in findings)
    if not backward:
        return Bump(version, version, "major")
    forward = all(one.forward for one in findings)
    minor = forward or not policy.startswith("full")
    return Bump(version, current.min_compatible, "minor" if minor else "major")


def _only_versions(finding: Finding) -> bool:
    return finding.path in {"schema.version", "schema.min_compatible"} and not finding.breaks
