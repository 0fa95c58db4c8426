"""What was read and waits for the user's own loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from trio_bus._delivery import Delivery

if TYPE_CHECKING:
    from trio_bus._holding import Holding

    from .core import Core


class Buffer:
    """Hands out deliveries one by one, until it is closed."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # Without a bound of its own: what is in it holds a permit.
        self._arrived, self._waiting = trio.open_memory_channel["Holding"](math.inf)

    def deliver(self, holdings: list[Holding]) -> None:
        """Hand these out next; after `close`, leave them to be released."""
        try:
            for holding in holdings:
                self._arrived.send_nowait(holding)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return

    async def take(self) -> Holding:
        """Wait for one; lost and expired ones are passed over. It is for whoever takes it then.

        Raises:
          trio.EndOfChannel: after `close`.
        """
        while True:
            holding = await self._waiting.receive()
            if await self._is_ours(holding) and not self._core.inspection.expire(holding):
                holding.given_out = True
                return holding

    def take_nowait(self) -> Holding | None:
        """Return one that is there and may start at once; None if there is none."""
        while True:
            try:
                holding = self._waiting.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                return None
            if holding.is_doubtful:
                self._core.hand_back(holding)
            elif holding.open and not self._core.inspection.expire(holding):
                holding.given_out = True
                return holding

    def give_back(self, holding: Holding) -> None:
        """Give back what was taken and is not handled after all."""
        if holding.open:
            self._core.hand_back(holding)

    def start(self, holding: Holding) -> Delivery:
        """Hand out what was taken: the user's own loop begins with it."""
        self._core.history.started(holding)
        return Delivery(holding)

    def start_all(self, holdings: list[Holding]) -> list[Delivery]:
        """Hand out those that can still start: some may have waited for others."""
        expire = self._core.inspection.expire
        return [self.start(it) for it in holdings if it.open and not expire(it)]

    async def _is_ours(self, holding: Holding) -> bool:
        """Say whether it is; if that has to be asked and is cancelled, give it back."""
        try:
            return await self._core.leases.check(holding)
        except BaseException:
            if holding.open:
                self._core.hand_back(holding)
            raise

    def close(self) -> None:
        """End iteration, and give back what nobody has received."""
        self._arrived.close()
        self.recall()

    def recall(self) -> None:
        """Give back what nobody has received."""
        while True:
            try:
                holding = self._waiting.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                return
            if holding.open:
                self._core.hand_back(holding)

    def cancel(self) -> None:
        """Do nothing: the user's tasks are not ours to cancel."""

    async def wait_finished(self) -> None:
        """Return at once: the user's tasks are not ours to wait for."""
        await trio.lowlevel.checkpoint()

    async def run(self) -> None:
        """Return at once: there is no task to run."""
        await trio.lowlevel.checkpoint()
