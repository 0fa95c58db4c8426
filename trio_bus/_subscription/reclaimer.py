"""The tasks that take over what nobody holds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from trio_bus._backend import TakeOver
from trio_bus._errors import BusError
from trio_bus._look import Look
from trio_bus._observer import Scope, Transition
from trio_bus._wake import Alarm

from .respite import Respite
from .turn import Turn

if TYPE_CHECKING:
    from .consumer import Consumer
    from .core import Core
    from .ordered import Ordered

JITTER = 0.2
"""Part of each interval that is random, so that the consumers of a group do not look in step."""

LONGEST = 30.0
"""Seconds from one look to the next, at most, where intervals are not longer. What makes a look
needless is what others tell us: they may be cut off from us, and a dead connection is found within
a minute."""

BREATH = 0.02
"""Seconds from one look to the next, however often we are woken meanwhile."""


class Reclaimer:
    """Looks when something is due, when woken and at ticks; claims what its permits allow.

    A tick comes after each interval, but not before the time until which the last look has said
    that there is nothing which we are not told of: then only after that, and after `LONGEST`.

    After a gap in which this process stood still it does neither for a tick, see `Respite`: a look
    also takes leases away that have run out.

    It looks without a permit, and while a claim waits for one: what is scheduled on the topic does
    not wait for our handlers. A look that brought something on its way is followed by another one
    at once; all others are at least `BREATH` apart.

    Invariant: a look that found something to claim while a claim was under way is remembered in
    ``_missed``, like a claim that brought something, and there is another one afterwards.
    """

    def __init__(self, core: Core, consumer: Consumer, ordered: Ordered | None = None) -> None:
        self._core = core
        self._ordered = ordered  # it takes in what looks find, where it is there
        self._consumer = consumer
        self._alarm = Alarm()
        self._wanted = trio.Event()
        self._claiming = False
        self._missed = False
        self._before_looks = Respite(core.pulse, core.config.reclaim_interval)
        self._before_claims = Respite(core.pulse, core.config.reclaim_interval)
        # The last look, or a claim since it began, brought something: there may be more.
        self._progress = trio.Event()
        self._refused = ""
        self._turn = Turn(core, consumer)

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Look and claim until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            nursery.start_soon(self._claim if self._ordered is None else self._ordered.run)
            await self._watch()

    @trio.lowlevel.enable_ki_protection
    async def _listen(self) -> None:
        while True:
            delay = await self._core.member.woken()
            if self._ordered is not None:
                self._ordered.woken()
            self._alarm.ring(delay)

    async def _watch(self) -> None:
        errors = 0
        while True:
            left = self._before_looks.left()
            if left > 0:
                await trio.sleep(left)
                continue
            began, self._progress = trio.current_time(), trio.Event()
            try:
                look = await self._core.member.look()
                errors = 0
            except BusError as error:
                errors += 1
                self._core.report(Scope.CLAIM, error)
                await self._core.pause(errors)
                continue
            self._seen(look)
            await self._rest(began, look)

    def _seen(self, look: Look) -> None:
        """Start what a look asks for."""
        for entry_id in look.gone:
            self._core.history.gone(entry_id)
        self._core.history.trimmed += look.trimmed
        if look.due_in == 0:
            self._progress.set()
        if self._ordered is not None:
            self._ordered.looked(look)
        elif look.claimable and self._claiming:
            self._missed = True
        elif look.claimable:
            self._claiming = True
            self._wanted.set()
        refused = "" if look.refusal is None else look.refusal.code
        if look.refusal is not None and refused != self._refused:
            self._core.tell(Scope.SCHEDULE, look.refusal)
        self._refused = refused

    def _until_tick(self, quiet_for: float) -> float:
        """Return how many seconds there are until the next tick."""
        interval, spread = self._core.config.reclaim_interval, JITTER * self._core.chance()
        return max(interval * (1 - spread), min(quiet_for, LONGEST) + interval * spread)

    async def _rest(self, began: float, look: Look) -> None:
        """Sleep until the next tick, until something is due, or until we are woken for it."""
        due_in = math.inf if look.due_in is None else look.due_in
        until = trio.current_time() + min(self._until_tick(look.quiet_for), due_in)
        while trio.current_time() < until:
            with trio.move_on_at(until):
                delay = await self._alarm.wait()
                until = min(until, trio.current_time() + delay)
        with trio.move_on_at(began + BREATH):
            await self._progress.wait()

    @trio.lowlevel.enable_ki_protection
    async def _claim(self) -> None:
        """Claim whenever a look found something."""
        errors = 0
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            try:
                with self._core.valve.ending(lambda: self._turn.runs) as scope:
                    await self._claim_after_gap()
                if scope.cancelled_caught:  # there may be something when the valve opens
                    self._wanted.set()
                    continue
                errors = 0
            except BusError as error:
                errors += 1
                self._core.report(Scope.CLAIM, error)
                await self._core.pause(errors)
            self._claiming = False
            if self._missed:
                self._missed = False
                self._alarm.ring(0)

    async def _claim_after_gap(self) -> None:
        """Take over once; after a gap, look again one tick later instead."""
        taken = await self._consumer.take_permits(self._core.config.max_in_flight)
        left = self._before_claims.left()
        if left > 0:
            self._core.permits.give_back(taken)
            self._alarm.ring(left)
        elif await self._claim_once(taken):
            self._missed = True
            self._progress.set()

    async def _claim_once(self, taken: int) -> bool:
        """Take over once; say whether it brought anything."""
        result, sent = TakeOver(), trio.current_time()
        try:
            result = await self._core.member.take_over(taken, book=self._turn.is_wanted)
        finally:
            self._core.permits.give_back(taken - len(result.entries))
            self._core.receive(result.entries, sent, Transition.TAKEN_OVER)
        self._core.history.claimed(result)
        if result.booked is not None:
            await self._turn.give(result.booked)
            return True
        return bool(result.entries or result.suspects or result.buried or result.gone)
