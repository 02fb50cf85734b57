"""The house rules that a machine can hold: directions of imports, sizes of modules and functions, late imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mycelium"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_MODULE = 400
LONGEST_FUNCTION = 50
LONGER = {
    "bus/session.py": (430, "one client's state machine from first byte to last, with an answer to every core message"),
    "bus/bridge.py": (420, "all that happens to listeners and sessions together, from start to close"),
    "bus/exchange.py": (420, "both ways of a message, of this process and of socket clients, in one place to compare"),
    "bus/subscription.py": (410, "every way in which one subscription gives out what waits for it"),
    "bus/outbox.py": (410, "the same of a queue at the bridge"),
    "bus/outlet.py": (410, "every way out of a client, waiting and not, with what they share"),
    "bus/client.py": (550, "every public call of the client with all that its docstring has to say"),
    "bus/bus.py": (460, "the same of the bus"),
    "bus/sync.py": (445, "the same of the synchronous client"),
}

FLOORS = {"schema": 0, "wire": 1, "bus": 2, "bench": 3, "cli": 4}
JOINING = {
    "contracts": 1,
    "handle": 1,
    "lenient": 1,
    "contractfile": 1,
    "compat": 1,
    "proof": 1,
    "examples": 1,
    "logs": 1,
    "asgi": 2,
    "observe": 2,
    "sync": 2,
    "tracing": 2,
    "testing": 4,
    "__main__": 4,
    "__init__": 4,
}
"""Modules of the package itself, on the floor that they may import from."""
NEVER = {
    "schema": {"struct", "asyncio", "socket", "rich"},
    "wire": {"asyncio", "socket", "yaml", "pathlib", "time", "rich"},
    "bus": {"rich", "argparse"},
}
UPWARD = {("handle.py", "mycelium.bus.reload")}
"""`contracts.watch()` is where users look for it; imported late."""
YAML_ONLY = "schema/source.py"


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module


def floor_of(module):
    parts = module.split(".")
    if parts[0] != "mycelium" or len(parts) == 1:
        return None
    return FLOORS.get(parts[1], JOINING.get(parts[1]))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_from_cli_to_schema_only(path):
    name = name_of(path)
    first = name.split("/")[0].removesuffix(".py")
    floor = FLOORS.get(first, JOINING.get(first, 0))
    for module in imports(ast.parse(path.read_text())):
        reached = floor_of(module)
        assert reached is None or reached <= floor or (name, module) in UPWARD, f"{name} imports {module}"
        joining = module.partition(".")[2] in JOINING
        assert not joining or first not in ("schema", "wire"), f"{name} imports {module}"
        top = module.split(".")[0]
        assert top not in NEVER.get(first, ()), f"{name} imports {module}"
        assert top != "yaml" or name == YAML_ONLY, f"{name} imports yaml"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_are_short(path):
    text = path.read_text()
    assert text.count("\n") <= LONGER.get(name_of(path), (LONGEST_MODULE,))[0]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            assert body[-1].end_lineno - body[0].lineno < LONGEST_FUNCTION, f"{name_of(path)}: {node.name}"


def test_a_command_that_prints_its_version_imports_no_dependency():
    code = (
        "import sys\n"
        "from mycelium.cli.main import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "heavy = ('attrs', 'attr', 'cattrs', 'yaml', 'rich', 'asyncio', 'watchfiles')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
