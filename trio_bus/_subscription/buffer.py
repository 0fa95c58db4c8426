"""What was read and waits for the user's own loop."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from trio_bus._delivery import Delivery

if TYPE_CHECKING:
    from trio_bus._holding import Holding

    from .core import Core


@attrs.define(eq=False)
class Gathering:
    """What was taken for a batch that is not complete: nobody has received it yet."""

    holdings: list[Holding] = attrs.field(factory=list["Holding"])

    def sort_out(self) -> None:
        """Forget what is lost, or was given back."""
        self.holdings = [holding for holding in self.holdings if holding.open]


class Buffer:
    """Hands out deliveries one by one, until it is closed."""

    def __init__(self, core: Core) -> None:
        self._core = core
        # Without a bound of its own: what is in it holds a permit.
        self._arrived, self._waiting = trio.open_memory_channel["Holding"](math.inf)
        self._gatherings: dict[Gathering, None] = {}  # a dict, for its order

    def deliver(self, holdings: list[Holding]) -> None:
        """Hand these out next; after `close`, leave them to be released."""
        try:
            for holding in holdings:
                self._arrived.send_nowait(holding)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return

    async def receive(self) -> Delivery:
        """Wait for one; lost and expired ones are passed over.

        Raises:
          trio.EndOfChannel: after `close`.
        """
        holding = await self.take()
        self.give_out(holding)
        return Delivery(holding)

    async def take(self) -> Holding:
        """Wait for one that may be given out at once."""
        while True:
            holding = await self._waiting.receive()
            if await self._is_ours(holding) and not self._core.inspection.expire(holding):
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
                return holding

    @contextmanager
    def gathering(self) -> Generator[Gathering, None, None]:
        """Keep what was taken, and is not given out yet, where it can be recalled."""
        gathering = Gathering()
        self._gatherings[gathering] = None
        try:
            yield gathering
        finally:
            del self._gatherings[gathering]

    def give_out(self, *holdings: Holding) -> None:
        """Start these, as far as we know."""
        for holding in holdings:
            holding.given_out = True
        self._core.history.started(trio.current_time(), *holdings)

    def give_back(self, holdings: Iterable[Holding]) -> None:
        """Give back what is not handled after all."""
        for holding in holdings:
            if holding.open:
                self._core.hand_back(holding)

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
        for gathering in self._gatherings:
            self.give_back(gathering.holdings)
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
