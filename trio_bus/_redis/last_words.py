"""What has to be heard to its end, also when whoever asked is cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from trio_bus._one_error import one_error

T = TypeVar("T")


@trio.lowlevel.enable_ki_protection
async def see_through(act: Callable[[], Awaitable[T]], seconds: float) -> tuple[T, float]:
    """Run *act* to its end, cancelled or not; from a cancellation on it has so many seconds.

    A cancellation does not take the result away: the caller has to look for it.

    Returns:
      What *act* returned, and when those seconds are over; infinity if they have not begun.

    Raises:
      trio.Cancelled: the seconds were not enough.
    """
    with one_error():
        async with trio.open_nursery() as nursery:
            with trio.CancelScope(shield=True) as scope:
                nursery.start_soon(_limit, scope, seconds)
                result = await act()
                nursery.cancel_scope.cancel()
                return result, scope.deadline
    return await trio.sleep_forever()  # it is being cancelled: this says so


@trio.lowlevel.enable_ki_protection
async def _limit(scope: trio.CancelScope, seconds: float) -> None:
    """Wait for a cancellation. It is not raised here, or it would replace the result."""
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        scope.deadline = trio.current_time() + seconds
