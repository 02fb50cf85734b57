"""The site's own extension: reference pages from the code, names resolved, and nothing public left undocumented."""

import builtins
import sys
from typing import Any, Final

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

import mycelium
from mycelium_docs.generated import generated

__all__ = ["setup"]

_PUBLIC: Final = {
    "mycelium": mycelium,
    **{f"mycelium.{name}": getattr(mycelium, name) for name in sorted(mycelium._SUBMODULES)},  # noqa: SLF001  theirs too
}
_UNDOCUMENTED: Final = {"__version__"}
_LIBRARY: Final = {"collections.abc": "collections.abc", "os": "os", "pathlib": "pathlib"}
"""Modules of the standard library whose page has an anchor for each name."""
_TYPE_VARIABLES: Final = {"M", "F", "T"}
_SHOWN: Final = {
    "Tracing",
    "Change",
    "Converter",
    "Json",
    "Profile",
    "ReloadPolicy",
    "Starlette",
    "_pytest.fixtures.FixtureRequest",
    "hypothesis.strategies.SearchStrategy",
    "mycelium.bus.clientmeter.Observer",
    "mycelium.bus.observe.collector.BusCollector",
    "mycelium.schema.compat.bump.Bump",
    "mycelium.schema.compat.findings.Witness",
    "mycelium.schema.compat.report.Policy",
    "mycelium.schema.errors.NoLayout",
    "mycelium.schema.kinds.Location",
    "mycelium.wire.errors.ErrorCode",
    "prometheus_client.registry.CollectorRegistry",
}
"""Types in signatures that have no entry of their own."""
_COLON: Final = "\N{MODIFIER LETTER COLON}"
_GIVEN_OUT: Final = {
    "mycelium.Bridge",
    "mycelium.Contracts",
    "mycelium.Delivery",
    "mycelium.Report",
    "mycelium.Schema",
    "mycelium.bus.delivery.Processing",
    "mycelium.bus.eventstream.EventStream",
    "mycelium.bus.stream.Stream",
    "mycelium.bus.subscription.LocalSubscription",
    "mycelium.schema.compat.findings.Finding",
    "mycelium.schema.model.Field",
    "mycelium.schema.model.Message",
    "mycelium.sync.SyncClient",
    "mycelium.sync.SyncDelivery",
    "mycelium.sync.SyncEvents",
    "mycelium.sync.SyncStream",
    "mycelium.sync.SyncSubscription",
    "mycelium.testing.Collected",
    "mycelium.testing.ServedBus",
}
"""Classes whose objects a user gets, and never makes."""
_INTERNAL: Final = {
    "mycelium.Bridge": ("core", "exchange", "pressure", "flushes", "reloader", "dialect", "joins"),
    "mycelium.Contracts": ("registry", "texts"),
    "mycelium.MessageBus": ("exchange",),
}
"""Attributes that docstrings name for whoever works on the package."""
_log: Final = getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("source-read", _read)
    app.connect("doctree-read", _drop_comments)
    app.connect("missing-reference", _resolve)
    app.connect("autodoc-process-docstring", _hide_colons, priority=400)  # napoleon comes at 500
    app.connect("autodoc-process-docstring", _show_colons, priority=600)
    app.connect("autodoc-process-docstring", _mark_code)
    app.connect("autodoc-process-docstring", _drop_internal, priority=600)
    app.connect("autodoc-process-signature", _hide_constructor)
    app.connect("env-check-consistency", _check_public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _read(_: Sphinx, __: str, source: list[str]) -> None:
    source[0] = generated(source[0])


def _drop_comments(_: Sphinx, document: nodes.document) -> None:
    """Comments are for tests."""
    for each in [*document.findall(nodes.comment), *document.findall(nodes.raw)]:
        if isinstance(each, nodes.comment) or each.astext().startswith("<!--"):
            each.parent.remove(each)


def _hide_colons(_: Sphinx, what: str, __: str, ___: Any, ____: Any, lines: list[str]) -> None:
    """An attribute's text may have a colon: napoleon would take what stands before it for a type."""
    if what in {"attribute", "data", "property"}:
        lines[:] = [line.replace(":", _COLON) for line in lines]


def _show_colons(_: Sphinx, __: str, ___: str, ____: Any, _____: Any, lines: list[str]) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _mark_code(_: Sphinx, __: str, ___: str, ____: Any, _____: Any, lines: list[str]) -> None:
    """A line that ends with a colon, an empty one and an indented one: what follows is code."""
    for number, (line, empty, code) in enumerate(zip(lines, lines[1:], lines[2:], strict=False)):
        if line.endswith(":") and not line.startswith(":") and not empty and code.startswith(_indent(line) + "    "):
            lines[number] = line + ":"


def _drop_internal(_: Sphinx, __: str, name: str, ___: Any, ____: Any, lines: list[str]) -> None:
    """Attributes that are for the package itself: napoleon has made a paragraph of each."""
    for hidden in _INTERNAL.get(name, ()):
        if (head := f".. attribute:: {hidden}") not in lines:
            continue
        start = lines.index(head)
        end = next((n for n in range(start + 1, len(lines)) if lines[n] and not lines[n].startswith(" ")), len(lines))
        del lines[start:end]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _hide_constructor(_: Sphinx, what: str, name: str, *__: Any) -> tuple[str, None] | None:
    """What nobody but the package makes has no arguments to show."""
    return ("", None) if what == "class" and name in _GIVEN_OUT else None


def _resolve(app: Sphinx, _: Any, node: Any, content: nodes.Node) -> nodes.Node | None:
    """Short names in docstrings are the package's; the standard library has its own site."""
    if node.get("refdomain") != "py":
        return None
    target: str = node["reftarget"]
    domain = app.env.domains.python_domain
    for module in _PUBLIC:
        found = domain.resolve_xref(app.env, node["refdoc"], app.builder, "obj", f"{module}.{target}", node, content)
        if found is not None:
            return found
    module, _, name = target.rpartition(".")
    if module in _LIBRARY:
        url = f"https://docs.python.org/3/library/{_LIBRARY[module]}.html#{target}"
        return nodes.reference("", "", content, internal=False, refuri=url)
    return content if target in _SHOWN or name in _TYPE_VARIABLES or _is_library(target) else None


def _is_library(target: str) -> bool:
    return hasattr(builtins, target) or target.partition(".")[0] in sys.stdlib_module_names


def _check_public(_: Sphinx, env: Any) -> None:
    """Whoever adds a public name has to say what it is."""
    described = set(env.domains.python_domain.objects)
    for name, module in _PUBLIC.items():
        missing = {each for each in module.__all__ if f"{name}.{each}" not in described} - _UNDOCUMENTED
        if missing:
            _log.warning("public names of %s that no page describes: %s", name, ", ".join(sorted(missing)))
