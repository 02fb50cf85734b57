"""What `mycelium serve` says: lines of the log, and with the console format the details that only people want."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Final, Literal, final

from attrs import define

from mycelium.cli.failures import meaning
from mycelium.errors import MyceliumError
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.logs.setup import configured

__all__ = ["ServerLog"]

_log: Final = Log("mycelium.server")
_CHATTY: Final = ("asyncio", "watchfiles")
"""Loggers that tell what nobody asked for; the second one would even tell of the log's own file."""
_FAILED: Final = 4
"""The exit code where the system has refused something."""


@define
class _Ended:
    """How the command ends."""

    code: int = 0


@final
class ServerLog:
    """Of one bridge process. Everything goes through one writer, so that it stays in order and nobody waits for it.

    Args:
        form: `console` or `json`.
        level: The least that is logged.
        service: What the process is called.
    """

    def __init__(self, form: Literal["console", "json"], level: str, service: str) -> None:
        self._is_json = form == "json"
        self._configured = configured(form, level, service=service)
        self._writer = self._configured.__enter__()
        for chatty in _CHATTY:
            logging.getLogger(chatty).setLevel(logging.WARNING)
        logging.captureWarnings(capture=self._is_json)  # with JSON all of standard error is that

    def __repr__(self) -> str:
        return f"<ServerLog to {self._writer!r}>"

    def say(self, line: Line, /, **values: Any) -> None:
        """Log a line."""
        _log(line, **values)

    def note(self, text: str) -> None:
        """Log what is worth knowing at the start."""
        _log(Line.SERVER_NOTE, text=text)

    def detail(self, text: str) -> None:
        """Show people more of what the last line says; machines have it in that line's fields."""
        if not self._is_json:
            self._writer.put(text)

    @property
    def has_details(self) -> bool:
        """Whether anybody sees them."""
        return not self._is_json

    @contextlib.contextmanager
    def telling_failures(self) -> Iterator[_Ended]:
        """With the JSON format, log what ends the block; with the other one it goes on, and is told as usual.

        The end of the block waits a moment for somebody to read the last lines.
        """
        ended = _Ended()
        try:
            yield ended
        except (MyceliumError, OSError) as error:
            if not self._is_json:
                raise
            ended.code = _tell_failure(error)
        except Exception as error:
            if not self._is_json:
                raise
            _log(Line.SERVER_CRASHED, caused_by=error)
            ended.code = 1
        finally:
            self._configured.__exit__(None, None, None)
            for chatty in _CHATTY:
                logging.getLogger(chatty).setLevel(logging.NOTSET)
            logging.captureWarnings(capture=False)


def _tell_failure(error: MyceliumError | OSError) -> int:
    """Log why the bridge does not serve; the exit code."""
    if isinstance(error, MyceliumError):
        code, (what, why, remedy) = meaning(error)
    else:
        code, what, why, remedy = _FAILED, str(error.filename or "input or output failed"), str(error.strerror), ""
    _log(Line.SERVER_CONFIG_ERROR, text=what, reason=why, hint=remedy, error_type=type(error).__qualname__)
    return code
