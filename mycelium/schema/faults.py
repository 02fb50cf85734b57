"""Collects what is wrong with one file, so that all of it is told at once."""

import difflib
from collections.abc import Collection
from typing import Final

from mycelium.schema.errors import ContractError, Fault
from mycelium.schema.model import Location

__all__ = ["MAX_FAULTS", "Faults", "Known", "Wrong", "join", "nearest", "quoted", "refused", "shortened"]

MAX_FAULTS: Final = 1000
"""Reading ends at this many: nobody reads more, and a hostile file would otherwise cost its size in faults."""
_SUGGESTION_BUDGET: Final = 10_000
"""Candidates compared per file: difflib takes some microseconds for each."""
_JSON_WORDS: Final = {None: "null", True: "true", False: "false"}
_MAX_WORD: Final = 64
_MAX_QUOTED: Final = 60


class Wrong(Exception):
    """A reader's way to say why it has no value, and what to do; never leaves the loader."""

    def __init__(self, problem: str, remedy: str, location: Location | None = None) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy
        self.location = location
        """Of the part that is wrong, where that is not the whole value."""

    def again(self) -> "Wrong":
        """The same, to be raised once more with a traceback of its own."""
        return type(self)(self.problem, self.remedy, self.location)


class Known(Wrong):
    """Wrong for a reason that the file's faults hold already: not told a second time."""


def quoted(text: object) -> str:
    """A value out of the file for an error's text: escaped, and cut where it is long."""
    shown = _JSON_WORDS[text] if text is None or isinstance(text, bool) else repr(text)
    return shown if len(shown) <= _MAX_QUOTED else f"{shown[:_MAX_QUOTED]}…"


def nearest(word: str, candidates: Collection[str], likeness: float = 0.6) -> str | None:
    """The candidate that somebody may have meant by the word, at least as like as difflib's ratio says."""
    if len(word) > _MAX_WORD:
        return None
    folded = {candidate.lower(): candidate for candidate in reversed(list(candidates))}
    close = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=likeness)
    return folded[close[0]] if close else None


def join(path: str, key: str) -> str:
    """The path of a key inside a path."""
    return f"{path}.{key}" if path else key


def shortened(word: str) -> str:
    """A key out of the file as a part of a path: printable, and cut where it is long."""
    return word if word.replace("-", "_").isidentifier() and len(word) <= _MAX_WORD else quoted(word)


class Faults:
    """The faults of one file.

    Args:
        file: The file's name as the user gave it.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._faults: list[Fault] = []
        self._budget = _SUGGESTION_BUDGET
        self._spoilt: frozenset[Location] = frozenset()

    def __repr__(self) -> str:
        return f"<Faults of {self.file}: {len(self._faults)}>"

    def add(self, location: Location | None, path: str, problem: str, remedy: str) -> None:
        """Keeps one more fault; without a location it stands at the start of the file.

        Raises:
            ContractError: There are `MAX_FAULTS` now.
        """
        where = location or Location(self.file, 1, 1)
        if where in self._spoilt:
            return
        self._faults.append(Fault(where, path, problem, remedy))
        if len(self._faults) >= MAX_FAULTS:
            self._faults.append(
                Fault(where, "", "reading ends here: too much is wrong", "repair the faults above first")
            )
            self.raise_if_any()

    def spoil(self) -> None:
        """Takes the places of the faults so far for spoilt: what is told about them later only follows from these."""
        self._spoilt = frozenset(fault.location for fault in self._faults)

    def suggest(self, word: str, candidates: Collection[str], otherwise: str) -> str:
        """`did you mean 'optional'?` where one of the candidates is close to the word, else the other text."""
        self._budget -= len(candidates)
        meant = nearest(word, candidates) if self._budget >= 0 else None
        return f"did you mean {meant!r}?" if meant else otherwise

    def in_file_order(self) -> tuple[Fault, ...]:
        """All faults, by line and column."""
        ordered = sorted(self._faults[:MAX_FAULTS], key=lambda fault: (fault.location.line, fault.location.column))
        return (*ordered, *self._faults[MAX_FAULTS:])

    def raise_if_any(self) -> None:
        """Ends the loading of a file that has faults.

        Raises:
            ContractError: With all of them, in file order.
        """
        if self._faults:
            raise ContractError(self.in_file_order())


def refused(name: str, line: int, column: int, problem: str, remedy: str) -> ContractError:
    """The error of a source that cannot be read at all."""
    return ContractError([Fault(Location(name, line, column), "", problem, remedy)])
