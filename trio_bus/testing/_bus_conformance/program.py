"""A program that subscribes: it stays until it is told how to leave, or is killed."""

from __future__ import annotations

from enum import Enum, unique
from typing import TYPE_CHECKING

import trio

from trio_bus._batch import Batch
from trio_bus._bus import Bus
from trio_bus._config import SubscriptionConfig
from trio_bus._delivery import Delivery
from trio_bus._errors import BusError
from trio_bus._modes import BalanceMode
from trio_bus._options import BusOptions
from trio_bus._subscription import PullSubscription, Subscription, open_subscription
from trio_bus.testing._ears import JournalObserver
from trio_bus.testing._together import Asking, Together

from .handling import Running, handle, handle_together
from .mortal import Mortal, MortalBackend

if TYPE_CHECKING:
    from trio_bus.testing._pump import Job

    from .play import Play

LARGEST = 200
"""The payload that these programs accept."""
WORKERS = 2
"""Tasks of a program that iterates."""


@unique
class Way(Enum):
    """How a subscription ends."""

    LEAVE = "leave"
    DRAIN = "drain"
    ACLOSE = "aclose"
    CANCEL = "cancel"
    ERROR = "error"


class BodyFailed(Exception):
    """What the body of a block raises that is left by an error."""


class Program:
    """One process with one subscription."""

    def __init__(
        self,
        play: Play,
        actor: str,
        config: SubscriptionConfig,
        *,
        pulls: bool,
        batch_wait: float | None = None,
    ) -> None:
        self.actor = actor
        self.config = config
        self.pulls = pulls
        self._batch_wait = batch_wait
        """How long a batch may wait, in seconds; None: there is none."""
        self._play = play
        self._mortal = Mortal(play.journal, actor)
        observer = JournalObserver(play.journal, actor)
        options = BusOptions(observer=observer, max_payload_bytes=LARGEST)
        self.bus = Bus(MortalBackend(play.backend, self._mortal), options)
        self.subscription: Subscription | PullSubscription | None = None
        self.way: Way | None = None
        """How it is being left."""
        self._joined = trio.Event()
        self._ordered = trio.Event()
        self._scope = trio.CancelScope()
        self.job: Job[None] = play.pump.start_soon(self._run)

    @property
    def name(self) -> str:
        """The name of its consumer; empty before there is one."""
        return "" if self.subscription is None else self.subscription.name

    @property
    def fans_out(self) -> bool:
        """Whether it has a group of its own."""
        return self.config.balance_mode is BalanceMode.FAN_OUT

    @property
    def group(self) -> str:
        """The group that it is in, once it is subscribed."""
        return self.config.group_of(self.name)

    @property
    def is_open(self) -> bool:
        """Whether it is subscribed, and nobody has told it to end."""
        return self.subscription is not None and self.way is None and not self._mortal.dead

    @property
    def is_paused(self) -> bool:
        """Whether it is subscribed, and takes in nothing for now."""
        return self.subscription is not None and self.subscription.statistics().paused

    @property
    def ended(self) -> bool:
        """Whether nothing of it is left."""
        return self.job.ended

    def leave(self, way: Way) -> None:
        """Tell it how to leave; it does when the pump is pumped."""
        if self.way is None:
            self.way = way
            self._ordered.set()

    def halt(self) -> None:
        """Pause its subscription; if it is paused, resume it."""
        if self.subscription is None or not self.is_open:
            return
        about = (self.actor, self.name, self.config)
        if self.subscription.statistics().paused:
            self._play.journal.continued(*about)
            self.subscription.resume()
        else:
            self.subscription.pause()
            self._play.journal.halted(*about)

    def kill(self) -> None:
        """End it as SIGKILL does."""
        self._play.journal.died(self.actor)
        self._mortal.dead = True
        self._scope.cancel("killed")

    async def _run(self) -> None:
        journal = self._play.journal
        journal.opening(self.actor, self.config)
        how = ""
        try:
            with self._scope:
                await (self._pull() if self.pulls else self._push())
        except* BodyFailed:
            how = "BodyFailed"
        except* BusError:
            if not self._mortal.dead:
                raise
        journal.left(self.actor, self.name, self.config, how)

    async def _push(self) -> None:
        opened = (
            open_subscription(self.bus, self.config, self._handle)
            if self._batch_wait is None
            else open_subscription(self.bus, self.config, batch_handler=self._handle_all)
        )
        async with opened as subscription:
            self._join(subscription)
            await self._ordered.wait()
            await self._end(subscription)

    async def _pull(self) -> None:
        async with open_subscription(self.bus, self.config) as deliveries:
            self._join(deliveries)
            async with trio.open_nursery() as nursery:
                for _ in range(WORKERS):
                    nursery.start_soon(self._iterate, deliveries)
                await self._ordered.wait()
                if self.way is Way.LEAVE:
                    nursery.cancel_scope.cancel("the body ends")
                await self._end(deliveries)

    async def _iterate(self, deliveries: PullSubscription) -> None:
        if self._batch_wait is not None:
            batches, number = deliveries.batches(None, self._batch_wait), self._number
            async for batch in Asking(self._together, batches, None, self._batch_wait, number):
                async with batch:
                    await handle_together(self._play, self._together, batch)
            return
        async for delivery in deliveries:
            async with delivery:
                await self._handle(delivery)

    def _join(self, subscription: Subscription | PullSubscription) -> None:
        self.subscription = subscription
        self._joined.set()
        self._play.journal.joined(self.actor, subscription.name, self.config, LARGEST)

    async def _end(self, subscription: Subscription | PullSubscription) -> None:
        way = self.way or Way.LEAVE
        self._play.journal.leaving(self.actor, subscription.name, self.config, way.value)
        match way:
            case Way.DRAIN:
                await subscription.drain()
            case Way.ACLOSE:
                await subscription.aclose()
            case Way.CANCEL:
                self._scope.cancel("the program is cancelled")
                await trio.lowlevel.checkpoint()
            case Way.ERROR:
                raise BodyFailed
            case _:  # by the end of its block
                pass

    @property
    def _together(self) -> Together:
        return Together(self._play.journal, self.actor, self.config, self.name)

    def _number(self) -> int:
        return next(self._play.numbers)

    async def _handle_all(self, batch: Batch) -> None:
        await self._joined.wait()
        self._together.got(batch.deliveries, self._number())
        await handle_together(self._play, self._together, batch)

    async def _handle(self, delivery: Delivery) -> None:
        await self._joined.wait()  # the first may come before the block has begun
        about = (self._play.journal, self.actor, self.config, self.name)
        await handle(self._play, Running(*about, delivery))
