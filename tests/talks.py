"""A session of the bridge without a socket, and what a client at its other end hears."""

import mycelium
from mycelium.bus.limits import Limits
from mycelium.bus.session import Session
from mycelium.wire.connection import Connection
from mycelium.wire.state import Role
from peers import CORE


class Talk:
    """A session, and what a client at its other end hears."""

    def __init__(self, contracts, **limits):
        self.bus = mycelium.MessageBus(contracts)
        self.bridge = self.bus.serve("tcp://127.0.0.1:0", limits=Limits(**limits))
        self.now = 0.0
        self.notified = 0
        self.session = self.another()
        self.client = Connection(Role.CLIENT, CORE)

    def another(self):
        number = self.bus.next_session()
        session = self.bus.exchange.sessions[number] = Session(number, self.bridge, self._notify, self.now)
        return session

    def _notify(self):
        self.notified += 1

    def say(self, *messages):
        """Bytes as they are, or core messages."""
        for each in messages:
            self.session.receive_data(each if isinstance(each, bytes) else self.client.send(each), self.now)

    def hear(self):
        """Everything that the session has to say now."""
        heard = []
        while data := self.session.take_output(self.now):
            self.client.receive_data(data)
            while (event := self.client.next_event()) is not None:
                heard.append(event)
        return heard

    def tick(self, now):
        self.now = now
        self.session.tick(now)

    def open(self, **hello):
        self.say(CORE.Hello(**{"protocol": 1, "client": "c"} | hello))
        (welcome,) = self.hear()
        return welcome


def names(events):
    return [type(event).__name__ for event in events]
