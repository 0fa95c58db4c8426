"""The task that reads new entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_bus._backend import Entry
from trio_bus._errors import BusError, GroupMissing
from trio_bus._observer import Scope
from trio_bus._trio_util import AsyncValue

from .company import Company

if TYPE_CHECKING:
    from .core import Core
    from .group import Group

READS_PER_LEASE = 4
"""At least. A lease runs from when the read was sent: one that waited for long brings old ones."""


class Consumer:
    """Takes permits, reads at most that many entries, and hands the whole read on.

    Invariant: while it is in a read it holds the permits for what the read may bring, and
    ``_read_scope`` ends that read. A read that is ended brings nothing: the backend hands back
    what came too late.
    """

    def __init__(self, core: Core, group: Group) -> None:
        self._core = core
        self._group = group
        self._read_scope: trio.CancelScope | None = None
        self._errors = 0
        self._read_ended = trio.lowlevel.ParkingLot()
        self._waits = AsyncValue(0)
        self._company = Company(core.permits, core.config.max_in_flight)
        self._longest = min(core.config.block_timeout, core.lease / READS_PER_LEASE)

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                with self._core.valve.ending() as scope:
                    await self._read_on(scope)
            except BusError as error:
                self._errors += 1
                self._core.report(Scope.READ, error)
                await self._core.pause(self._errors)
                if isinstance(error, GroupMissing):
                    await self._group.recreate()

    async def take_permits(self, at_most: int) -> int:
        """Take permits for a claim: free ones, else those of a read that waits for entries.

        Without this a blocked read would hold the last permit while released entries wait.
        """
        self._waits.value += 1
        try:
            if self._core.permits.free == 0 and self._read_scope is not None:
                self._read_scope.cancel("a claim needs its permits")
            return await self._core.permits.take(at_most)
        finally:
            self._waits.value -= 1

    async def wait_out(self) -> None:
        """Wait until no read is under way."""
        await trio.lowlevel.checkpoint()
        while self._read_scope is not None:
            await self._read_ended.park()

    async def pause(self) -> None:
        """Begin no read until `go_on`; return when the one under way has ended."""
        self._waits.value += 1
        if self._read_scope is not None:
            self._read_scope.cancel("a suspect is to run alone")
        await self.wait_out()

    def go_on(self) -> None:
        """Take back one `pause`, also one that was cancelled."""
        self._waits.value -= 1

    async def _read_on(self, scope: trio.CancelScope) -> None:
        """Read until the scope is cancelled: one for each read would cost more than the read."""
        while True:
            await trio.lowlevel.checkpoint_if_cancelled()  # a read may end as if it were not
            await self._read_once(scope)
            self._errors = 0

    async def _read_once(self, scope: trio.CancelScope) -> None:
        if self._waits.value:
            await self._waits.wait_value(0)
        await self._company.wait()
        permits = self._core.permits
        taken = await permits.take(self._core.config.max_in_flight)
        if self._waits.value:  # a claim began to wait behind us: it goes first
            permits.give_back(taken)
            return
        entries: list[Entry] = []
        self._read_scope = scope
        sent = trio.current_time()
        try:
            entries = await self._core.member.read(taken, self._longest)
            self._company.came(taken, len(entries))
        finally:
            self._read_scope = None
            permits.give_back(taken - len(entries))
            self._core.receive(entries, sent)
            if self._read_ended:
                self._read_ended.unpark_all()
