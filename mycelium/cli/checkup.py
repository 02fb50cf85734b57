"""What `mycelium doctor` looks at on this machine: packages, limits, the contracts file, the environment."""

import importlib.util
import os
import platform
import re
import resource
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final, Literal, TypeAlias

from attrs import frozen

from mycelium._version import __version__

__all__ = ["Finding", "headline", "machine"]

State: TypeAlias = Literal["ok", "note", "wrong"]

_DISTRIBUTION: Final = "mycelium-py"
_FOR_DEVELOPERS: Final = frozenset({"dev", "bench", "docs"})
"""Extras that no user of the package has to have."""
_REQUIREMENT: Final = re.compile(r"(?P<name>[\w.-]+)(?:\[[\w,.-]+\])?\s*(?:[^;]*?>=\s*(?P<least>[\d.]+))?")
_EXTRA: Final = re.compile(r"""extra\s*==\s*['"]([\w-]+)['"]""")
_SOMAXCONN: Final = Path("/proc/sys/net/core/somaxconn")
_MIB: Final = 1024 * 1024


@frozen
class Finding:
    """What one look has shown.

    Attributes:
        name: What was looked at.
        state: `note` is worth knowing and hinders nobody; `wrong` makes the exit code 1.
        text: What there is.
        remedy: What to do about it.
    """

    name: str
    state: State
    text: str
    remedy: str = ""


def headline() -> str:
    """Which Mycelium, on what."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"mycelium {__version__} in {Path(__file__).parents[1]}, {python}, {platform.system()} {platform.machine()}"


def machine() -> Iterator[Finding]:
    """Everything that can be seen without asking anybody."""
    yield from _packages()
    yield from _limits()
    yield _contracts()
    yield from _variables()


def _packages() -> Iterator[Finding]:
    """What the package needs, and what each extra brings."""
    try:
        required = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        text = "it was not installed, so nobody knows what it needs"
        yield Finding("packages", "note", text, 'pip install "mycelium-py"')
        return
    wanted: dict[str, list[tuple[str, str]]] = {"": []}
    for line in required:
        found, marker = _REQUIREMENT.match(line), _EXTRA.search(line)
        if found is not None:
            wanted.setdefault(marker[1] if marker else "", []).append((found["name"], found["least"] or "0"))
    for extra, packages in wanted.items():
        if extra not in _FOR_DEVELOPERS:
            yield _extra(extra, packages)


def _extra(extra: str, packages: list[tuple[str, str]]) -> Finding:
    """Whether the packages of an extra, or of none, are there."""
    name = f"extra {extra}" if extra else "packages"
    versions = {package: _version(package) for package, _ in packages}
    missing = [package for package, version in versions.items() if version is None]
    old = [
        f"{package} {version} (needs {least})"
        for package, least in packages
        if (version := versions[package]) is not None and _numbers(version) < _numbers(least)
    ]
    remedy = f'pip install -U "mycelium-py{f"[{extra}]" if extra else ""}"'
    if old or (missing and not extra):
        return Finding(name, "wrong", f"missing or too old: {', '.join(missing + old)}", remedy)
    if missing:
        return Finding(name, "note", f"not installed: {', '.join(missing)}", remedy)
    return Finding(name, "ok", ", ".join(f"{package} {version}" for package, version in versions.items()))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> list[int]:
    """The release as numbers; what comes after them (rc1, .post2) does not matter here."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


def _limits() -> Iterator[Finding]:
    """What the system grants."""
    from mycelium.bus.ledger import available_memory
    from mycelium.bus.limits import Limits, http_room, room

    uvloop = importlib.util.find_spec("uvloop") is not None
    yield Finding(
        "event loop", "ok", "uvloop" if uvloop else "asyncio's own; uvloop, which is faster, is not installed"
    )
    yield _files(Limits().connections, room(http_room()))
    yield from _backlog()
    memory = available_memory()
    yield Finding("memory", "ok", f"{memory // _MIB} MiB; queues of a bridge may hold half of it (--max-memory)")


def _files(wanted: int, most: int | None) -> Finding:
    from mycelium.bus.limits import files_for

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most is None or most >= wanted:
        return Finding("open files", "ok", f"enough for {wanted} connections")
    need = files_for(wanted)
    may = hard == resource.RLIM_INFINITY or hard >= need
    remedy = f"`ulimit -n {need}` before `mycelium serve`" if may else f"LimitNOFILE={need} in its service"
    text = f"at most {soft}, so a bridge takes {most} connections in place of {wanted}"
    return Finding("open files", "note", text, remedy)


def _backlog() -> Iterator[Finding]:
    from mycelium.bus.limits import Limits

    wanted = Limits().backlog
    try:
        granted = int(_SOMAXCONN.read_text())
    except (OSError, ValueError):
        return  # not Linux, or kept from us: nothing that anybody could do about it
    if granted < wanted:
        text = f"{granted} connections may wait to be accepted; clients that come back all at once are more"
        yield Finding("backlog", "note", text, f"sysctl -w net.core.somaxconn={wanted}")
    else:
        yield Finding("backlog", "ok", f"{granted} connections may wait to be accepted")


def _contracts() -> Finding:
    from mycelium.contractfile import PATH_VARIABLE, find, read_schema
    from mycelium.schema.errors import ContractError, ContractNotFound

    named = f" (from {PATH_VARIABLE})" if os.environ.get(PATH_VARIABLE) else ""
    try:
        path = find()
        schema = read_schema(path)
    except ContractNotFound as error:
        text = f"there is none at {error.searched[0]}{named or ' or above it'}"
        remedy = f"set {PATH_VARIABLE} to a file" if named else "`mycelium init` writes one to begin with"
        return Finding("contracts", "wrong" if named else "note", text, remedy)
    except ContractError as error:
        count = len(error.faults)
        text = f"{path}{named} has {count} fault{'s' if count > 1 else ''}; the first: {error.faults[0]}"
        return Finding("contracts", "wrong", text, "`mycelium schema lint` shows all")
    facts = f"schema {schema.id:#010x} version {schema.version}, {len(schema.messages)} messages"
    return Finding("contracts", "ok", f"{path}{named}: {facts}")


def _variables(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Names only: a value may be a secret."""
    names = sorted(name for name, value in environment.items() if name.startswith("MYCELIUM_") and value)
    if names:
        yield Finding(
            "environment", "note", f"in force: {', '.join(names)}", "`mycelium serve --print-config` says more"
        )
