"""Batches, out of what was read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import trio

from trio_bus._batch import Batch
from trio_bus._checks import MAX_SECONDS, is_number
from trio_bus._errors import ValidationError
from trio_bus._names import shown

if TYPE_CHECKING:
    from trio_bus._holding import Holding

    from .buffer import Buffer, Gathering
    from .core import Core


class Batches:
    """An asynchronous iterator over batches; see `PullSubscription.batches`."""

    def __init__(self, core: Core, buffer: Buffer, max_size: int | None, max_wait: float) -> None:
        self._core = core
        self._buffer = buffer
        self._max_size = _checked_size(max_size, core.config.max_in_flight)
        if not is_number(max_wait) or not 0 <= max_wait <= MAX_SECONDS:
            raise ValidationError(
                f"max_wait: {shown(max_wait)} is not 0 to {MAX_SECONDS:g} seconds"
            )
        self._max_wait = max_wait

    def __aiter__(self) -> Batches:
        return self

    async def __anext__(self) -> Batch:
        """Wait for the next batch."""
        with self._buffer.gathering() as gathering:
            try:
                while True:
                    await self._fill(gathering)
                    if holdings := self._start(gathering):
                        return Batch(holdings)
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
            except BaseException:
                self._buffer.give_back(gathering.holdings)
                raise

    async def _fill(self, gathering: Gathering) -> None:
        """Take more until it is complete. What is given back meanwhile counts no longer."""
        gathering.holdings, until = [], math.inf
        while len(gathering.holdings) < self._max_size:
            holding = self._buffer.take_nowait() if gathering.holdings else None
            if holding is None and trio.current_time() >= until:
                return
            more = await self._next(until) if holding is None else [holding]
            gathering.sort_out()
            if not gathering.holdings:
                until = trio.current_time() + self._max_wait if more else math.inf
            gathering.holdings += more
            if any(it.entry.suspect for it in more):  # nothing else comes while it is held
                return

    async def _next(self, until: float) -> list[Holding]:
        """Wait for one more, until then."""
        more: list[Holding] = []
        with trio.move_on_at(until):
            more.append(await self._buffer.take())
        return more

    def _start(self, gathering: Gathering) -> list[Holding]:
        """Give out what has not expired meanwhile."""
        inspection = self._core.inspection
        holdings = [it for it in gathering.holdings if not inspection.expire(it)]
        self._buffer.give_out(*holdings)
        return holdings


def _checked_size(max_size: int | None, most: int) -> int:
    if max_size is None:
        return most
    value = cast("object", max_size)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ValidationError(f"max_size: {shown(value)} is not 1 to {most}, the max_in_flight")
    return value
