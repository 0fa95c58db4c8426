"""What a seed makes of a scenario: every choice that is made before anything runs."""

from __future__ import annotations

from enum import Enum, unique

import attrs

from trio_bus._backoff import Backoff
from trio_bus._chance import Chance
from trio_bus._codec import Codec
from trio_bus._config import SubscriptionConfig
from trio_bus._modes import AckMode, BalanceMode, OrderingMode
from trio_bus.testing._line import Pairs
from trio_bus.testing._settings import Settings

from .faults import Fault, Trouble
from .handling import COMMITTING, Handling, Step
from .scenario import Form, Numbers, Scenario

TOPIC = "orders"
DEAD_TOPIC = "{orders}.dead"
EFFECTS_TOPIC = "{orders}.effects"
PUBLISHER = "publisher"
"""How the places of publishers begin."""
OPERATOR = "operator"
"""The place of whoever handles what is dead."""
_OF_OPERATORS = ("redrive", "redrive", "buried")
_OF_PUBLISHERS = ("append", "append", "schedule", "cancel")
"""What faults hit that hit a publisher: what matters most, more often."""
_LONG = {
    *(Handling.HANG, Handling.LATE, Handling.STUBBORN, Handling.SWALLOW, Handling.MESSY),
    Handling.COMMIT_LATE,
}


_LATER = ("more", "batches", "operator", "poison", "order")
"""Chances of their own: the seeds of before make the choices of before."""


@unique
class Leaving(Enum):
    """How a program leaves its subscription."""

    LEAVE = "leave"
    DRAIN = "drain"
    ACLOSE = "aclose"
    CANCEL = "cancel"


@attrs.frozen(kw_only=True)
class GroupPlan:
    """How the consumers of one group are configured."""

    name: str
    """What the plan calls it; of those that fan out each consumer has a group of its own."""
    config: SubscriptionConfig
    asked: Pairs
    """What the settings were made of."""
    ack_mode: AckMode
    pulling: bool
    batching: bool = False

    @property
    def fans_out(self) -> bool:
        """Whether each of its consumers gets every message."""
        return self.config.balance_mode is BalanceMode.FAN_OUT

    @property
    def life(self) -> float:
        """Seconds after which others do not wait for it any more."""
        return self.config.fan_out_expiry if self.fans_out else self.config.claim_idle_timeout

    @property
    def settles_itself(self) -> bool:
        """Whether its handlers ack what they have handled."""
        return self.ack_mode is AckMode.MANUAL and not self.pulling


@attrs.frozen(kw_only=True)
class MessagePlan:
    """One message: how it is published, and what its handlers do, start by start."""

    number: int
    when: float
    form: Form
    seconds: float
    """Until it is due, or expires, or is cancelled."""
    publisher: int
    key: str
    steps: dict[str, tuple[Step, ...]]
    """By group."""


@unique
class Choosing(Enum):
    """Which dead letters an operator sends back."""

    ALL = "all"
    IDS = "by their ids"
    ERROR = "by their error"
    NONE = "none: only try"


@attrs.frozen(kw_only=True)
class RedrivePlan:
    """One time that an operator sends back what is dead."""

    when: float
    choosing: Choosing
    group: str | None
    """Only what that group gave up."""


@attrs.frozen(kw_only=True)
class ConsumerPlan:
    """One place where a consumer of a group runs: how long it stays, and how it leaves."""

    place: str
    group: GroupPlan
    begins: float
    stays: tuple[tuple[float, Leaving], ...]
    """The last one repeats."""
    tasks: int
    """Of a program that iterates: how many do so."""
    pauses: tuple[float, ...] = ()
    """How long it works, is paused, works, is paused."""
    max_size: int | None = None
    max_wait: float = 0.0
    """Of a program that iterates over batches."""


@attrs.frozen(kw_only=True)
class Plan:
    """Everything that is decided before a world begins."""

    scenario: Scenario
    seed: int
    latency: float
    largest: int
    """The payload that consumers allow, in bytes."""
    codec: Codec
    groups: tuple[GroupPlan, ...]
    consumers: tuple[ConsumerPlan, ...]
    messages: tuple[MessagePlan, ...]
    faults: tuple[Fault, ...]
    redrives: tuple[RedrivePlan, ...] = ()
    outage: tuple[float, float] = (0.0, 0.0)
    """From when to when the database of the handlers is down."""

    @property
    def patience(self) -> float:
        """Seconds after the last fault within which everything has to be finished."""
        lives = 1 + len(self.redrives)
        return lives * sum(self._work(message) for message in self.messages) + 10

    def _work(self, message: MessagePlan) -> float:
        """Say how long one message may take in the worst case: its starts, one after the other."""
        return message.seconds + sum(
            (group.config.max_attempt + 3)
            * (3 * group.config.claim_idle_timeout + group.config.retry_backoff.cap)
            for group in self.groups
        )

    def steps(self, group: str, number: int) -> tuple[Step, ...]:
        """Return what the starts of a message in a group bring."""
        return self.messages[number].steps[group]


def draw(scenario: Scenario, seed: int) -> Plan:
    """Make every choice of this seed."""
    name = f"{scenario.name}:{seed}"
    chances = [Chance(it) for it in (name, *(f"{name}:{it}" for it in _LATER))]
    return _Draw(scenario, *chances).plan(seed)


@attrs.frozen
class _Draw:
    scenario: Scenario
    chance: Chance
    more: Chance
    """For what was added later: the seeds of before make the choices of before."""
    batches: Chance
    """For batches."""
    operator: Chance
    poison: Chance
    order: Chance
    """For keys."""

    def plan(self, seed: int) -> Plan:
        groups = tuple(self.group(name) for name in self.scenario.groups)
        consumers = tuple(it for group in groups for it in self.consumers(group))
        count = self.between(self.scenario.messages)
        messages = self.poisoned([self.message(number, groups) for number in range(count)])
        looks = Chance(f"{self.scenario.name}:{seed}:looks")
        return Plan(
            scenario=self.scenario,
            seed=seed,
            latency=self.chance.choice(self.scenario.latencies),
            largest=looks.choice(self.scenario.largest),
            codec=looks.choice(self.scenario.codecs),
            groups=groups,
            consumers=consumers,
            messages=messages,
            faults=self.faults(consumers, groups),
            outage=self.outage(),
            redrives=self.redrives(),
        )

    def between(self, numbers: Numbers) -> int:
        return self.chance.randint(*numbers)

    def moment(self) -> float:
        """Choose when something happens; many things happen at once, or at a round time."""
        some = self.chance.random() * self.scenario.seconds
        return self.chance.choice([0.0, round(some, 1), round(some, 3)])

    def group(self, name: str) -> GroupPlan:
        pick = self.chance.choice
        pulling = pick(self.scenario.pulling)
        ack_mode = AckMode.MANUAL if pulling else pick(self.scenario.ack_modes)
        settings = Settings(
            ack_mode=ack_mode,
            max_in_flight=pick(self.scenario.max_in_flight),
            max_pending_acks=pick(self.scenario.max_pending_acks),
            claim_idle_timeout=pick(self.scenario.leases),
            handler_timeout=pick(self.scenario.handler_timeouts),
            drain_timeout=pick(self.scenario.drain_timeouts),
            shutdown_timeout=pick([0.0, 1.0]),
            reclaim_interval=pick(self.scenario.reclaim_intervals),
            ack_batch_size=pick([1, 256]),
            dead_letter_topic=DEAD_TOPIC if pick(self.scenario.burying) else None,
        )
        if ack_mode is not AckMode.AUTO_ON_RECEIVE:
            settings["max_retry"] = pick(self.scenario.max_retry)
            settings["retry_backoff"] = Backoff(
                first=pick([0.0, 0.05, 0.5]), cap=1.0, jitter=pick([0.0, 1])
            )
        if self.scenario.max_in_flight_bytes != (None,):
            settings["max_in_flight_bytes"] = self.more.choice(self.scenario.max_in_flight_bytes)
        if self.scenario.failure_thresholds != (None,):
            settings["failure_threshold"] = self.more.choice(self.scenario.failure_thresholds)
        if self.scenario.retentions != (None,):
            settings["retention"] = self.more.choice(self.scenario.retentions)
        settings["block_timeout"] = self.more.choice(self.scenario.block_timeouts)
        if COMMITTING & set(self.scenario.handlings):
            settings["output_topics"] = (EFFECTS_TOPIC,)
        if name in self.scenario.fan_outs:
            settings["balance_mode"] = BalanceMode.FAN_OUT
            settings["fan_out_expiry"] = self.more.choice(self.scenario.fan_out_expiries)
        own = "" if name in self.scenario.fan_outs else name
        if self.order.choice(self.scenario.ordering_modes) is OrderingMode.KEY and own:
            settings["ordering_mode"] = OrderingMode.KEY
            settings["max_parked"] = self.order.choice(self.scenario.max_parked)
        return GroupPlan(
            name=name,
            config=SubscriptionConfig(TOPIC, own, **settings),
            asked=tuple(settings.items()),
            ack_mode=ack_mode,
            pulling=pulling,
            batching=self.batches.choice(self.scenario.batching),
        )

    def consumers(self, group: GroupPlan) -> list[ConsumerPlan]:
        return [
            ConsumerPlan(
                place=f"{group.name}-{number}",
                group=group,
                begins=self.chance.choice([0.0, 0.0, self.moment()]),
                stays=tuple(
                    (self.chance.choice(self.scenario.stays), self.chance.choice(list(Leaving)))
                    for _ in range(3)
                ),
                tasks=self.chance.choice([1, 2]),
                pauses=self.pauses(),
                max_size=self.max_size(group),
                max_wait=self.batches.choice(self.scenario.max_waits),
            )
            for number in range(self.between(self.scenario.consumers))
        ]

    def max_size(self, group: GroupPlan) -> int | None:
        return self.batches.choice([None, self.batches.randint(1, group.config.max_in_flight)])

    def outage(self) -> tuple[float, float]:
        if not self.scenario.outages:
            return (0.0, 0.0)
        begins = round(self.more.random() * self.scenario.seconds / 2, 2)
        return (begins, begins + self.more.choice(self.scenario.outages))

    def redrives(self) -> tuple[RedrivePlan, ...]:
        count = self.operator.randint(*self.scenario.redrives)
        groups = [None, *self.scenario.groups]
        found = [
            RedrivePlan(
                when=round(self.operator.random() * self.scenario.seconds, 2),
                choosing=self.operator.choice([*Choosing, Choosing.ALL, Choosing.ALL]),
                group=self.operator.choice(groups),
            )
            for _ in range(count)
        ]
        return tuple(sorted(found, key=lambda it: it.when))

    def pauses(self) -> tuple[float, ...]:
        if not self.scenario.pauses:
            return ()
        return tuple(self.more.choice(self.scenario.pauses) for _ in range(6))

    def message(self, number: int, groups: tuple[GroupPlan, ...]) -> MessagePlan:
        return MessagePlan(
            number=number,
            when=self.moment(),
            form=self.chance.choice(self.scenario.forms),
            seconds=self.chance.choice([0.0, 0.2, 0.5, 1.0, 10.0]),
            publisher=self.chance.randrange(self.scenario.publishers),
            key=self.order.choice(self.scenario.keys),
            steps={group.name: self.steps(group) for group in groups},
        )

    def poisoned(self, messages: list[MessagePlan]) -> tuple[MessagePlan, ...]:
        if self.scenario.poison is None:
            return tuple(messages)
        some = self.poison.sample(range(len(messages)), self.poison.randint(*self.scenario.poison))
        return tuple(self._poison(it) if it.number in some else it for it in messages)

    def _poison(self, message: MessagePlan) -> MessagePlan:
        step = Step(self.poison.choice([Handling.FAIL, Handling.FAIL_TWICE]), 0.0)
        return attrs.evolve(message, steps=dict.fromkeys(message.steps, (step,)))

    def steps(self, group: GroupPlan) -> tuple[Step, ...]:
        return tuple(self.step(group) for _ in range(self.between(self.scenario.steps)))

    def step(self, group: GroupPlan) -> Step:
        handling = self.chance.choice(self.scenario.handlings)
        if handling is Handling.FORGET and group.config.handler_timeout is None:
            handling = Handling.SUCCEED  # it would stay open for ever
        longest = self.scenario.longest
        if handling in _LONG:
            longest = 2 * group.config.claim_idle_timeout
        seconds = round(self.chance.random() * longest, 3)
        return Step(handling, self.chance.choice([0.0, seconds, seconds]))

    def faults(
        self, consumers: tuple[ConsumerPlan, ...], groups: tuple[GroupPlan, ...]
    ) -> tuple[Fault, ...]:
        if not self.scenario.troubles:
            return ()
        publishers = [f"{PUBLISHER}-{number}" for number in range(self.scenario.publishers)]
        operators = [OPERATOR] * 3 if self.scenario.redrives != (0, 0) else []
        places = [*(it.place for it in consumers), *(it.place for it in consumers), *publishers]
        places += operators
        lease = max(group.life for group in groups)
        found = [self.fault(places, lease) for _ in range(self.between(self.scenario.faults))]
        return tuple(sorted(found, key=lambda fault: fault.when))

    def fault(self, places: list[str], lease: float) -> Fault:
        trouble = self.chance.choice(self.scenario.troubles)
        process = self.chance.choice(places)
        publishes = process.startswith(PUBLISHER)
        number = self.chance.choice([1, 1, 2, 3])
        if trouble is Trouble.KILLED:
            number = self.chance.choice([0, self.chance.randrange(80)])
        if trouble is Trouble.HALF:
            operation = "append" if publishes else "settle"
        else:
            operation = self.chance.choice(
                _OF_PUBLISHERS if publishes else self.scenario.operations
            )
        if process == OPERATOR:
            half = trouble is Trouble.HALF
            operation = "redrive" if half else self.operator.choice(_OF_OPERATORS)
        return Fault(
            when=self.moment(),
            trouble=trouble,
            process=process,
            operation=operation,
            seconds=round(self.chance.choice([0.1, 0.5, 1.0, 2.0]) * lease, 3),
            after=_is_after(trouble, drawn=self.chance.random() < 0.6),
            number=number,
        )


def _is_after(trouble: Trouble, *, drawn: bool) -> bool:
    """Say whether the server has done it when that hits: some faults leave no choice."""
    return trouble is Trouble.HALF or (drawn and trouble is not Trouble.STRANDED)
