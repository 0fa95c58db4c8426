"""What a member of a group can do besides where messages of one key are kept in order."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from ._entry_id import EntryId

if TYPE_CHECKING:
    from ._backend import Record, TakeOver


@attrs.frozen
class Parked:
    """An entry that is pending in the group and belongs to no delivery of ours.

    ``record`` is None where the entry was deleted. ``held``, in a survey: a consumer has it, and
    may be at work with it.
    """

    id: EntryId
    record: Record | None
    held: bool = False


@attrs.frozen
class Queue:
    """A part of what is pending, in id order.

    ``last`` is, of a survey, the id after which it goes on, or None at its end; of a draw, the id
    up to which everything has been delivered to this group.
    """

    entries: tuple[Parked, ...] = ()
    last: EntryId | None = None


@attrs.frozen
class Start:
    """What became of the entries that were to be started: each is in one of these.

    ``taken`` has those that are ours now, those that were buried or gone, and those that turned out
    to be suspects. ``due`` wait for their time and ``held`` for the end of somebody's lease, in so
    many seconds. ``apart`` are suspects that were set apart before, ``over`` were finished. What
    is in none of them could not be buried, and stays.
    """

    taken: TakeOver
    due: Mapping[EntryId, float] = attrs.field(factory=dict[EntryId, float])
    held: Mapping[EntryId, float] = attrs.field(factory=dict[EntryId, float])
    apart: tuple[EntryId, ...] = ()
    over: tuple[EntryId, ...] = ()


class OrderedMember(abc.ABC):
    """One consumer of a group in which one is active, and keeps the order.

    Whoever is active has a token. A word with an older token has no effect, however late it comes:
    that is the fence.
    """

    __slots__ = ()

    @abc.abstractmethod
    async def lead(self, token: int | None) -> int | None:
        """Become active for a lease, or stay it with *token*; return our token, or None.

        None: somebody else is active, and his lease has not run out; or, with a token, it is not
        the newest. Whoever is active and asks without one gets a new one, which ends the old one.
        """

    @abc.abstractmethod
    async def give_up_lead(self) -> None:
        """Be active no more, if we are, and wake the others.

        Cancellation: may have happened.
        """

    @abc.abstractmethod
    async def survey(self, after: EntryId | None, count: int) -> Queue:
        """Tell what is pending in the group behind *after*, whoever has it; not what is dead.

        Looks at *count* entries, or at less where they are large. Nothing changes.
        """

    @abc.abstractmethod
    async def draw(self, token: int, count: int) -> Queue | None:
        """Move the next new entries to where they wait for their key, uncounted; at most *count*.

        None: *token* is not the newest. It does not wait.

        Cancellation: may have happened; a survey finds them.
        """

    @abc.abstractmethod
    async def start(
        self, token: int, entry_ids: Sequence[EntryId], *, alone: bool = False
    ) -> Start | None:
        """Take these entries where nobody else has them and their time has come, counted.

        Over-limit ones are buried and suspects set apart, as `GroupMember.take_over` does; with
        *alone* suspects are taken too. One atomic step. None: *token* is not the newest.

        Cancelled, what it brought is released, uncounted.
        """

    @abc.abstractmethod
    async def grown(self, after: EntryId, timeout: float) -> None:
        """Wait up to *timeout* seconds until the topic has an entry behind *after*. It is a hint.

        Only one task may wait.
        """
