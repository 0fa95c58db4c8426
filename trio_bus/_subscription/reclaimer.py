"""The task that takes over what nobody holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_bus._backend import TakeOver
from trio_bus._errors import BusError
from trio_bus._observer import Scope, Transition

if TYPE_CHECKING:
    from .consumer import Consumer
    from .core import Core

JITTER = 0.2
"""Part of each interval that is random, so that the consumers of a group do not look in step."""


class Reclaimer:
    """Looks at each tick, without a permit; takes over only what its permits allow to start."""

    def __init__(self, core: Core, consumer: Consumer) -> None:
        self._core = core
        self._consumer = consumer
        self._tend_at = trio.current_time()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Look until cancelled."""
        errors = 0
        while True:
            try:
                await self._claim_all()
                await self._tend()
                errors = 0
            except BusError as error:
                errors += 1
                self._core.report(Scope.CLAIM, error)
                await self._core.pause(errors)
            interval = self._core.config.reclaim_interval
            await trio.sleep(interval * (1 - JITTER * self._core.chance()))

    async def _tend(self) -> None:
        """Remove the consumers of the dead, once in a lease."""
        if trio.current_time() >= self._tend_at:
            self._tend_at = trio.current_time() + self._core.lease
            await self._core.member.tend()

    async def _claim_all(self) -> None:
        while await self._core.member.claimable():
            if not await self._claim():
                return

    async def _claim(self) -> bool:
        """Take over once; say whether it brought anything."""
        taken = await self._consumer.take_permits(self._core.config.max_in_flight)
        result = TakeOver()
        try:
            result = await self._core.member.take_over(taken)
        finally:
            self._core.permits.give_back(taken - len(result.entries))
            self._core.receive(result.entries)
        self._tell(result)
        return bool(result.entries or result.buried or result.gone)

    def _tell(self, result: TakeOver) -> None:
        for receipt in result.buried:
            self._core.counts[Transition.DEAD_LETTERED] += 1
            reason = "its attempts were used up"
            notifier = self._core.notifier
            notifier.transition(Transition.DEAD_LETTERED, receipt.id, receipt.attempt, reason)
        for entry_id in result.gone:
            self._core.counts[Transition.VANISHED] += 1
            self._core.notifier.transition(Transition.VANISHED, entry_id)
