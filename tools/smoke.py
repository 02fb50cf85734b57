"""What an installation of the package has to do, whichever way it came; for the interpreter that it was made for.

    /somewhere/venv/bin/python tools/smoke.py

Needs nothing of the checkout, and takes some seconds.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata, resources
from pathlib import Path
from typing import Final

import mycelium

_SECONDS: Final = 60
_CONTRACT: Final = """
schema: {id: 7, version: 1}
messages:
  Ping: {tlv_type: 1001, domain: Smoke, fields: {value: {type: String}, numbers: {type: "Vec<u16>", default: []}}}
  Pong: {tlv_type: 1002, domain: Smoke, fields: {value: {type: String}}}
"""


def is_installed() -> None:
    """The package is the installed one, whole, typed, and says the version that its metadata says."""
    home = Path(mycelium.__file__).parent
    assert home.is_relative_to(sys.prefix), f"{home} is no part of {sys.prefix}"
    assert metadata.version("mycelium-py") == mycelium.__version__
    assert resources.files("mycelium").joinpath("py.typed").is_file()
    assert metadata.metadata("mycelium-py")["License-Expression"] == "Apache-2.0"


def loads_and_publishes_over_a_socket() -> None:
    """Classes come out of a contract, and their messages through a bridge."""
    asyncio.run(_through_a_socket())


async def _through_a_socket() -> None:
    contracts = mycelium.load(_CONTRACT)
    ping = contracts.Ping(value="hi", numbers=[1, 2])
    assert contracts.Ping.from_bytes(ping.to_bytes()) == ping
    bus = mycelium.MessageBus(contracts)
    async with (
        bus.serve("tcp://127.0.0.1:0") as bridge,
        mycelium.connect(bridge.urls[0], contracts) as client,
        client.messages(contracts.Ping) as pings,
    ):
        await client.publish(ping, confirm=True)
        assert await pings.next(timeout=_SECONDS) == ping
    await bus.close()


def has_a_command() -> None:
    """`mycelium` is on its place, and its parts find what they need."""
    assert _command("--version") == f"mycelium {mycelium.__version__}\n"
    assert "lost 0" in _command("demo", "--duration", "1s")
    found = {one["name"]: one for one in json.loads(_command("doctor", "-o", "json"))["findings"]}
    assert found["packages"]["state"] == "ok", found


def begins_an_application() -> None:
    """What `mycelium init` writes runs."""
    with tempfile.TemporaryDirectory() as folder:
        _command("init", folder)
        app = [sys.executable, "app.py"]
        ran = subprocess.run(app, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
        assert "ALARM" in ran.stdout, ran.stderr


def _command(*words: str) -> str:
    program = Path(sys.executable).with_name("mycelium")
    ran = subprocess.run([program, *words], capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert ran.returncode == 0, f"mycelium {' '.join(words)}: {ran.stderr}"
    return ran.stdout


CHECKS: Final[tuple[Callable[[], None], ...]] = (
    is_installed,
    loads_and_publishes_over_a_socket,
    has_a_command,
    begins_an_application,
)


def main() -> None:
    """Runs the command."""
    for check in CHECKS:
        check()
    print(f"mycelium {mycelium.__version__} on Python {sys.version.split()[0]}: {len(CHECKS)} checks passed")


if __name__ == "__main__":
    main()
