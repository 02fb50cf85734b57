"""What has to be so in a simulated world when nothing moves: everything that was published has come, or is counted."""

from collections import Counter, defaultdict

from simschema import KEYED
from simwatch import MOST_LAST_VALUES, PROMPT

from mycelium.bus.clientstate import ClientState
from mycelium.bus.stats import Totals

__all__ = ["Laws"]


class Laws:
    """Of one world."""

    def __init__(self, world):
        self.world = world

    def check(self, actors):
        """Everything, of these processes."""
        for actor in actors:
            if actor.intact():
                self._check_prompt(actor)
                self.check_actor(actor)
            if actor.alive and not actor.is_server:
                self._check_client(actor)
        self._check_groups(actors)
        self._check_receipts(actors)
        if self.world.server is not None:
            self._check_last_values(self.world.server, actors)
            self._check_sums(self.world.server)

    def check_actor(self, actor):
        """The subscriptions of one whose connection has lasted, or has ended in order."""
        for watched in actor.watched:
            if watched.live and watched.epoch <= actor.epoch_told():
                self._check_watched(watched)

    def _check_prompt(self, actor):
        """Whose handlers take no time has nothing waiting."""
        live = [one for one in actor.watched if one.live]
        if all(one.kind in PROMPT for one in actor.watched):
            for watched in live:
                waiting = watched.subscription.stats().queued + actor.queued_for(watched.types)
                if waiting:
                    self.world.violate(f"{waiting} messages wait for {watched}, and nobody knows what for")

    def _check_watched(self, watched):
        world = self.world
        fitting = {key: one for key, one in world.recent.items() if one.type_name in watched.types}
        due = {} if watched.group is not None else {k: one for k, one in fitting.items() if self.is_due(one, watched)}
        watched.missing |= {key for key in due if not watched.has(key)}
        excused = watched.excused()
        missing = len(watched.missing) - self._expired(watched.missing)
        if missing > excused:
            world.violate(f"{watched} misses {sorted(watched.missing)[:10]}, and only {excused} are counted")
        gained, most = watched.seen() - watched.total, len(fitting) + watched.slack
        if KEYED in watched.types:
            most += MOST_LAST_VALUES
        if watched.group is None and not len(due) - self._expired(due) <= gained <= most:
            world.violate(f"{watched} has counted {gained} messages, not from {len(due)} to {most}")
        watched.total, watched.slack = watched.seen(), 0
        if watched.is_quiet and (untold := watched.untold()) is not None:
            world.violate(f"{watched} has lost what no Gap has said: {untold}")

    def _expired(self, keys):
        """How many of these messages may have waited too long for a connection."""
        by_client = Counter(self.world.sent[key].actor for key in keys)
        return sum(min(n, one.client.stats().expired) for one, n in by_client.items() if not one.is_server)

    def is_due(self, sent, watched):
        """Whether the message must come to the subscription, or be counted there."""
        if sent.accepted is not True or sent.moment <= max(watched.since, watched.actor.joined()):
            return False
        if watched.options["no_echo"] and sent.actor is watched.actor:
            return False
        home = sent.actor.home_of(sent)
        return home is not None and home is watched.actor.home and sent.actor.heard(sent)

    def _check_groups(self, actors):
        """What each group has got; only of those whose members have all been there all the time."""
        members = defaultdict(list)
        for actor in actors:
            for watched in actor.watched:
                if watched.group is not None and watched.subscription is not None and actor.home is not None:
                    members[actor.home, tuple(watched.types)].append(watched)
        homes = Counter(home for home, _ in members)
        for (home, _), crew in members.items():
            if (
                homes[home] > 1
                or home is not self.world.server
                or not all(one.live and one.actor.intact() for one in crew)
            ):
                continue  # of several types it would have to be looked at each by itself
            known = {one.client.session for one in actors if not one.is_server}
            if any(session.number not in known for session in home.bridge.sessions):
                continue  # it takes its turns, and nobody knows that it is gone
            quiet = {one.actor for one in crew if one.options["no_echo"]}
            since = max(max(one.since, one.actor.joined()) for one in crew)
            due = {
                key
                for key, sent in self.world.recent.items()
                if sent.moment > since and sent.actor not in quiet and self.is_due(sent, crew[0])
                if sent.type_name in crew[0].types
            }
            missing = {key for key in due if not any(one.has(key) for one in crew)}
            excused = sum(one.excused() for one in {one.name: one for one in crew}.values())
            if len(missing) - self._expired(missing) > excused:
                self.world.violate(f"the group {crew} misses {sorted(missing)[:10]}, and only {excused} are counted")

    def _check_receipts(self, actors):
        """What publishers were told of their messages agrees with who has got them."""
        for key, sent in self.world.recent.items():
            if sent.receipt is None or sent.actor.home_of(sent) is None:
                continue
            places, got = set(), set()
            for actor in actors:
                for watched in actor.watched if actor.intact() else ():
                    if watched.live and sent.type_name in watched.types and watched.group is None:
                        place = watched if actor.is_server else actor
                        if self.is_due(sent, watched):
                            places.add(place)
                        if watched.has(key) and sent.type_name != KEYED:
                            got.add(place)
            if len(places) > sent.receipt.matched or len(got) > sent.receipt.enqueued:
                self.world.violate(f"{sent.receipt} for {key}, which is for {places}, and came to {got}")

    def _check_last_values(self, server, actors):
        """Who has subscribed to something retained has the last of each key, or has counted that it has not."""
        last = {}
        snapshots = server.bus.exchange.last_values(lambda _: True)
        for value in (kept.value for one in snapshots for kept in one.values()):
            message = server.contracts.decode(value.type_id, value.frame.payload(0))
            last[message.slot] = message.publisher, message.sequence
        for actor in actors:
            if actor.home is not server or not actor.intact():
                continue
            for watched in actor.watched:
                if KEYED not in watched.types or not watched.live or watched.group or watched.options["no_echo"]:
                    continue
                missing = [key for key in last.values() if not watched.has(key)]
                # A client gives those who join later what has come to it.
                others = [
                    one for one in actor.watched if one is not watched and one.subscription and not actor.is_server
                ]
                dropped = sum(sum(one.subscription.stats().dropped.values()) for one in others)
                to_come = len(watched.subscription._retained) + actor.to_remember()
                if len(missing) > watched.excused() + watched.forgiven + dropped + to_come:
                    self.world.violate(f"{watched} misses the last values {missing}")
        for publisher in {key[0] for key in self.world.recent}:
            self._check_last_of(publisher, last)

    def _check_last_of(self, publisher, last):
        """A last value is not older than what the same publisher has had taken later."""
        for slot, (number, sequence) in last.items():
            if number != publisher:
                continue
            later = [
                key
                for key, one in self.world.recent.items()
                if key[0] == publisher and key[1] > sequence and one.type_name == KEYED and one.slot == slot
                if one.accepted is True and one.actor.home_of(one) is self.world.server and one.actor.heard(one)
            ]
            if len(later) > self._expired(later):
                self.world.violate(f"the last value of {slot} is {publisher}:{sequence}, and {later} came later")

    def _check_sums(self, server):
        """What the bus says of its own subscriptions is what they say."""
        if server.bus.stats().replies < server.answered:
            self.world.violate(f"{server.answered} requests were answered through {server}: {server.bus.stats()}")
        said = Totals().with_live(server.bus.exchange.dispatcher.stats())
        known = [one.subscription.stats() for one in server.watched if one.subscription is not None]
        sums = sum(one.matched for one in known), sum(one.delivered for one in known)
        late = any(one.kind == "iterator" and one.left for one in server.watched)
        if len(known) < len(server.watched) or not known:
            return
        if sums[0] != said.matched or not (sums[1] == said.delivered or (late and sums[1] > said.delivered)):
            self.world.violate(f"{server} has counted {said}, its subscriptions {sums}")

    # --- clients ---

    def _check_client(self, client):
        stats = client.client.stats()
        known = [one.subscription.stats() for one in client.watched if one.subscription is not None]
        if known and len(known) == len(client.watched):
            sums = sum(one.matched for one in known), sum(one.delivered for one in known)
            # What an iterator gives out after its end was counted as dropped when it ended.
            late = any(one.kind == "iterator" and one.left for one in client.watched)
            if sums[0] != stats.matched or not (sums[1] == stats.delivered or (late and sums[1] > stats.delivered)):
                self.world.violate(f"{client} has counted {stats}, its subscriptions {sums}")
        letters = client.client._correspondence
        if len(letters._awaited) or letters._out or stats.unconfirmed:
            self.world.violate(f"{client} waits for what nobody has asked for: {letters}, {stats}")
        if client.client.state is ClientState.CONNECTED and not client.closing:
            self._check_reconnects(client)

    def _check_reconnects(self, client):
        """Each subscription is told of each time without a connection, once, or will be behind what waits for it."""
        for watched in client.watched:
            if watched.live:
                times, told = client.joins - watched.joins, watched.gaps["reconnect"]
                waiting = watched.subscription._gaps.ahead  # several are one if no message came between them
                if not (times <= told <= times + watched.early) and not (waiting and told < times):
                    self.world.violate(f"{watched} was told of {told} reconnects, and there were {times}")
