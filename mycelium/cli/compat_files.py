"""The checker's configuration files: `[tool.mycelium.compat]` in pyproject.toml, and `.mycelium-compat.yaml`."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from mycelium.schema.compat.configuration import Configuration, ConfigurationError, configuration
from mycelium.schema.compat.findings import Waiver
from mycelium.schema.compat.snippets import flow
from mycelium.schema.errors import ContractError
from mycelium.schema.nodes import to_json
from mycelium.schema.source import read_yaml

__all__ = ["WAIVER_FILE", "Found", "find_configuration", "with_waiver"]

WAIVER_FILE: Final = ".mycelium-compat.yaml"
_HEADER: Final = "# Settings of `mycelium schema check`, and the breaks that were accepted, each with its reason.\n"


@frozen
class Found:
    """The configuration for a contract, and where its waivers are."""

    settings: Configuration
    waiver_file: Path


def find_configuration(start: Path) -> Found:
    """The nearest files from a directory upward; what `.mycelium-compat.yaml` says goes over pyproject.toml.

    Args:
        start: The directory of the contract. The search ends at a repository's root.

    Raises:
        ConfigurationError: A file makes no sense.
    """
    settings = Configuration()
    waiver_file: Path | None = None
    project_found = False
    for directory in _upward(start.resolve()):
        project = directory / "pyproject.toml"
        if not project_found and project.is_file():
            table = _from_pyproject(project)
            if table is not None:
                project_found = True
                settings = _over(table, settings)
        own = directory / WAIVER_FILE
        if waiver_file is None and own.is_file():
            waiver_file = own
            settings = _over(settings, _from_yaml(own))
    return Found(settings, waiver_file or _home(start.resolve()) / WAIVER_FILE)


def _upward(start: Path) -> Iterator[Path]:
    for directory in (start, *start.parents):
        yield directory
        if (directory / ".git").exists():
            return


def _home(start: Path) -> Path:
    """Where a new file goes: the repository's root, else beside the contract."""
    return next((one for one in (start, *start.parents) if (one / ".git").exists()), start)


def _over(lower: Configuration, upper: Configuration) -> Configuration:
    return Configuration(
        {**lower.values, **upper.values}, (*lower.waivers, *upper.waivers), upper.against or lower.against
    )


def _from_pyproject(path: Path) -> Configuration | None:
    try:
        with path.open("rb") as file:
            table = tomllib.load(file).get("tool", {}).get("mycelium", {}).get("compat")
    except (OSError, ValueError) as error:
        raise ConfigurationError(str(path), f"cannot be read: {error}", "correct it") from error
    return None if table is None else _based(configuration(table, f"{path}: tool.mycelium.compat"), path.parent)


def _from_yaml(path: Path) -> Configuration:
    try:
        data = to_json(read_yaml(path.read_bytes(), str(path)))
    except (OSError, ContractError) as error:
        raise ConfigurationError(str(path), f"cannot be read: {error}", "correct it") from error
    return _based(configuration(data if data is not None else {}, str(path)), path.parent)


def _based(found: Configuration, directory: Path) -> Configuration:
    """Paths of baselines resolved against the file that names them."""
    against = tuple(str(directory / one) if (directory / one).is_file() else one for one in found.against)
    return evolve(found, against=against)


def with_waiver(text: str, waiver: Waiver) -> str:
    """The text of `.mycelium-compat.yaml` with one more waiver; everything else stays as it is.

    Raises:
        ConfigurationError: The list of waivers is laid out in a way that cannot be added to.
    """
    entry = [f"  - fingerprint: {flow(waiver.fingerprint)}", f"    reason: {flow(waiver.reason)}"]
    entry += [f"    until: {waiver.until}"] if waiver.until else []
    lines = text.splitlines() or _HEADER.splitlines()
    head = next((index for index, line in enumerate(lines) if re.match(r"waivers\s*:", line)), None)
    if head is None:
        return "\n".join([*lines, "waivers:", *entry]) + "\n"
    if re.match(r"waivers\s*:\s*\[\s*\]", lines[head]):
        lines[head] = "waivers:"
    elif re.match(r"waivers\s*:\s*[^#\s]", lines[head]):
        raise ConfigurationError(WAIVER_FILE, "`waivers` is on one line", "write it as a list, one entry a line")
    end = next(
        (index for index in range(head + 1, len(lines)) if lines[index][:1] not in {" ", "-", "#", ""}), len(lines)
    )
    first = next((line for line in lines[head + 1 : end] if line.lstrip().startswith("- ")), "  - ")
    indent = first[: len(first) - len(first.lstrip())]
    while end > head + 1 and not lines[end - 1].strip():
        end -= 1
    return "\n".join([*lines[:end], *(f"{indent}{line[2:]}" for line in entry), *lines[end:]]) + "\n"
