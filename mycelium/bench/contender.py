"""Somebody who carries messages: how its server and its client processes are started, and what they need."""

import importlib.util
import shutil
import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final

from attrs import evolve, field, frozen

from mycelium.bench.process import Process, started
from mycelium.bench.spec import Spec

__all__ = ["LOOPBACK", "Contender", "Server", "free_port"]

LOOPBACK: Final = "127.0.0.1"


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@frozen
class Server:
    """What clients connect to.

    Attributes:
        url: In the contender's own words.
        process: None where clients talk to each other directly.
    """

    url: str
    process: Process | None = None


@frozen
class Contender:
    """One of those that are compared.

    Attributes:
        name: What tables call it.
        command: Starts a client process; its Spec comes behind.
        serve: A server for the time of a block; takes `tcp` or `unix`, which not everybody has.
        share: Of the messages that are sent to Mycelium; less for those that would take all day.
        modules: That have to be importable.
        programs: That have to be on the PATH.
        env: Additions to the environment of client processes.
        way: Which of several ways its roles take.
    """

    name: str
    command: tuple[str, ...]
    serve: Callable[[str], AbstractContextManager[Server]]
    share: float = 1.0
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(factory=dict)
    way: str = ""

    def missing(self) -> str | None:
        """What it lacks here, None if nothing."""
        for module in self.modules:
            if importlib.util.find_spec(module) is None:
                return f"the module {module} cannot be imported; install the `bench` extra"
        for program in self.programs:
            if shutil.which(program) is None:
                return f"{program} is not on the PATH; install it"
        return None

    def start(self, spec: Spec) -> AbstractContextManager[Process]:
        """A client process for the time of a block."""
        told = evolve(spec, way=self.way)
        return started(f"{spec.role} of {self.name}", [*self.command, told.to_json()], env=self.env)
