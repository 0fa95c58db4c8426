"""Batches, out of what was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import trio

from trio_bus._batch import Batch
from trio_bus._checks import MAX_SECONDS, is_number
from trio_bus._errors import ValidationError
from trio_bus._names import shown

if TYPE_CHECKING:
    from trio_bus._holding import Holding

    from .buffer import Buffer
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
        while True:
            try:
                taken = [await self._buffer.take()]
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
            try:
                await self._fill(taken)
            except BaseException:
                for holding in taken:
                    self._buffer.give_back(holding)
                raise
            deliveries = self._buffer.start_all(taken)
            if deliveries:
                return Batch(deliveries)

    async def _fill(self, taken: list[Holding]) -> None:
        """Take more, until it is complete."""
        until = trio.current_time() + self._max_wait
        while len(taken) < self._max_size:
            holding = self._buffer.take_nowait()
            if holding is None and trio.current_time() >= until:
                return
            if holding is None:
                try:
                    with trio.move_on_at(until):
                        holding = await self._buffer.take()
                except trio.EndOfChannel:
                    return
            if holding is not None:
                taken.append(holding)


def _checked_size(max_size: int | None, most: int) -> int:
    if max_size is None:
        return most
    value = cast("object", max_size)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ValidationError(f"max_size: {shown(value)} is not 1 to {most}, the max_in_flight")
    return value
