"""One subscription that comes to its end: what its handlers do then, and what is left of it."""

from __future__ import annotations

import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from enum import Enum

import attrs
import trio
from trio.testing import MockClock

from tests.cutting import running_tasks
from tests.harness import Recorder
from tests.ledger import DONE, UNDELIVERED, Spot, ledger_of
from tests.watched import WatchedBackend
from trio_bus import (
    AckMode,
    Backoff,
    Bus,
    BusOptions,
    Delivery,
    EntryId,
    Message,
    PullSubscription,
    Scope,
    Subscription,
    SubscriptionConfig,
    Transition,
    open_subscription,
)
from trio_bus._names import DUE, FREE
from trio_bus.abc import Membership

TOPIC, GROUP = "orders", "billing"
AnySubscription = Subscription | PullSubscription


class Form(Enum):
    """How deliveries are handled."""

    HANDLER = AckMode.AUTO_ON_HANDLER_SUCCESS
    MANUAL = AckMode.MANUAL
    AT_MOST_ONCE = AckMode.AUTO_ON_RECEIVE
    PULL_INSIDE = "by several tasks of the block"
    PULL_OUTSIDE = "by several tasks that outlive the block"

    @property
    def pulls(self) -> bool:
        """Whether there is no handler."""
        return not isinstance(self.value, AckMode)

    @property
    def ack_mode(self) -> AckMode | None:
        """What to configure."""
        return self.value if isinstance(self.value, AckMode) else None


class Conduct(Enum):
    """What a handler does when its subscription ends."""

    FINISHES = "finishes in a while"
    HANGS = "hangs until it is cancelled"
    STUBBORN = "ignores its cancellation for a while, and succeeds"
    RAISES = "raises in a while"
    RAISES_AT_LAST = "hangs, and raises in its finally"
    PUBLISHES_AT_LAST = "hangs, and publishes in its finally"
    SETTLES_AT_LAST = "hangs, and acks in its finally"


BY_THEMSELVES = (Conduct.FINISHES, Conduct.RAISES)


@attrs.frozen(kw_only=True)
class Times:
    """Seconds, counted from when the subscription begins to end."""

    work: float
    drain: float
    stubborn: float
    soon: float
    """When what comes during the drain comes."""


@attrs.define(eq=False, kw_only=True)
class Scene:
    """A subscription whose handlers all run, and how it ended."""

    backend: WatchedBackend
    form: Form
    conducts: tuple[Conduct, ...]
    times: Times
    nursery: trio.Nursery
    """Around everything: for what outlives the block."""
    command_timeout: float = 10.0
    recorder: Recorder = attrs.field(factory=Recorder)
    ids: list[EntryId] = attrs.field(factory=list[EntryId])
    go: trio.Event = attrs.field(factory=trio.Event)
    """Let those go on that finish, or raise, in a while."""
    begun: trio.Event = attrs.field(factory=trio.Event)
    began: float = 0.0
    ended: float = 0.0
    error: BaseException | None = None
    """What left the block."""
    shutdown_timeout: float = 5.0
    spares: int = 1
    _started: int = 0

    @property
    def bus(self) -> Bus:
        """Make a bus."""
        options = BusOptions(observer=self.recorder, command_timeout=self.command_timeout)
        return Bus(self.backend, options)

    @property
    def config(self) -> SubscriptionConfig:
        """Return settings under which what failed stays away, and a pull holds one in reserve."""
        once = self.form is Form.AT_MOST_ONCE
        return SubscriptionConfig(
            TOPIC,
            GROUP,
            ack_mode=self.form.ack_mode,
            max_in_flight=len(self.conducts) + self.form.pulls,
            drain_timeout=self.times.drain,
            shutdown_timeout=self.shutdown_timeout,
            reclaim_interval=0.02,
            retry_backoff=Backoff() if once else Backoff(first=60.0, jitter=0.0),
        )

    async def publish(self) -> None:
        """Publish an entry for each conduct, and spare ones, which nobody starts."""
        payloads = [str(number).encode() for number in range(len(self.conducts))]
        payloads += [b"spare"] * self.spares
        outcome = await self.bus.publish_batch([Message(TOPIC, payload) for payload in payloads])
        outcome.raise_errors()
        self.ids = [it for it in outcome.results if isinstance(it, EntryId)]

    @asynccontextmanager
    async def block(self) -> AsyncGenerator[AnySubscription, None]:
        """Be subscribed; the body begins when all handlers run. Note what leaves it, and when."""
        try:
            async with self._subscribed() as subscription:
                await self.all_started()
                yield subscription
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.ended = trio.current_time()

    @asynccontextmanager
    async def _subscribed(self) -> AsyncGenerator[AnySubscription, None]:
        if not self.form.pulls:
            async with open_subscription(self.bus, self.config, self.handle) as subscription:
                yield subscription
        elif self.form is Form.PULL_OUTSIDE:
            async with open_subscription(self.bus, self.config) as deliveries:
                self._start_workers(self.nursery, deliveries)
                yield deliveries
        else:
            async with (
                open_subscription(self.bus, self.config) as deliveries,
                trio.open_nursery() as nursery,
            ):
                self._start_workers(nursery, deliveries)
                yield deliveries

    def _start_workers(self, nursery: trio.Nursery, deliveries: PullSubscription) -> None:
        for _ in self.conducts:
            nursery.start_soon(self._work, deliveries)

    async def _work(self, deliveries: PullSubscription) -> None:
        async for delivery in deliveries:
            async with delivery:
                await self.handle(delivery)

    async def all_started(self) -> None:
        """Wait until every handler runs, and in pull mode one more entry is here."""
        while self._started < len(self.conducts):
            await trio.sleep(0.001)
        if self.form.pulls:
            await self._until_reserved()

    async def _until_reserved(self) -> None:
        while self.spot_of(-1, await self.ledger()).place == UNDELIVERED:
            await trio.sleep(0.001)

    def begin(self, *, patient: bool = True) -> None:
        """Say that the end begins now; *patient*: who finishes in a while may do so."""
        self.began = trio.current_time()
        self.begun.set()
        if patient and set(self.conducts) & set(BY_THEMSELVES):
            self.nursery.start_soon(self._let_go, self.began + self.times.work)

    async def _let_go(self, at: float) -> None:
        await trio.sleep_until(at)
        self.go.set()

    @contextmanager
    def beginning(self, *, patient: bool = True) -> Generator[None, None, None]:
        """Say that the end begins when something ends this block."""
        try:
            yield
        finally:
            self.begin(patient=patient)

    async def handle(self, delivery: Delivery) -> None:
        """Do what this entry says."""
        self._started += 1
        conduct = self.conducts[int(delivery.message.payload)]
        try:
            await self._go_on(conduct)
        finally:
            await self._at_last(conduct, delivery)
        if self.form is Form.MANUAL:
            await delivery.ack()

    async def _go_on(self, conduct: Conduct) -> None:
        if conduct is Conduct.STUBBORN:
            with trio.CancelScope(shield=True):
                await self.begun.wait()
                await trio.sleep_until(self.began + self.times.stubborn)
        elif conduct in BY_THEMSELVES:
            await self.go.wait()
            if conduct is Conduct.RAISES:
                raise OSError("in a while")
        else:
            await trio.sleep_forever()

    async def _at_last(self, conduct: Conduct, delivery: Delivery) -> None:
        if conduct is Conduct.RAISES_AT_LAST:
            raise OSError("at last")
        if conduct is Conduct.PUBLISHES_AT_LAST:
            with trio.CancelScope(shield=True):
                await self.bus.publish(Message("journal", delivery.message.payload))
        if conduct is Conduct.SETTLES_AT_LAST:
            await delivery.ack()

    async def ledger(self) -> dict[EntryId, Spot]:
        """Return where every entry is."""
        return await ledger_of(self.backend.inner, TOPIC, GROUP)

    def spot_of(self, number: int, ledger: dict[EntryId, Spot]) -> Spot:
        """Return where the entry of that conduct is; -1: of nobody."""
        return ledger[self.ids[number]]

    @property
    def life(self) -> list[Transition]:
        """What the observer heard of the subscription itself."""
        ours = {Transition.OPENED, Transition.DRAINING, Transition.CLOSED}
        heard = [event.transition for event in self.recorder.transitions]
        return [transition for transition in heard if transition in ours]

    async def check_left(self, spots: list[Spot]) -> None:
        """Check that the entries are there, no consumer is left, and what is free is free now."""
        ledger = await self.ledger()
        assert [self.spot_of(number, ledger) for number in range(len(spots))] == spots
        (group,) = (await self.backend.info(TOPIC)).groups
        assert group.consumers == ()
        heir = Membership(topic=TOPIC, group=GROUP, consumer="heir", lease=60.0, max_attempt=9)
        async with self.backend.inner.join(heir) as member:
            taken = await member.take_over(100)
        free = [self.ids[at] for at, spot in enumerate(spots) if spot.place == FREE]
        assert [entry.id for entry in taken.entries] == free
        assert {entry.attempt for entry in taken.entries} <= {1}, "handing back does not count"

    def check_heard(self) -> None:
        """Check that the end was told once, and no error but those of handlers."""
        assert self.life == [Transition.OPENED, Transition.DRAINING, Transition.CLOSED]
        assert {event.scope for event in self.recorder.errors} <= {Scope.HANDLER}


FREED, DELAYED, ACKED = Spot(FREE, 0), Spot(DUE, 1), Spot(DONE)
NOT_READ = Spot(UNDELIVERED)


def place_of(form: Form, conduct: Conduct, times: Times, patience: float, *, taken: bool) -> Spot:
    """Say where an entry goes whose handler has so much time, and is cancelled or loses it then.

    It is *taken* away where the task itself is not cancelled: its verbs fail then.
    """
    if form is Form.AT_MOST_ONCE:
        return ACKED
    if conduct in BY_THEMSELVES and patience >= times.work:
        return ACKED if conduct is Conduct.FINISHES else DELAYED
    if taken:
        return FREED
    match conduct:
        case Conduct.STUBBORN | Conduct.SETTLES_AT_LAST:
            return ACKED
        case Conduct.RAISES_AT_LAST:
            return DELAYED
        case _:
            return FREED


def end_of(conduct: Conduct, times: Times, patience: float) -> float:
    """Say when a handler ends that is cancelled after so much time."""
    if conduct is Conduct.STUBBORN:
        return times.stubborn
    if conduct in BY_THEMSELVES:
        return min(times.work, patience)
    return patience


@contextmanager
def ctrl_c() -> Generator[None, None, None]:
    """Let trio handle Ctrl-C, as it does in a program."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run(main: Callable[[], Awaitable[None]], *, virtual: bool = True) -> None:
    """Run *main* as a program: in the task in which Ctrl-C is raised."""
    with ctrl_c():
        trio.run(main, clock=MockClock(autojump_threshold=0.0) if virtual else None)


def our_tasks() -> list[str]:
    """Name all tasks but those of the bus, whose connections outlive a subscription."""
    return [name for name in running_tasks() if not name.startswith("trio_bus._redis")]
