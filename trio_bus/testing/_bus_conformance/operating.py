"""What an operator does in a play: send back what is dead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING, TypeVar

from trio_bus._backend import GroupMember, Membership, StreamBackend
from trio_bus._bus import Bus
from trio_bus._entry_id import EntryId
from trio_bus._errors import RemoteError
from trio_bus._graves import Grave, Redriven
from trio_bus.testing._ears import tell_redriven
from trio_bus.testing._interposed import InterposedBackend
from trio_bus.testing._invariants.redrives import Redrives

if TYPE_CHECKING:
    from .play import Play

T = TypeVar("T")


class Operating:
    """Sends back what is dead. All that is sent back is told to the journal of one play."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._bus = Bus(_ToldBackend(play.backend, play))

    @property
    def dead(self) -> list[tuple[str, str]]:
        """The topics and groups of which something is dead."""
        return self._play.judge.rule(Redrives).groups

    def redrive(self, which: int, *, one: bool) -> None:
        """Send back what one of those groups gave up, or the first of it."""
        topic, group = self.dead[which % len(self.dead)]
        self._play.pump.run(self._redrive, self._play.place_of_dead(topic, group), group, one)

    async def _redrive(self, topic: str, group: str, one: bool) -> None:  # noqa: FBT001 - handed on
        if not one:
            await self._bus.redrive(topic, everything=True, group=group)
            return
        async for message in self._bus.dead_letters(topic, group=group):
            ids: Collection[EntryId] = [message.id]
            await self._bus.redrive(topic, ids=ids, group=group)
            return


class _ToldBackend(InterposedBackend[StreamBackend]):
    """The backend of the operator.

    Where time is real a consumer may have what was sent back before the answer is here. So it is
    told when it is asked for: nobody else sends anything back.
    """

    def __init__(self, inner: StreamBackend, play: Play) -> None:
        super().__init__(inner)
        self._play = play

    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002 - of the interface
        """Do it."""
        return await act()

    def interpose(self, member: GroupMember, membership: Membership) -> GroupMember:  # noqa: ARG002 - of the interface
        """Return it: nobody joins here."""
        return member

    async def redrive(self, dead: Sequence[Grave]) -> list[Redriven | RemoteError]:
        """Send them back; see `StreamBackend.redrive`."""
        if not self._play.virtual_time:
            tell_redriven(self._play.journal, dead, [Redriven.DONE] * len(dead))
        results = await super().redrive(dead)
        if self._play.virtual_time:
            tell_redriven(self._play.journal, dead, results)
        return results
