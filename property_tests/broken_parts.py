"""Parts of trio_bus with one fault each, which takes lost answers, time or deaths to do harm."""

# pyright: reportPrivateUsage=false
# The faults are inside.

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from msgspec.structs import replace

from trio_bus._errors import BusError, RemoteError
from trio_bus._memory import takeover
from trio_bus._observer import Scope
from trio_bus._policy import Policy
from trio_bus._settled import Settled
from trio_bus._subscription import flusher
from trio_bus._subscription.flusher import Flusher
from trio_bus._subscription.reclaimer import Reclaimer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from trio_bus._backend import Entry, TakeOver
    from trio_bus._config import SubscriptionConfig
    from trio_bus._memory.custody import Custody
    from trio_bus._settling import Settling


def loses_a_wake_up(patch: pytest.MonkeyPatch) -> None:
    """After a claim that failed nobody is told any more that there is something to claim."""

    async def claim(self: Reclaimer) -> None:
        while True:
            await self._wanted.wait()
            self._wanted = type(self._wanted)()
            try:
                await self._claim_after_gap()
            except BusError as error:
                self._core.report(Scope.CLAIM, error)
                continue  # and it still counts as being under way
            self._claiming = False

    patch.setattr(Reclaimer, "_claim", claim)


def counts_from_one_after_a_take_over(patch: pytest.MonkeyPatch) -> None:
    """Whoever kills its process is tried for ever."""
    real = takeover.take_over

    def take_over(custody: Custody, count: int, now_ms: int, *, book: bool = False) -> TakeOver:
        found = real(custody, count, now_ms, book=book)
        place = custody.place()
        entries: list[Entry] = []
        for entry in found.entries:
            place.group.pending[entry.id].count = 1
            entries.append(replace(entry, attempt=1))
        return attrs.evolve(found, entries=tuple(entries))

    patch.setattr(takeover, "take_over", take_over)


def swaps_the_results_of_a_batch(patch: pytest.MonkeyPatch) -> None:
    """Of what is settled together, each is told what became of another one."""
    real = Flusher._answered

    def answered(
        self: Flusher, batch: Sequence[Settling], outcomes: Sequence[Settled | RemoteError]
    ) -> None:
        real(self, batch, outcomes[::-1])

    patch.setattr(Flusher, "_answered", answered)


def retries_twice_as_often(patch: pytest.MonkeyPatch) -> None:
    """The limit is not that of the configuration."""
    real = Policy.__init__

    def init(self: Policy, config: SubscriptionConfig, random: Callable[[], float]) -> None:
        real(self, config, random)
        self.max_attempt *= 2

    patch.setattr(Policy, "__init__", init)


def believes_the_second_answer(patch: pytest.MonkeyPatch) -> None:
    """A settlement whose answer was lost is sent again, and "not yours any more" is believed."""

    def judged(settling: Settling, outcome: Settled) -> Settled:
        return outcome

    patch.setattr(flusher, "_judged", judged)


def never_settles_again(patch: pytest.MonkeyPatch) -> None:
    """A settlement that was refused counts as done."""
    real = Flusher._settle

    async def settle(self: Flusher, batch: list[Settling]) -> None:
        await real(self, batch)
        refused = [settling for settling in self._refused if not settling.over]
        for settling in refused:
            settling.end(Settled.DONE)
        self._end(refused)
        self._refused.clear()

    patch.setattr(Flusher, "_settle", settle)
