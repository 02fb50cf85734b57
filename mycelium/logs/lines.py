"""Everything that is ever logged: its event, its level and its words.

An event is what machines go by, and may be told in more than one way. In the words `%(name)s` is a field of the line,
or something that only people are told.
"""

from enum import Enum
from logging import CRITICAL, DEBUG, ERROR, INFO, WARNING
from typing import Final

__all__ = ["EVENTS", "Line"]

_CLIENT: Final = "client %(client)s, session %(conn_id)d: "


class Line(Enum):
    """One way to tell an event.

    Attributes:
        event: Its id.
        level: Of `logging`.
        text: Its words.
    """

    SERVER_STARTING = "server.starting", INFO, "queues may hold up to %(mebibytes)d MiB"
    SERVER_NOTE = "server.starting", INFO, "%(text)s"
    SERVER_READY = "server.ready", INFO, "listening on %(url)s"
    SERVER_DRAINING = (
        "server.draining",
        INFO,
        "stopping: %(count)d connections have up to %(seconds)g s; again to stop at once",
    )
    SERVER_STOPPED = "server.stopped", INFO, "stopped"
    SERVER_CONFIG_ERROR = "server.config_error", CRITICAL, "%(text)s"
    SERVER_CRASHED = "internal.error", CRITICAL, "ends by a fault that nobody has caught"

    CONN_OPENED = "conn.opened", INFO, f"{_CLIENT}connected"
    CONN_HANDSHAKE_FAILED = "conn.handshake_failed", WARNING, f"{_CLIENT}%(reason)s: %(text)s"
    CONN_DIGEST = "conn.handshake_failed", WARNING, f"{_CLIENT}%(text)s"
    CONN_FAILED = "conn.failed", WARNING, f"{_CLIENT}%(reason)s: %(text)s"
    CONN_FAULT = "internal.error", ERROR, "session %(conn_id)d of %(client)s ends by a fault of the bridge"
    CONN_CLOSED = "conn.closed", INFO, f"{_CLIENT}closed: %(reason)s"
    CONN_LEFT = "conn.closed", DEBUG, f"{_CLIENT}closed: %(reason)s"
    CONN_DENIED = "conn.denied", WARNING, f"{_CLIENT}%(reason)s: %(text)s"
    CONN_LIMIT = "conn.limit", WARNING, f"{_CLIENT}%(reason)s: %(text)s"
    CONN_NO_ROOM = "conn.limit", WARNING, "no room for more connections (%(reason)s); those who come wait"
    CONN_FEWER = (
        "conn.limit",
        WARNING,
        (
            "this process may open %(files)d files, so it takes %(room)d connections, not %(wanted)d; raise its limit "
            "(ulimit -n) for more"
        ),
    )
    CONN_NOT_TAKEN = "internal.error", ERROR, "a connection could not be taken"

    BUS_JOINED = "client.connected", INFO, "joined %(url)s"
    BUS_NOT_JOINED = "client.disconnected", WARNING, "not joined to %(url)s: %(reason)s; it is tried again"

    SUB_ADDED = "sub.added", DEBUG, f"{_CLIENT}subscription %(number)d to %(types)s"
    SUB_REMOVED = "sub.removed", DEBUG, f"{_CLIENT}subscription %(number)d ends"
    SUB_REFUSED = "sub.refused", WARNING, f"{_CLIENT}%(reason)s: %(text)s"
    SUB_ENDED = "sub.refused", WARNING, "the subscription of %(subscriber)s has ended: %(error)s"
    SUB_FAILED = "sub.refused", ERROR, "%(subscriber)s could not be subscribed"

    SCHEMA_LOADED = (
        "schema.loaded",
        INFO,
        "%(source)s: schema %(schema_id)#010x version %(schema_version)d, %(count)d messages%(more)s",
    )
    SCHEMA_CHANGE_SEEN = "schema.change_seen", DEBUG, "%(source)s says something else"
    SCHEMA_APPLIED = "schema.reload_applied", INFO, "%(source)s: version %(schema_version)d is in force"
    SCHEMA_UNCHANGED = "schema.reload_unchanged", INFO, "%(source)s: read again, says the same"
    SCHEMA_REFUSED = (
        "schema.reload_refused",
        WARNING,
        "%(source)s is not applied (%(reason)s); version %(schema_version)d goes on%(more)s",
    )
    SCHEMA_NOT_TAKEN = "schema.reload_refused", WARNING, "the new contracts of the bridge are not taken: %(error)s"
    SCHEMA_WOULD_HURT = "schema.reload_refused", WARNING, "would hurt %(client_name)s: %(reason)s"
    SCHEMA_GONE = (
        "schema.unfollowed",
        WARNING,
        "%(source)s is gone; version %(schema_version)d goes on until it is back",
    )
    SCHEMA_UNWATCHED = (
        "schema.unfollowed",
        WARNING,
        "%(source)s cannot be watched (%(error)s); it is looked at every %(backoff_s)g s",
    )
    SCHEMA_UNFOLLOWED = "schema.unfollowed", ERROR, "a contracts file is not followed any more"
    SECURITY_APPLIED = "security.reload_applied", INFO, "%(source)s: what it says is in force"
    SECURITY_UNCHANGED = "security.reload_unchanged", DEBUG, "security settings are read again, and say the same"
    SECURITY_REFUSED = "security.reload_refused", WARNING, "what was in force goes on: %(error)s"
    SECURITY_SLIP = "security.slip", WARNING, "%(source)s: %(text)s"

    STUBS_WRITTEN = "schema.stubs_written", INFO, "%(target)s is written"

    FRAME_INVALID = "frame.invalid", WARNING, f"{_CLIENT}%(reason)s: %(text)s"
    FRAME_UNREADABLE = "frame.invalid", WARNING, "a message of the bridge cannot be read: %(where)s: %(reason)s"
    MESSAGE_UNKNOWN = "message.unknown_type", WARNING, f"{_CLIENT}%(reason)s: %(text)s"
    MESSAGE_INVALID = "message.validation_failed", WARNING, f"{_CLIENT}%(reason)s: %(text)s"

    CONSUMER_SLOW = "consumer.slow", WARNING, f"{_CLIENT}slow_consumer: %(text)s"
    CONSUMER_SLOW_HERE = (
        "consumer.slow",
        WARNING,
        "%(subscriber)s is too slow: %(queue_messages)d messages wait, and %(reason)s acts",
    )
    CONSUMER_LOSES = (
        "consumer.slow",
        WARNING,
        "%(slow)sthe bridge has dropped %(dropped)d messages of %(message_type)s (%(reason)s)",
    )
    CONSUMER_RECOVERED = "consumer.recovered", INFO, "%(subscriber)s keeps up again; %(dropped)d messages were dropped"
    CONSUMER_DISCONNECTED = "consumer.disconnected", WARNING, f"{_CLIENT}slow_consumer: %(text)s"

    PUBLISH_NO_SUBSCRIBERS = "publish.no_subscribers", DEBUG, "nobody has subscribed to %(message_type)s"
    PUBLISH_REJECTED = "publish.rejected", WARNING, f"{_CLIENT}%(reason)s: %(text)s"
    PUBLISH_REFUSED = "publish.rejected", WARNING, "%(text)s"
    PUBLISH_LOST = "publish.rejected", WARNING, "a %(message_type)s of publish_nowait was not published: %(error_type)s"
    PUBLISH_TOO_LARGE = (
        "publish.rejected",
        WARNING,
        "%(dropped)d messages are larger than this bridge takes, and are dropped",
    )
    PUBLISH_INSIDE = (
        "publish.rejected",
        ERROR,
        "what was published from inside a delivery could not be delivered",
    )

    HANDLER_FAILED = "handler.failed", ERROR, "handler %(handler)s failed on %(message_type)s%(where)s"
    HANDLER_FAILED_LATE = "handler.failed", ERROR, "a handler failed after the end of its subscription: %(where)s"
    CALLBACK_FAILED = "handler.failed", ERROR, "%(handler)s failed%(where)s"
    CALLBACK_EXITED = "handler.failed", ERROR, "a callback tried to end its thread"
    HANDLER_SLOW = (
        "handler.slow",
        WARNING,
        (
            "handler %(handler)s held the event loop for %(duration_s).2f s, in which nothing else went on; "
            "give its work to a thread"
        ),
    )

    CLIENT_CONNECTING = "client.connecting", DEBUG, "the client %(client_name)s connects to %(url)s"
    CLIENT_CONNECTED = "client.connected", INFO, "the client %(client_name)s is connected%(again)s"
    CLIENT_DISCONNECTED = (
        "client.disconnected",
        WARNING,
        "the connection of %(client_name)s to the bridge ended: %(reason)s",
    )
    CLIENT_REFUSED = "client.disconnected", WARNING, "%(text)s"
    CLIENT_RECONNECTING = (
        "client.reconnecting",
        INFO,
        "the client %(client_name)s tries again in %(backoff_s).2f s (attempt %(attempt)d): %(reason)s",
    )
    CLIENT_GIVES_UP = "client.closed", ERROR, "the client %(client_name)s gives up: %(reason)s"
    CLIENT_CLOSED = "client.closed", DEBUG, "the client %(client_name)s is closed: %(reason)s"
    CLIENT_UNSENT = (
        "client.closed",
        WARNING,
        "the client %(client_name)s is closed, and %(dropped)d messages were not sent",
    )
    CLIENT_UNPUBLISHED = (
        "client.closed",
        WARNING,
        "closed before %(dropped)d messages of publish_nowait could be sent",
    )
    CLIENT_BUFFER_FULL = "client.buffer_full", WARNING, "the send buffer is full: %(reason)s"

    CLIENT_FAULT = "internal.error", ERROR, "the client %(client_name)s %(problem)s"
    FAULT = "internal.error", ERROR, "%(problem)s"
    STATS = (
        "stats",
        INFO,
        (
            "%(connections)d connections, %(subscribers)d subscriptions, %(queue_messages)d messages queued; in "
            "%(duration_s).1f s %(published)d published, %(delivered)d delivered, %(dropped)d dropped"
        ),
    )
    LINES_LOST = "log.suppressed", WARNING, "%(suppressed)d lines were not written, since nobody read the ones before"

    event: str
    level: int
    text: str

    def __init__(self, event: str, level: int, text: str) -> None:
        self.event = event
        self.level = level
        self.text = text


EVENTS: Final = tuple(dict.fromkeys(one.event for one in Line))
"""Every id, in the order in which they are explained."""
