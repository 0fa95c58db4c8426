"""Who is there, what they hold, and what was made to go wrong: what several invariants ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import inf

import attrs

from trio_bus._config import SubscriptionConfig
from trio_bus._entry_id import EntryId
from trio_bus._modes import AckMode, OrderingMode
from trio_bus._observer import Transition
from trio_bus.testing._line import FAULTS, Line, What

from .turns import ENDED, Turns

BEGINNINGS = frozenset({Transition.RECEIVED, Transition.TAKEN_OVER})
ENDS = {
    Transition.ACKED: "handled",
    Transition.RETRIED: "retried",
    Transition.DEAD_LETTERED: "rejected",
    Transition.RELEASED: "released",
    Transition.LEASE_LOST: "lost_leases",
    Transition.VANISHED: "vanished",
    Transition.UNCONFIRMED: "unconfirmed",
}
"""What ends a delivery, and the counter of `SubscriptionStatistics` that it raises."""
_SETTLED = frozenset({What.ACKED, What.RETRIED, What.BURIED, What.DROPPED})
"""What the server does with an entry that is no suspect any more then."""


@attrs.define(eq=False)
class Consumer:
    """What is known of one consumer."""

    name: str
    actor: str = ""
    topic: str = ""
    group: str = ""
    config: SubscriptionConfig | None = None
    lease: float = 0.0
    """Seconds, as the server was told when it joined."""
    held: dict[int, EntryId] = attrs.field(factory=dict[int, EntryId])
    """What it was told that it has, by the number of the delivery, until it is told the end."""
    running: dict[EntryId, Line] = attrs.field(factory=dict[EntryId, Line])
    """The entries that its handlers work on, each with the line of its start."""
    at_work: dict[int, EntryId] = attrs.field(factory=dict[int, EntryId])
    """What it was told that it started, by the number of the delivery, until that is finished."""
    given_up: set[EntryId] = attrs.field(factory=set[EntryId])
    """What may be pending for it although it does not hold it: lost, or not confirmed."""
    free_since: float | None = None
    """From when on it could take one more; None where it is full."""
    draining: bool = False
    left: bool = False
    dead: bool = False
    halted: bool = False
    ails: bool = False
    """Whether it was told that everything fails."""
    active: bool = False
    """It was told so: where an order is kept, the others stand by."""

    @property
    def works(self) -> bool:
        """Whether it takes what there is: it is open, and nobody stopped it."""
        stopped = self.draining or self.left or self.dead or self.halted or self.ails
        if self.config is None or stopped:
            return False
        return self.active or self.config.ordering_mode is OrderingMode.NONE

    def could_take(self, since: float) -> float:
        """Return from when on it could have taken what is there since then."""
        if not self.works or self.free_since is None:
            return inf
        return max(since, self.free_since)


class Scene:
    """What the lines so far say of the whole run. Each line is heard in constant time."""

    def __init__(self, *, punctual: bool = True, latency: float = 0.0) -> None:
        self.punctual = punctual
        """Whether nobody is late for being slow: time is virtual."""
        self.latency = latency
        """Seconds that a way to the server, or back, takes at most while nothing goes wrong."""
        self.consumers: dict[str, Consumer] = {}
        self.groups: dict[tuple[str, str], dict[str, Consumer]] = {}
        """The consumers of each group that may still hold something."""
        self.configs: dict[tuple[str, str], SubscriptionConfig] = {}
        """How each group was opened last."""
        self.turns: Turns = Turns()
        self.witnessed: set[tuple[str, str]] = set()
        """The groups of which lines tell what the server does."""
        self.faults: set[What] = set()
        """What was made to go wrong so far."""
        self.healed = False
        self.deleted: set[tuple[str, EntryId]] = set()
        """Entries that somebody deleted or trimmed."""
        self.retained: set[tuple[str, EntryId]] = set()
        """Entries that a retention removed, where it is seen which."""
        self.trimmed: Counter[str] = Counter()
        """How many entries a retention removed, by topic, where it is not."""
        self.uprooted: set[str] = set()
        """Topics that somebody deleted."""
        self.suspicious: set[tuple[str, str]] = set()
        """Groups that have suspects: one of those may hold back everything beside it."""
        self.suspects: dict[tuple[str, str, EntryId], str] = {}
        """Entries that were set apart, and who was given them then; nobody: they wait."""
        self.copied: set[str] = set()
        """Topics that got copies of dead letters."""
        self.destroyed: set[tuple[str, str]] = set()
        """Groups that somebody destroyed, alone or with their topic, or that began anew."""
        self._ears = self._make_ears()

    @property
    def calm(self) -> bool:
        """Whether nothing was made to go wrong, or all of it is over."""
        return not self.faults or self.healed

    @property
    def only_deaths(self) -> bool:
        """Whether nothing was made to go wrong but that processes died."""
        return self.faults <= {What.DIED}

    @property
    def removed(self) -> set[tuple[str, EntryId]]:
        """Return the entries that are known to be in no stream any more."""
        return self.deleted | self.retained if self.retained else self.deleted

    def consumer(self, name: str) -> Consumer:
        """Return what is known of a consumer."""
        found = self.consumers.get(name)
        if found is None:
            found = self.consumers[name] = Consumer(name)
        return found

    def hear(self, line: Line) -> None:
        """Take note of a line."""
        if line.what in FAULTS:
            self.faults.add(line.what)
            self.healed = False
        ear = self._ears.get(line.subject)
        if ear is not None:
            ear(line)

    def _make_ears(self) -> Mapping[What | Transition, Callable[[Line], None]]:
        return {
            What.MEMBER: self._hear_member,
            What.OPENING: self._hear_opening,
            What.JOINED: self._hear_joined,
            What.LEAVING: self._hear_draining,
            What.LEFT: self._hear_left,
            What.HALTED: self._hear_halted,
            What.CONTINUED: self._hear_halted,
            Transition.OUTAGE_BEGAN: self._hear_outage,
            Transition.OUTAGE_ENDED: self._hear_outage,
            What.STARTED: self._hear_start,
            **dict.fromkeys(ENDED, self._hear_end),
            **dict.fromkeys(BEGINNINGS, self._hear_beginning),
            **dict.fromkeys(ENDS, self._hear_ending),
            Transition.STARTED: self._hear_work,
            Transition.FINISHED: self._hear_rest,
            Transition.SUSPECTED: self._hear_suspect,
            What.SET_APART: self._hear_apart,
            What.GIVEN: self._hear_given,
            What.RELEASED: self._hear_release,
            What.REDRIVEN: self.turns.come_back,
            **dict.fromkeys(_SETTLED, self._hear_settled),
            Transition.DRAINING: self._hear_draining,
            Transition.ACTIVE: self._hear_active,
            Transition.STANDBY: self._hear_active,
            What.DIED: self._hear_death,
            What.DELETED: self._hear_loss,
            What.TRIMMED: self._hear_loss,
            What.RETAINED: self._hear_retention,
            What.GROUP_DESTROYED: self._hear_destruction,
            What.TOPIC_DELETED: self._hear_destruction,
            What.COPIED: lambda line: self.copied.add(line.topic),
            What.BEGUN: self._hear_destruction,
            What.HEALED: self._hear_healing,
        }

    def _place(self, line: Line) -> Consumer:
        consumer = self.consumer(line.consumer)
        if not consumer.group and line.group:
            consumer.actor, consumer.topic, consumer.group = line.actor, line.topic, line.group
            self.groups.setdefault((line.topic, line.group), {})[line.consumer] = consumer
        return consumer

    def _hear_member(self, line: Line) -> None:
        self.witnessed.add((line.topic, line.group))
        self._place(line).lease = line.seconds or 0.0

    def _hear_opening(self, line: Line) -> None:
        if line.config is not None and line.group:  # who fans out has none before it is open
            self.configs[line.topic, line.group] = line.config

    def _hear_joined(self, line: Line) -> None:
        self._hear_opening(line)
        consumer = self._place(line)
        consumer.config = line.config
        consumer.free_since = None  # it was not there
        self._count(consumer, line.time)

    def _hear_halted(self, line: Line) -> None:
        consumer = self.consumer(line.consumer)
        consumer.halted = line.what is What.HALTED
        consumer.free_since = None
        self._count(consumer, line.time)

    def _hear_outage(self, line: Line) -> None:
        consumer = self.consumer(line.consumer)
        consumer.ails = line.transition is Transition.OUTAGE_BEGAN
        consumer.free_since = None
        self._count(consumer, line.time)

    def _hear_active(self, line: Line) -> None:
        consumer = self._place(line)
        consumer.active = line.transition is Transition.ACTIVE
        consumer.free_since = None
        self._count(consumer, line.time)

    def _hear_draining(self, line: Line) -> None:
        self._place(line).draining = True

    def _hear_left(self, line: Line) -> None:
        consumer = self._place(line)
        consumer.left = True
        self.groups.get((line.topic, line.group), {}).pop(line.consumer, None)

    def _hear_start(self, line: Line) -> None:
        if line.entry_id is not None:
            consumer = self._place(line)
            consumer.running[line.entry_id] = line
            self.turns.begin(line)
            self._count(consumer, line.time)

    def _hear_end(self, line: Line) -> None:
        if line.entry_id is not None:
            consumer = self._place(line)
            consumer.running.pop(line.entry_id, None)
            self.turns.end(line)
            self._count(consumer, line.time)

    def _hear_beginning(self, line: Line) -> None:
        if line.delivery is not None and line.entry_id is not None:
            consumer = self._place(line)
            consumer.held[line.delivery] = line.entry_id
            self._count(consumer, line.time)

    def _hear_work(self, line: Line) -> None:
        if line.delivery is not None and line.entry_id is not None:
            consumer = self._place(line)
            consumer.at_work[line.delivery] = line.entry_id
            self._count(consumer, line.time)

    def _hear_rest(self, line: Line) -> None:
        if line.delivery is not None:
            consumer = self._place(line)
            consumer.at_work.pop(line.delivery, None)
            self._count(consumer, line.time)
        if line.entry_id is not None and self._is_acked_first(line.consumer):
            self.suspects.pop((line.topic, line.group, line.entry_id), None)

    def _hear_ending(self, line: Line) -> None:
        if line.delivery is None or line.entry_id is None:
            return
        consumer = self._place(line)
        consumer.held.pop(line.delivery, None)
        self.turns.end(line)
        if line.transition in {Transition.LEASE_LOST, Transition.UNCONFIRMED}:
            consumer.given_up.add(line.entry_id)
        self._count(consumer, line.time)

    def _count(self, consumer: Consumer, now: float) -> None:
        if consumer.config is None:
            return
        # What was settled and still runs keeps its permit, and so does what is held and waits: also
        # when that is the same entry, which came again.
        held = consumer.held | consumer.at_work
        busy = len(held) + len(set(consumer.running).difference(held.values()))
        bounded = consumer.config.max_in_flight_bytes is not None  # how many it has is not seen
        if busy >= (1 if bounded else consumer.config.max_in_flight):
            consumer.free_since = None
        elif consumer.free_since is None:
            consumer.free_since = now

    def _hear_suspect(self, line: Line) -> None:
        self.suspicious.add((line.topic, line.group))

    def _hear_apart(self, line: Line) -> None:
        self._hear_suspect(line)
        if line.entry_id is not None:
            self.suspects[line.topic, line.group, line.entry_id] = ""

    def _hear_given(self, line: Line) -> None:
        if line.entry_id is not None:
            key = (line.topic, line.group, line.entry_id)
            if self.suspects.pop(key, None) == "":
                self.suspects[key] = line.consumer

    def _hear_release(self, line: Line) -> None:
        if line.entry_id is not None:
            key = (line.topic, line.group, line.entry_id)
            if key in self.suspects:
                self.suspects[key] = ""

    def _hear_settled(self, line: Line) -> None:
        if line.entry_id is not None:
            key = (line.topic, line.group, line.entry_id)
            if not self._is_acked_first(self.suspects.get(key, "")):
                self.suspects.pop(key, None)
            if line.what is not What.RETRIED:
                self.turns.finish(line)

    def _is_acked_first(self, name: str) -> bool:
        """Say whether that consumer handles, and handles alone, what is settled already."""
        config = self.consumer(name).config if name else None
        return config is not None and config.ack_mode is AckMode.AUTO_ON_RECEIVE

    def could_take(self, consumer: Consumer, key: tuple[str, str, EntryId], since: float) -> float:
        """Return from when on a consumer could have taken an entry that is there since then.

        Where an order is kept, that is not before all have ended that come before it.
        """
        began, config = consumer.could_take(since), consumer.config
        if config is None or config.ordering_mode is OrderingMode.NONE:
            return began
        members = self.groups.get(key[:2], {}).values()
        held = {entry_id for member in members for entry_id in member.held.values()}
        return max(began, self.turns.of(*key, held, config.max_parked))

    def _hear_death(self, line: Line) -> None:
        self.turns.die(line.actor)
        for consumer in self.consumers.values():
            if consumer.actor == line.actor and not consumer.left:
                consumer.dead = True
                consumer.running.clear()
                consumer.at_work.clear()
                self.groups.get((consumer.topic, consumer.group), {}).pop(consumer.name, None)

    def _hear_loss(self, line: Line) -> None:
        if line.entry_id is not None:
            self.deleted.add((line.topic, line.entry_id))
        else:
            self.uprooted.add(line.topic)

    def _hear_retention(self, line: Line) -> None:
        if line.entry_id is None:
            self.trimmed[line.topic] += line.count or 0
        else:
            self.retained.add((line.topic, line.entry_id))

    def _hear_destruction(self, line: Line) -> None:
        if line.what is What.TOPIC_DELETED:
            self.uprooted.add(line.topic)
        for topic, group in self.configs:
            if topic == line.topic and line.group in {"", group}:
                self.destroyed.add((topic, group))
        for key in [it for it in self.suspects if it[:2] in self.destroyed]:
            del self.suspects[key]

    def _hear_healing(self, line: Line) -> None:
        self.healed = True
        for consumer in self.consumers.values():
            consumer.free_since = None if consumer.free_since is None else line.time
