"""A handler that does what it is told, when it is told, and knows that it runs."""

from __future__ import annotations

import math
from contextlib import suppress
from enum import Enum, unique
from typing import TYPE_CHECKING

import trio

from trio_bus._batch import Batch
from trio_bus._config import SubscriptionConfig
from trio_bus._delivery import Delivery
from trio_bus._errors import DeliveryFinalized, LeaseLost
from trio_bus._transaction import Transaction
from trio_bus.testing._batched import batched
from trio_bus.testing._effects import effects_of
from trio_bus.testing._invariants import InvariantBroken
from trio_bus.testing._journal import Journal
from trio_bus.testing._together import Together

if TYPE_CHECKING:
    from .play import Play


@unique
class Do(Enum):
    """What a handler can be told to do."""

    RETURN = "return"
    FAIL = "fail"
    FAIL_TWICE = "fail with a group of two"
    ACK = "ack"
    RETRY = "retry"
    RETRY_LATER = "retry later"
    REJECT = "reject"
    RELEASE = "release"
    RELEASE_LATER = "release later"
    RENEW = "renew"
    RESIST = "resist its cancellation"
    GIVE_IN = "give in"
    COMMIT = "commit"
    COMMIT_NOT = "fail in a transaction"


VERBS = frozenset(
    {
        *(Do.ACK, Do.RETRY, Do.RETRY_LATER, Do.REJECT, Do.RELEASE, Do.RELEASE_LATER),
        *(Do.RENEW, Do.COMMIT, Do.COMMIT_NOT),
    }
)

ENDINGS = (
    *(Do.RETURN, Do.RETURN, Do.FAIL, Do.FAIL_TWICE, Do.RETRY, Do.RETRY_LATER),
    *(Do.REJECT, Do.RELEASE, Do.RELEASE_LATER),
    *(Do.COMMIT, Do.COMMIT, Do.COMMIT_NOT),
)
"""What a handler does at its end, if nothing else happens."""
MEANWHILE = (
    *(Do.ACK, Do.RENEW, Do.RENEW, Do.RESIST, Do.GIVE_IN),
    *(Do.RETRY, Do.REJECT, Do.RELEASE),
)
"""What a handler does and goes on."""
GRACE = 0.5
"""Seconds that a machine may be late."""


class HandlerFailed(Exception):
    """What the handlers of this suite raise."""


class Running:
    """One handler at work."""

    def __init__(
        self,
        journal: Journal,
        actor: str,
        config: SubscriptionConfig,
        consumer: str,
        delivery: Delivery,
    ) -> None:
        self._journal = journal
        self._about = (actor, config, consumer, delivery)
        self.actor: str = actor
        """Whose handler it is."""
        self._delivery = delivery
        self._orders: list[Do] = []
        self._ordered = trio.Event()
        self._resists = False
        self._began = trio.current_time()

    @property
    def label(self) -> str:
        """Who handles what, for the program that Hypothesis prints."""
        return f"{self.actor}:{self._delivery.message.payload.decode(errors='replace')}"

    def check(self) -> None:
        """See that it was cancelled when its ``handler_timeout`` was over.

        Raises:
          InvariantBroken: it goes on, and does not resist.
        """
        _, config, consumer, delivery = self._about
        age = trio.current_time() - self._began
        limit = math.inf if config.handler_timeout is None else config.handler_timeout + GRACE
        if age > limit and not self._resists:
            words = f"the handler of {delivery.entry_id} at {consumer} runs since {age:.3f} s"
            raise InvariantBroken(0, "handler timeout", words)

    def tell(self, order: Do) -> None:
        """Give an order; it is obeyed when all before it are."""
        self._orders.append(order)
        self._ordered.set()

    async def run(self, unit: float) -> None:
        """Obey until told to end."""
        with self._journal.handling(*self._about):
            await self.obey(unit)

    async def obey(self, unit: float) -> None:
        """Obey until told to end, as one of those that are handled together."""
        while True:
            order = await self._next()
            if order is Do.RETURN:
                return
            if order is Do.FAIL:
                raise HandlerFailed("as it was told")
            if order is Do.FAIL_TWICE:
                raise ExceptionGroup("as it was told", [HandlerFailed("a"), HandlerFailed("b")])
            if order in VERBS:
                await self._settle(order, unit)
            else:
                self._resists = order is Do.RESIST

    async def _next(self) -> Do:
        """Wait for an order; whoever resists does not hear that it is cancelled meanwhile."""
        while not self._orders:
            self._ordered = trio.Event()
            with trio.CancelScope(shield=self._resists):
                await self._ordered.wait()
        return self._orders.pop(0)

    async def _settle(self, order: Do, unit: float) -> None:
        """Call a verb. That it comes too late is told to the journal, and is no failure."""
        delivery = self._delivery
        delay = 2 * unit if order in {Do.RETRY_LATER, Do.RELEASE_LATER} else None
        with (
            suppress(DeliveryFinalized, LeaseLost),
            self._journal.verb(*self._about, order.value, delay=delay),
        ):
            match order:
                case Do.ACK:
                    await delivery.ack()
                case Do.RETRY:
                    await delivery.retry("as it was told")
                case Do.RETRY_LATER:
                    await delivery.retry("as it was told", delay=delay)
                case Do.REJECT:
                    await delivery.reject("as it was told")
                case Do.RELEASE:
                    await delivery.release()
                case Do.RELEASE_LATER:
                    await delivery.release(delay=delay)
                case Do.COMMIT:
                    await self._commit()
                case Do.COMMIT_NOT:
                    await self._commit_not()
                case _:
                    await delivery.renew()

    async def _commit(self) -> None:
        """Publish in a transaction."""
        async with self._delivery.transaction() as transaction:
            await self._publish(transaction)

    async def _commit_not(self) -> None:
        """Publish in a transaction that is left by an error; the journal calls it a failed verb."""
        async with self._delivery.transaction() as transaction:
            await self._publish(transaction)
            raise HandlerFailed("in its transaction")

    async def _publish(self, transaction: Transaction) -> None:
        _, config, consumer, delivery = self._about
        author = f"{consumer} {len(self._journal.lines)}"
        (topic,) = config.output_topics
        for effect in effects_of(delivery, config.group_of(consumer), author, topic, 2):
            await transaction.publish(effect)


async def handle(play: Play, running: Running) -> None:
    """Let a handler run, known to the play; at the end of the play it succeeds by itself."""
    _begin(play, running)
    try:
        await running.run(play.unit)
    finally:
        play.running.remove(running)


async def handle_together(play: Play, together: Together, batch: Batch) -> None:
    """Let a handler run that gets a batch: each of it is told for itself what to do.

    All of them have ended when it ends, and it fails if one of them does.
    """
    journal, about = together.journal, (together.actor, together.config, together.consumer)
    members = [Running(journal, *about, batched(batch, it)) for it in batch]
    failures: list[Exception] = []

    async def obey(running: Running) -> None:
        try:
            await running.obey(play.unit)
        except Exception as failure:  # noqa: BLE001 - it is raised with the others
            failures.append(failure)
        finally:
            play.running.remove(running)

    with together.handling(batch.deliveries):
        async with trio.open_nursery() as nursery:
            for running in members:
                _begin(play, running)
                nursery.start_soon(obey, running)
        if failures:
            raise ExceptionGroup("of a batch", failures)


def _begin(play: Play, running: Running) -> None:
    play.running.append(running)
    if play.ending:
        running.tell(Do.ACK)
        running.tell(Do.RETURN)
