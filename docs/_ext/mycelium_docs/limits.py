"""Every limit, with its value from the code."""

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any, Final

import attrs

from mycelium.bus.limits import Limits
from mycelium.cli.serve_settings import LIMITS
from mycelium_docs.markdown import table

__all__ = ["of_a_bridge", "others"]

_OPTIONS: Final = {attribute: f"--{name}" for name, (attribute, *_) in LIMITS.items()}
"""Options of `mycelium serve`."""

_CLIENT: Final = "`MyceliumClient({})`"
_OTHERS: Final = (
    ("subscriptions", "messages that may wait", "mycelium.bus.options.DEFAULT_QUEUE", "", "`queue=`"),
    ("", "their bytes, at a bridge", "mycelium.bus.outbox.DEFAULT_QUEUE_BYTES", "B", ""),
    ("", "messages that a bridge sends ahead", "mycelium.bus.options.DEFAULT_WINDOW", "", "`window=`"),
    ("", "characters of a group's name", "mycelium.bus.options.MOST_GROUP", "", ""),
    ("client", "bytes that wait to be sent", "mycelium.bus.sendbuffer.BUFFER_BYTES", "B", _CLIENT.format("buffer=")),
    ("", "messages that wait to be sent", "mycelium.bus.sendbuffer._MOST_MESSAGES", "", ""),
    ("", "how long they wait for a connection", "mycelium.bus.sendbuffer._LIVE_SECONDS", "s", ""),
    ("", "first pause before another attempt to connect, at most", "mycelium.bus.backoff._FIRST_SECONDS", "s", ""),
    ("", "longest pause", "mycelium.bus.backoff._MOST_SECONDS", "s", ""),
    (
        "",
        "how long a receipt is waited for",
        "mycelium.bus.client._CONFIRM_SECONDS",
        "s",
        _CLIENT.format("confirm_timeout="),
    ),
    ("", "bytes that a publisher sends without a word of the bridge", "mycelium.bus.pongwindow.WINDOW_BYTES", "B", ""),
    ("bridge", "last values that are kept", "mycelium.bus.retained._MOST_KEYS", "", ""),
    ("", "their bytes", "mycelium.bus.retained._MOST_BYTES", "B", ""),
    ("", "requests of a connection that wait for replies", "mycelium.bus.asks._MOST", "", ""),
    ("", "queries of a connection that wait for their turn", "mycelium.bus.questions.MOST_WAITING", "", ""),
    ("", "clients whose contracts wait to be read", "mycelium.bus.waitingroom.MOST_WAITING", "", ""),
    ("", "bytes of these contracts", "mycelium.bus.waitingroom.MOST_BYTES", "B", ""),
    ("frames", "largest payload that can be asked for", "mycelium.wire.frames.HARD_MAX_PAYLOAD", "B", ""),
    ("", "frame before the handshake is done", "mycelium.wire.frames.HANDSHAKE_MAX_FRAME", "B", ""),
    ("", "the same with a contracts document", "mycelium.wire.frames.CONTRACTS_MAX_FRAME", "B", ""),
    ("", "messages inside each other", "mycelium.schema.model.MAX_NESTING", "", ""),
    ("reload", "pause between looks at contracts and security files", "mycelium.bus.filewatch._POLL_SECONDS", "s", ""),
    ("", "how long they have to be quiet", "mycelium.bus.filewatch._SETTLE_SECONDS", "s", ""),
    ("closing", "`close` of a bus or client", "mycelium.bus.bus._CLOSE_SECONDS", "s", ""),
    ("", "`drain`, if nothing else is said", "mycelium.bus.bus._DRAIN_SECONDS", "s", "`drain(timeout=)`"),
)
"""Of what, what, where the value stands, its unit, and how it is changed; nothing: it is not."""


def of_a_bridge() -> str:
    """The attributes of `Limits`."""
    return table(["limit", "what", "default", "`mycelium serve`"], _attributes())


def others() -> str:
    """What is not in `Limits`."""
    rows = ((of, what, _shown(_value(name), unit), how) for of, what, name, unit, how in _OTHERS)
    return table(["", "what", "default", "changed with"], rows)


def _attributes() -> Iterator[tuple[str, str, str, str]]:
    described = dict(re.findall(r"^ {4}(\w+): (.+?)$", inspect.cleandoc(Limits.__doc__ or ""), re.MULTILINE))
    for one in attrs.fields(Limits):
        unit = "B" if "bytes" in one.name or one.name == "max_payload" else "s" if "seconds" in one.name else ""
        yield f"`{one.name}`", described[one.name], _shown(one.default, unit), f"`{_OPTIONS[one.name]}`"


def _value(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _shown(value: Any, unit: str) -> str:
    if unit == "B":
        mib, rest = divmod(value, 1024 * 1024)
        return f"{mib} MiB" if mib and not rest else f"{value // 1024} KiB"
    if unit == "s":
        return f"{value * 1000:g} ms" if value < 1 else f"{value:g} s"
    return f"{value:,}"
