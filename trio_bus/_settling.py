"""One settlement on its way to the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from ._backend import Commit, Settlement
from ._errors import BusError, LeaseLost
from ._settled import Settled

if TYPE_CHECKING:
    from ._holding import Holding


class Settling(msgspec.Struct, eq=False):
    """One settlement on its way to the server.

    ``uncertain`` once an earlier try may have reached the server: then "not ours any more" is how
    success looks.
    """

    settlement: Settlement
    holding: Holding
    """Gone when it is over."""
    reason: str = ""
    tries: int = 0
    not_before: float = 0.0
    uncertain: bool = False
    last_error: Exception | None = None
    outcome: Settled | None = None
    abandoned: BusError | None = None
    since: float = msgspec.field(default_factory=trio.current_time)
    """By trio's clock: when it was asked for."""
    ended: trio.Event | None = None
    """While somebody waits."""

    def __repr__(self) -> str:
        return f"<Settling {self.settlement}: {self.outcome}>"

    @property
    def over(self) -> bool:
        """Whether it was answered, or given up."""
        return self.outcome is not None or self.abandoned is not None

    def end(self, outcome: Settled) -> None:
        """Record what became of it and wake who waits."""
        self.outcome = outcome
        self._wake()

    def unconfirmed(self) -> BusError:
        """Return an error that says that this was not confirmed, and what kept it from being."""
        what, entry_id = type(self.settlement).__name__, self.holding.entry.id
        error = BusError(f"{what} of entry {entry_id} is not confirmed")
        error.__cause__ = self.last_error
        return error

    def abandon(self, error: BusError) -> None:
        """Stop trying: whoever waits gets *error*."""
        self.abandoned = error
        self._wake()

    async def confirmed(self) -> None:
        """Wait until the server has confirmed it.

        Raises:
          LeaseLost: the entry was not ours any more, or what was to be published with its ack was
            not, since it was deleted; nothing was settled.

        Cancellation: the settlement goes on.
        """
        if not self.over:
            if self.ended is None:
                self.ended = trio.Event()
            await self.ended.wait()
        else:
            await trio.lowlevel.checkpoint()
        if self.abandoned is not None:
            raise type(self.abandoned)(str(self.abandoned)) from self.abandoned
        if self.outcome is Settled.LOST:
            raise LeaseLost(f"entry {self.holding.entry.id} is no longer ours")
        if self.outcome is Settled.GONE and isinstance(self.settlement, Commit):
            raise LeaseLost(f"entry {self.holding.entry.id} was deleted; nothing was published")

    def _wake(self) -> None:
        if self.ended is not None:
            self.ended.set()
