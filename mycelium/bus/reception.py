"""What a bridge says beside answers, and where it belongs."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, final

from mycelium.bus.accord import Accord
from mycelium.bus.correspondence import Correspondence
from mycelium.bus.errors import Refused, SchemaMismatch, refusal
from mycelium.bus.eventstream import Events
from mycelium.bus.inbox import Inbox
from mycelium.bus.mismatch import named_messages
from mycelium.bus.outlet import Outlet
from mycelium.bus.tasks import Tasks
from mycelium.bus.worker import guarded
from mycelium.events import AccessRevoked, PublishRefused
from mycelium.logs.lines import Line
from mycelium.logs.log import Log
from mycelium.schema.classes import Message
from mycelium.wire.buffer import Batch
from mycelium.wire.errors import ErrorCode
from mycelium.wire.state import is_fatal

__all__ = ["Reception"]

_log = Log("mycelium.client")


@final
class Reception:
    """Hands on what comes from a bridge.

    Args:
        inbox: The subscriptions.
        outlet: What is published.
        correspondence: Requests that wait for replies.
        accord: The contracts.
        events: Where events are told.
        tasks: Where work that takes longer goes on.
        on_error: The user's function for what was refused where no call can raise it.

    Attributes:
        refused: Messages that the bridge refused and nobody waited for a Receipt of.
    """

    def __init__(
        self,
        inbox: Inbox,
        outlet: Outlet,
        correspondence: Correspondence,
        accord: Accord,
        *,
        events: Events,
        tasks: Tasks,
        on_error: Callable[[Refused], None] | None,
    ) -> None:
        self.refused = 0
        self._denial: Refused | None = None
        """What the last notice was, if it says that something is denied."""
        self._inbox = inbox
        self._outlet = outlet
        self._correspondence = correspondence
        self._accord = accord
        self._events = events
        self._tasks = tasks
        self._on_error = on_error

    def __repr__(self) -> str:
        return f"<Reception, {self.refused} refused>"

    def take_batch(self, batch: Batch) -> None:
        """Messages came."""
        if self._accord.contracts is not None:
            self._inbox.receive(batch, self._accord.contracts.registry)

    def take_notice(self, notice: Message) -> None:
        """A core message came that is no answer; one of a newer bridge is for clients that know more."""
        take, before = self._NOTICES.get(type(notice).__name__), self._denial
        if take is not None:
            take(self, notice)
        if self._denial is before:
            self._denial = None  # it explained what came right behind it, and nothing else

    def refuse_larger(self, number: int) -> None:
        """Messages that waited for this bridge are larger than it takes."""
        if number:
            self.refused += number
            _log(Line.PUBLISH_TOO_LARGE, dropped=number, reason=ErrorCode.LIMIT.reason)
            self._events.tell(PublishRefused(ErrorCode.LIMIT, ErrorCode.LIMIT.reason, None))

    def named(self, refused: Refused) -> Refused:
        """A refusal with the names of the messages that it is about."""
        if not isinstance(refused, SchemaMismatch):
            return refused
        known = () if self._accord.contracts is None else self._accord.contracts.schema.messages
        return SchemaMismatch(refused.code, refused.text, named_messages(refused.text, known))

    # --- inside ---

    def _on_error_notice(self, notice: Any) -> None:
        refused = self.named(refusal(notice.code, notice.message))
        if is_fatal(notice):
            if notice.code == ErrorCode.SLOW_CONSUMER:
                self._inbox.disconnected(refused)
        else:
            if notice.code == ErrorCode.DENIED:
                self._denial = refused
            unconfirmed = self._outlet.receipts
            if notice.sequence is not None and unconfirmed.explain(notice.sequence, notice.message):
                return  # the Receipt that follows is raised by whoever waits for it
            if notice.code == ErrorCode.DENIED and notice.type_id is None:
                self._events.tell(AccessRevoked(notice.message))
            else:
                self.refused += notice.sequence is None
                self._events.tell(PublishRefused(notice.code, refused.name, notice.type_id))
        # What is wrong with a message may show its values, which logs do not.
        told = notice.type_id is None
        about = str(refused) if told else f"the bridge refused ({refused.name}) {self._type(notice.type_id)}"
        line = Line.CLIENT_REFUSED if is_fatal(notice) else Line.PUBLISH_REFUSED
        _log(line, text=about, type_id=notice.type_id, reason=refused.name)
        if self._on_error is not None:
            guarded("on_error of the client", self._on_error, refused)

    def _type(self, type_id: int) -> str:
        """A type, for people."""
        contracts = self._accord.contracts
        entry = None if contracts is None else contracts.registry.by_id.get(type_id)
        return f"type id {type_id}" if entry is None else f"a {entry.message.name}"

    def _on_receipt(self, receipt: Any) -> None:
        unwaited = self._outlet.receipts.settle(receipt)
        if receipt.code is not None:
            self.refused += unwaited

    def _on_lagged(self, notice: Any) -> None:
        if self._accord.contracts is not None:
            self._inbox.lagged(notice, self._accord.contracts.registry)

    def _on_retained(self, notice: Any) -> None:
        self._inbox.retained(notice)

    def _on_flow(self, notice: Any) -> None:
        self._outlet.apply_flow(notice.type_ids, paused=notice.paused)

    def _on_no_responders(self, notice: Any) -> None:
        self._correspondence.refuse(bytes(notice.correlation), self._denial)

    def _on_schema_changed(self, notice: Any) -> None:
        if notice.contracts is not None:
            self._tasks.start(self._accord.go_along(notice.contracts))

    _NOTICES: ClassVar[Mapping[str, Callable[["Reception", Any], None]]] = {
        "Error": _on_error_notice,
        "Receipt": _on_receipt,
        "Lagged": _on_lagged,
        "Retained": _on_retained,
        "Flow": _on_flow,
        "NoResponders": _on_no_responders,
        "SchemaChanged": _on_schema_changed,
    }
