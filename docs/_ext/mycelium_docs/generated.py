"""What is made from the code when the site is built: `<!-- generated: NAME -->` in a page stands for it."""

import re
from collections.abc import Callable
from typing import Final

from mycelium_docs import command_line, compat_rules, errors, language_tables, limits, wire_tables

__all__ = ["GENERATED", "GENERATORS", "generated"]

GENERATORS: Final[dict[str, Callable[[], str]]] = {
    "command-line": command_line.commands,
    "compat-rules": compat_rules.rules,
    "compat-summary": compat_rules.summary,
    "core-frames": wire_tables.frames,
    "core-messages": wire_tables.messages,
    "drop-reasons": wire_tables.reasons,
    "error-codes": errors.codes,
    "error-tree": errors.tree,
    "lag-policies": wire_tables.lag_policies,
    "limits": limits.of_a_bridge,
    "lint-rules": language_tables.lint_rules,
    "metadata": wire_tables.metadata,
    "more-limits": limits.others,
    "value-rules": language_tables.value_rules,
}
GENERATED: Final = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)


def generated(text: str) -> str:
    """A page with what is generated in its places."""
    return GENERATED.sub(lambda found: GENERATORS[found[1]](), text)
