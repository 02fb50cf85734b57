"""Functions written as text and compiled in memory: the names they see, and the shape that all of them have.

Each returns only if all is as it should be; anything else, an exception included, ends in a call of its fallback.

The names of a contract occur behind a dot and in quotes only, all other names are made here or are those of a source
that Mycelium itself has put round a check, and the numbers are tags, sizes and offsets: nothing of a contract is
executed. No source is kept: in a traceback the functions are in `<mycelium codec Name>`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from mycelium.wire.bulk import SURPRISES

__all__ = ["Function", "Scope", "Writer", "all_of"]

Function = Callable[..., Any]
_BUILTINS: Final = {one.__name__: one for one in (bool, bytes, float, int, len, list, str)}
"""What the functions use most: as names of their own these are found a little sooner."""


def all_of(*tests: str) -> str:
    """The conjunction of tests; empty ones hold, and so does the empty conjunction."""
    return " and ".join(filter(None, tests))


class Scope:
    """The names that generated functions see. The names of a contract are never among them.

    A function whose message is inside no other has no parameter `depth`, and sees this one; `metadata` likewise.
    """

    def __init__(self) -> None:
        self.names: dict[str, Any] = {**_BUILTINS, "__surprises__": SURPRISES, "depth": 1, "metadata": None}
        self._known: dict[tuple[str, int], str] = {}

    def add(self, kind: str, value: Any) -> str:
        """A name for a value that starts with `kind`."""
        key = kind, id(value)  # `names` keeps the value alive, so nothing else gets its id
        if key not in self._known:
            self._known[key] = f"__{kind}_{len(self.names)}__"
            self.names[self._known[key]] = value
        return self._known[key]

    def compile(self, source: str, name: str, owner: str) -> Function:
        """The function of that name in a source text; `owner` is the message that it works on."""
        exec(compile(source, f"<mycelium codec {owner}>", "exec"), self.names)  # noqa: S102
        function: Function = self.names.pop(name)
        function.__qualname__ = f"{owner}.{name}"
        return function


class Writer:
    """The body of one function, line by line.

    Args:
        signature: Its name and parameters.
        fallback: Takes the same arguments, and does what the function gives up on; or a statement in its place.
        scope: The names that it sees.

    Attributes:
        scope: See above.
        give_up: The statement that leaves everything to the general walk.
        lines: The statements.
    """

    def __init__(self, signature: str, fallback: Function | str, scope: Scope) -> None:
        name, _, parameters = signature.partition("(")
        self._name = name
        self._signature = signature
        self.scope = scope
        if isinstance(fallback, str):
            self.give_up = fallback
        else:
            arguments = ", ".join(one.partition("=")[0] for one in parameters.rstrip(")").split(", "))
            self.give_up = f"return {scope.add('fallback', fallback)}({arguments})"
        self.lines: list[str] = []
        self._indent = ""

    def add(self, *lines: str) -> None:
        """Adds statements."""
        self.lines += (f"{self._indent}{line}" for line in lines)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Everything that is added meanwhile is the body of the statement that `head` begins."""
        self.add(head)
        self._indent += "    "
        yield
        self._indent = self._indent[4:]

    def require(self, *tests: str, indent: int = 0) -> None:
        """Adds a statement that goes on only if all the tests hold; an empty one does."""
        if any(tests):
            self.add(f"{'    ' * indent}if not ({all_of(*tests)}): {self.give_up}")

    def compile(self, owner: str) -> Function:
        """The function; `owner` is the message that it works on."""
        body, self.lines = self.lines, []
        with self.block("try:"):
            self.add(*body)
        self.add("except __surprises__:", "    pass", self.give_up)
        return self.compile_as_it_is(owner)

    def compile_as_it_is(self, owner: str) -> Function:
        """The same of one that says itself what becomes of a surprise."""
        lines = [f"def {self._signature}:", *(f"    {line}" for line in self.lines)]
        return self.scope.compile("\n".join(lines), self._name, owner)
