"""Compatibility of two contracts: `mycelium.check_compatibility`.

This module joins the checker, which knows schemas only, with the codecs that prove what it says.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from attrs import evolve

from mycelium.schema.compat.findings import Probe, Prover, Witness
from mycelium.schema.compat.report import DEFAULT_POLICY, LEVELS, Policy, Report, examine
from mycelium.schema.errors import ContractNotFound
from mycelium.schema.model import Schema
from mycelium.schema.parse import parse_text

if TYPE_CHECKING:
    from mycelium.handle import Contracts

__all__ = ["Policy", "Report", "Source", "check_compatibility", "prover", "schema_of"]

Source: TypeAlias = "Schema | Contracts | str | os.PathLike[str]"
"""A schema, a live handle, a path, or the text of a contracts file (a str with a newline)."""


def check_compatibility(
    previous: Source,
    current: Source,
    *,
    level: str = "full",
    history: Sequence[Source] = (),
    policy: Policy = DEFAULT_POLICY,
) -> Report:
    """What changed between two contracts, and whether either side still reads what the other writes.

    The verdict is `report.level` (`full`, `backward`, `forward` or `none`), with `report.backward` (new reads old) and
    `report.forward` (old reads new); `report.issues` are the findings, the worst first. Witnesses are searched for when
    a finding is asked for its `witness`.

    Args:
        previous: What is out there.
        current: What is to replace it.
        level: What is asked for: `report.ok` says whether the change lives up to it. With `-transitive` the older
            versions count too.
        history: Versions before `previous`, oldest first.
        policy: Everything else that decides what is looked at and what fails.

    Raises:
        ContractError: A text or file has faults.
        ContractNotFound: There is no such file.
        ValueError: There is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"no level {level!r}; take one of {', '.join(LEVELS)}")
    old, new = schema_of(previous), schema_of(current)
    chosen = evolve(policy, level=LEVELS[level])
    return examine(old, new, chosen, [schema_of(one) for one in history], prover(old, new))


def schema_of(source: Source) -> Schema:
    """The schema that a path, a text, a handle or a schema stands for."""
    if isinstance(source, Schema):
        return source
    if isinstance(source, str) and "\n" in source:
        return parse_text(source)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            return parse_text(path.read_bytes(), str(path))
        except FileNotFoundError as error:
            raise ContractNotFound([path]) from error
    return source.schema


def prover(previous: Schema, current: Schema) -> Prover:
    """A prover for two schemas; codecs are imported and built when it is first used."""
    found: list[Prover] = []

    def prove(probe: Probe) -> Witness | None:
        if not found:
            from mycelium.proof import Proofs

            found.append(Proofs(previous, current))
        return found[0](probe)

    return prove
