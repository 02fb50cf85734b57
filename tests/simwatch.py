"""What the processes of a simulated world publish, and what they should get."""

import asyncio
import contextlib
import inspect
import itertools
from collections import Counter, defaultdict
from functools import partial

import attrs
from simschema import ASK, KEYED, POLICY, SLOTS

from mycelium.bus.errors import (
    BackpressureTimeout,
    BufferFull,
    ClosedError,
    ConfirmTimeout,
    ConnectError,
    ConnectionLost,
    DrainTimeout,
    NoResponders,
    NoSubscribers,
    QueueFull,
    Refused,
    WouldDeadlock,
)
from mycelium.bus.lag import REPORTED
from mycelium.bus.receipt import Receipt

__all__ = ["ANSWERING", "EXPECTED", "HANDLERS", "PROMPT", "Mischief", "Publisher", "Sent", "Watched"]

EXPECTED = (
    BackpressureTimeout,
    BufferFull,
    ClosedError,
    ConfirmTimeout,
    ConnectError,
    ConnectionLost,
    DrainTimeout,
    NoResponders,
    NoSubscribers,
    QueueFull,
    Refused,
    TimeoutError,
    WouldDeadlock,
)
"""What a call may raise in a world with faults."""
HANDLERS = ("sync", "raising", "quick", "failing", "slow", "stuck", "echoing", "bouncing")
"""Ways of taking messages; the last two publish a Tock for each Tick."""
ANSWERING = ("answering", "answering", "dawdling", "mute")
"""Ways of taking requests."""
PROMPT = {"sync", "raising", "quick", "bouncing", "iterator", "answering", "mute"}
"""Those that never keep a message waiting."""
BLOCK_SECONDS, CONFIRM_SECONDS = 5.0, 10.0
_EPSILON = 0.01


class Mischief(Exception):
    """What handlers raise on purpose."""


@attrs.define(eq=False)
class Sent:
    """A message that somebody published.

    Attributes:
        accepted: None while the call goes on, "maybe" where the caller cannot know.
        epoch: Of its publisher, which connection it went through; None where that is not clear.
        waited: Whether it was to wait for that connection.
        receipt: What the publisher was told.
    """

    type_name: str
    slot: int
    moment: int
    actor: object
    epoch: int | None
    waited: bool
    accepted: object = None
    receipt: Receipt | None = None


class Publisher:
    """A row of numbered messages; one publish at a time."""

    def __init__(self, actor):
        self.actor = actor
        self.number = next(actor.world.numbers)
        self.turn = asyncio.Lock()
        self._sequence = itertools.count(1)

    async def publish(self, type_name, slot, filler, how):
        """Publish `plain`, `nowait`, `confirm` or `mandatory`, and judge what comes of it."""
        loop, api = self.actor.world.loop, self.actor.api
        sent, message = self._make(type_name, slot, filler)
        began = loop.time()
        try:
            if how == "nowait":
                api.publish_nowait(message)
            elif how == "plain":
                await api.publish(message)
            else:
                sent.receipt = await api.publish(message, confirm=how == "confirm", mandatory=how == "mandatory")
        except BaseException as error:
            sent.accepted = self._outcome(error, how)
            if isinstance(error, NoSubscribers):
                sent.receipt = Receipt(0, 0, 0, 0)
                self._sent(sent)
            self._look_at_time(error, how, loop.time() - began)
            raise
        sent.accepted = True
        self._look_at_time(None, how, loop.time() - began)
        self._look_at_receipt(sent, how)
        self._sent(sent)

    async def request(self, timeout):
        """Ask, and judge the answer."""
        world, actor = self.actor.world, self.actor
        sent, message = self._make(ASK, 0, "")
        sent.accepted = "maybe"
        began = world.loop.time()
        try:
            answer = await actor.api.request(message, actor.contracts.Answer, timeout=timeout)
        except NoResponders:
            sent.receipt, sent.accepted = Receipt(0, 0, 0, 0), True
            self._sent(sent)
            raise
        finally:
            took = world.loop.time() - began
            if actor.alive and took > timeout + _EPSILON:
                world.violate(f"a request of {actor} took {took:.2f} s, and its timeout is {timeout} s")
        sent.accepted = True
        self._sent(sent)
        if (answer.publisher, answer.sequence) != (message.publisher, message.sequence):
            world.violate(f"{actor} asked {message.publisher}:{message.sequence} and got the answer {answer}")
        if not actor.is_server and (home := actor.home_of(sent)) is not None:
            home.answered += 1

    def _make(self, type_name, slot, filler):
        world, actor = self.actor.world, self.actor
        key = self.number, next(self._sequence)
        epoch, waited = actor.way_out()
        sent = Sent(type_name, slot, world.moment(), actor, epoch, waited)
        world.sent[key] = world.recent[key] = sent
        made = actor.contracts[type_name](publisher=key[0], sequence=key[1], slot=slot, filler=filler)
        return sent, made

    def _sent(self, sent):
        if (sent.epoch, sent.waited) != self.actor.way_out():
            sent.epoch = None
        self.actor.world.last_publish = self.actor.world.loop.time()

    def _outcome(self, error, how):
        """What became of a message whose publish has failed: False where nobody may get it."""
        if not isinstance(error, EXPECTED):
            return "maybe"
        if isinstance(error, NoSubscribers):
            return True
        if self.actor.is_server:  # others have it
            return "maybe" if isinstance(error, QueueFull | BackpressureTimeout) else False
        return "maybe" if how in ("confirm", "mandatory") and not isinstance(error, BufferFull) else False

    def _look_at_time(self, error, how, took):
        if not self.actor.alive:
            return
        most = {"nowait": 0.0, "plain": BLOCK_SECONDS}.get(how, BLOCK_SECONDS)
        if how in ("confirm", "mandatory") and not self.actor.is_server:
            most += CONFIRM_SECONDS
        if took > most + _EPSILON:
            self.actor.world.violate(f"a publish of {self.actor} ({how}) took {took:.2f} s: {error!r}")
        least = {BackpressureTimeout: BLOCK_SECONDS, ConfirmTimeout: CONFIRM_SECONDS}.get(type(error), 0.0)
        if took < least - _EPSILON:
            self.actor.world.violate(f"a publish of {self.actor} ({how}) raised {error!r} after {took:.2f} s")

    def _look_at_receipt(self, sent, how):
        receipt = sent.receipt
        if how not in ("confirm", "mandatory"):
            return
        if not isinstance(receipt, Receipt) or receipt.matched != receipt.enqueued + receipt.dropped:
            self.actor.world.violate(f"{self.actor} got {receipt}")
        elif how == "mandatory" and not receipt.matched:
            self.actor.world.violate(f"{self.actor} got {receipt} although somebody must have subscribed")


class Watched:
    """A subscription, what it got, and what it should have got.

    Attributes:
        subscription: With the counters; None until it is confirmed.
        since: The moment when it was confirmed.
        left: Whether nothing more is promised to it.
        ended: Whether nothing may come any more.
        missing: What it should have got and has not.
        gaps: What it was told of, by reason.
        epoch: Of its actor when it was confirmed.
        joins: Of its actor then.
    """

    def __init__(self, actor, kind, types=None):
        self.actor, self.kind, self.types = actor, kind, types or actor.types
        self.name = f"{actor.name}.{next(actor.numbers)} ({kind})"
        self.options = actor.options(kind)
        self.subscription = None
        self.since = self.epoch = self.joins = None
        self.early = 0
        self.left = self.ended = False
        self.missing = set()
        self.slack = self.total = self.forgiven = 0
        self.gaps = Counter()
        self.publisher = Publisher(actor)
        self._got = set()
        self._last = defaultdict(int)
        self._count = 0
        self._lanes = []

    def __repr__(self):
        return self.name

    @property
    def group(self):
        return self.options["group"]

    @property
    def live(self):
        """Whether something is promised to it."""
        return self.since is not None and not self.left

    def policy(self, type_name):
        return self.options["on_lag"] or POLICY.get(type_name, "drop_oldest")

    def confirmed(self, subscription):
        self.subscription = subscription
        self.since = self.actor.world.moment()
        self.epoch = self.actor.next_epoch()
        self.joins = self.actor.joins
        self.gaps["reconnect"] = 0  # nobody has promised anything before
        self.early = len(subscription._gaps.ahead)  # but what had to be told then may be told later
        self.slack = self.actor.held()
        self.total = self.seen()

    def rejoined(self):
        """Its actor has another connection: what was missed before is not counted any more."""
        if self.since is not None:
            self.missing.clear()
            self.forgiven = sum(self.subscription.stats().dropped.values())
            self.slack = self.actor.held()
            self.total = self.seen()

    def seen(self):
        """Messages that have been matched, here or still at the bridge."""
        return self.subscription.stats().matched + self.actor.queued_for(self.types)

    @property
    def is_quiet(self):
        """Whether it has nothing to say any more."""
        return self.subscription is None or not self.live or self.subscription._gaps._timer is None

    def excused(self):
        """How many messages may be missing: dropped and counted, or still waiting."""
        stats = self.subscription.stats()
        return sum(stats.dropped.values()) - self.forgiven + stats.queued + self.actor.queued_for(self.types)

    def problem(self):
        """What must not be so at any moment; None if all is well."""
        if self.subscription is None or not self.actor.alive:
            return None
        stats = self.subscription.stats()
        if not stats.balanced:
            return f"the law does not hold for {self}: {stats}"
        if self.actor.held_by(self) > self.actor.most_held(self):
            return f"{self} holds more than it may, {self.actor.most_held(self)}: {stats}"
        if self.subscription.closed and not self.left:
            if "disconnect" in {self.policy(one) for one in self.types}:
                self.left, self.ended = True, self.kind != "iterator"
            elif not self.actor.closing:
                return f"{self} has ended, and nobody has asked for it"
        return None

    def untold(self):
        """What was dropped and no Gap has said; None if nothing."""
        dropped = self.subscription.stats().dropped
        wrong = {
            one: (dropped.get(one, 0), self.gaps[one]) for one in REPORTED if dropped.get(one, 0) != self.gaps[one]
        }
        return wrong or None

    def on_gap(self, gap):
        self.actor.world.note(f"{self.name} is told of {gap.count} {gap.reason}")
        self.gaps[gap.reason] += 1 if gap.count is None else gap.count

    # --- messages ---

    def take(self, message, delivery=None):
        """A message has come."""
        world, key = self.actor.world, (message.publisher, message.sequence)
        if not self.actor.alive:
            return
        retained = delivery is not None and delivery.retained
        world.note(f"{self.name} gets {key[0]}:{key[1]}{' again' if retained else ''}")
        problem = self._problem_with(key, type(message).__name__, retained=retained)
        if problem is not None:
            world.violate(f"{self.name} got {key} {problem}")
        self._got.add(key)
        self.missing.discard(key)

    def has(self, key):
        return key in self._got

    def _problem_with(self, key, type_name, *, retained):
        world = self.actor.world
        sent = world.sent.get(key)
        if sent is None or sent.accepted is False or sent.type_name != type_name:
            return f"as {type_name}, which nobody published: {sent}"
        if self.ended or type_name not in self.types:
            return "after its end, or did not ask for it"
        if (
            self.options["no_echo"]
            and sent.actor is self.actor
            and not retained
            and sent.epoch == self.actor.epoch_now()
        ):
            return "from itself, and has asked for no echo"
        if retained and (type_name != KEYED or (key in self._got and not self.actor.may_remember())):
            return "as a last value, which it is not"
        if key in self._got and not retained:
            return "twice"
        if self.group is not None and not retained:
            other = world.taken.setdefault((self.group, key), self)
            if other is not self:
                return f"as {other} did, of the same group"
        by_key = key[0], type_name, sent.slot
        lane = by_key if retained else self._lane(key[0], type_name, sent.slot)
        if lane is not None and key[1] < self._last[lane] and not sent.actor.is_past(sent.epoch):
            return f"after {self._last[lane]}"
        for one in (lane, by_key):
            self._last[one] = max(self._last[one], key[1])
        return None

    def _lane(self, publisher, type_name, slot):
        """Messages that come in order; None for those that need not."""
        by_key = publisher, type_name, slot if type_name == KEYED else 0
        if self.options["concurrency"] > 1:
            return by_key if type_name == KEYED else None
        return by_key if self.policy(type_name) == "latest" else (publisher,)

    # --- handlers ---

    def handler(self):
        """A function that takes messages in its own way, and a Delivery where it needs one."""
        method = getattr(self, f"_{self.kind}")
        is_curious = KEYED in self.types or ASK in self.types or next(self.actor.numbers) % 2

        async def at_work(message, delivery=None):
            with self._beside_others(message):
                await method(message, delivery)

        if inspect.iscoroutinefunction(method):
            return partial(_curiously, at_work) if is_curious else at_work
        return partial(_curious, method) if is_curious else method

    @contextlib.contextmanager
    def _beside_others(self, message):
        """Look whether others are at work that must not be."""
        lane = message.slot if type(message).__name__ == KEYED else None
        if len(self._lanes) >= self.options["concurrency"] or (lane is not None and lane in self._lanes):
            self.actor.world.violate(f"{self.name} takes {message.publisher}:{message.sequence} beside {self._lanes}")
        self._lanes.append(lane)
        try:
            yield
        finally:
            self._lanes.remove(lane)

    def _sync(self, message, delivery=None):
        self.take(message, delivery)

    def _raising(self, message, delivery=None):
        self.take(message, delivery)
        raise Mischief

    async def _quick(self, message, delivery=None):
        self.take(message, delivery)
        await asyncio.sleep(0)

    async def _failing(self, message, delivery=None):
        self.take(message, delivery)
        await asyncio.sleep(0.001)
        raise Mischief

    async def _slow(self, message, delivery=None):
        self.take(message, delivery)
        await asyncio.sleep(0.1)

    async def _stuck(self, message, delivery=None):
        self.take(message, delivery)
        self._count += 1
        if self._count == 3:
            await asyncio.get_running_loop().create_future()

    async def _echoing(self, message, delivery=None):
        self.take(message, delivery)
        if type(message).__name__ == "Tick":
            await self._echo("plain")

    def _bouncing(self, message, delivery=None):
        self.take(message, delivery)
        if type(message).__name__ == "Tick":
            self.actor.start(self._echo("nowait"), most=30)

    async def _echo(self, how):
        with contextlib.suppress(*EXPECTED):
            await self.actor.publish(self.publisher, ["Tock"], "", how=how, pause=0)

    # --- requests ---

    async def _answering(self, message, delivery):
        self.take(message, delivery)
        await self._answer(message, delivery)

    async def _dawdling(self, message, delivery):
        self.take(message, delivery)
        await asyncio.sleep(self.actor.world.random.choice((0.1, 1.5, 4)))
        await self._answer(message, delivery)

    def _mute(self, message, delivery):
        self.take(message, delivery)

    async def _answer(self, message, delivery):
        if not delivery.is_request:
            self.actor.world.violate(f"{self.name} got {message}, and may not answer")
        answer = self.actor.contracts.Answer(
            publisher=message.publisher, sequence=message.sequence, slot=0, filler=message.filler
        )
        with contextlib.suppress(*EXPECTED):
            await delivery.reply(answer)


def _curious(method, message, delivery):
    """A handler that takes a Delivery."""
    method(message, delivery)


async def _curiously(method, message, delivery):
    """The same, async."""
    await method(message, delivery)


MOST_LAST_VALUES = 2 * SLOTS
"""Last values that a subscription may get beside what is published; a joiner may get them of two places."""
