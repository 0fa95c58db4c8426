"""What one consumer can do with its group, one script call each. Nothing here keeps state."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

import attrs
import trio

from trio_bus._backend import (
    Ack,
    Bury,
    Commit,
    Death,
    DeathCause,
    Entry,
    Membership,
    Receipt,
    Release,
    Retry,
    Settlement,
    TakeOver,
)
from trio_bus._dead_letter import encode_text
from trio_bus._entry_id import EntryId
from trio_bus._errors import ConnectionLost, RemoteError
from trio_bus._look import Look
from trio_bus._names import own_key
from trio_bus._patience import longest_quiet, patience
from trio_bus._settled import Settled
from trio_bus._suspects import suspicious_from

from . import scripts
from .committing import committing
from .errors import to_exception
from .graves import notes_key
from .link import Link
from .private import expiry_ms, private_groups_key, remove, remove_expired
from .replies import as_entry_id, as_int, as_list, as_record, as_row, as_text, checked
from .resp import Argument, ErrorReply, Reply, pack
from .retaining import retained_keys, retention_arguments
from .schedule import schedule_keys, wake_channel
from .scripts import ScriptCall

_PER_CALL = 1000
_RENEWED_PER_CALL = 100
"""Each takes a server 4 to 9 microseconds: no call holds it up for more than a millisecond."""
_EXTRA_LOOKS = 100
_PAGE = 1000
_MOST_DUE = 100
_LARGEST_DUE = 1024 * 1024
"""How many scheduled messages, and after how many bytes of them no more, one look appends."""
_AT_ONCE = -1
_EXHAUSTED = Death(
    DeathCause.EXHAUSTED,
    "trio_bus.AttemptsExhausted",
    "delivered %d times without being settled",
)
_ANSWERS = {
    scripts.DONE: Settled.DONE,
    scripts.LOST: Settled.LOST,
    scripts.GONE: Settled.GONE,
    scripts.ABSENT: Settled.ABSENT,
    scripts.FINISHED: Settled.FINISHED,
}


@attrs.frozen
class _Part:
    """A script call that settles some of many: *places* says which."""

    call: ScriptCall
    places: Sequence[int]


class Group:
    """The group of one membership, on the server that *link* leads to."""

    def __init__(self, link: Link, membership: Membership) -> None:
        self._link = link
        self._us = membership
        due = own_key(membership.topic, "due", membership.group)
        self._keys = (membership.topic, due)
        tending = own_key(membership.topic, "tending", membership.group)
        active = own_key(membership.topic, "active", membership.group)
        private = private_groups_key(membership.topic)
        self._retention = retention_arguments(membership)
        self._look_keys = (
            *(*self._keys, *schedule_keys(membership.topic), tending, active, private),
            *retained_keys(membership),
        )
        self._renew_keys = (membership.topic, private)
        self._expiry_ms = expiry_ms(membership.expiry)
        self._longest = longest_quiet(membership)
        self._channel = wake_channel(membership.topic)
        dead_letters = membership.dead_letter_topic
        buried = (*self._keys, notes_key(membership.topic, membership.group))
        self.bury_keys = buried if dead_letters is None else (*buried, dead_letters)
        self._who = (membership.group, membership.consumer)
        times = (membership.lease, membership.tend_every, patience(membership))
        self._times = tuple(math.ceil(seconds * 1000) for seconds in times)
        self._suspicious_from = suspicious_from(membership.max_attempt)
        self._asked, self._packed = (0, 0), b""  # the last read

    def pack_read(self, count: int, block_ms: int) -> bytes:
        """Pack the blocking read of at most *count* new entries."""
        if (count, block_ms) != self._asked:  # who handles one at a time always asks the same
            self._asked = (count, block_ms)
            self._packed = pack(
                (
                    *("XREADGROUP", "GROUP", *self._who, "COUNT", count),
                    *("BLOCK", block_ms, "STREAMS", self._us.topic, ">"),
                )
            )
        return self._packed

    async def look(self, *, hears: bool = False) -> Look:
        """Tend the group if it is time; tell what there is to take, and when.

        *hears* says whether all wake-ups are heard: else it may be time to look at any moment.
        """
        arguments: tuple[Argument, ...] = (
            *self._who,
            self._channel,
            *self._times,
            *(1 + _EXTRA_LOOKS, _MOST_DUE, _LARGEST_DUE, self._expiry_ms),
            *self._retention,
        )
        reply = await self._run("look", self._look_keys, arguments)
        claimable, due_ms, quiet_ms, refusal, gone, expired, trimmed = as_row(reply, 7)
        with suppress(ConnectionLost):  # the look has happened; the next one removes them
            groups = [as_text(name) for name in as_list(expired)]
            await remove_expired(self._link, self._us.topic, groups)
        wait_ms, why = as_int(due_ms), as_text(refusal).removeprefix("-")
        return Look(
            claimable=as_int(claimable) == 1,
            due_in=None if wait_ms < 0 else wait_ms / 1000,
            quiet_for=min(as_int(quiet_ms) / 1000, self._longest) if hears else 0.0,
            refusal=to_exception(ErrorReply(why)) if why else None,
            gone=tuple(as_entry_id(entry_id) for entry_id in as_list(gone)),
            trimmed=as_int(trimmed),
        )

    async def take_over(self, count: int, suspect: EntryId | None, *, book: bool) -> TakeOver:
        """Take what is due, released or abandoned; or, where one is given, that suspect alone."""
        wish = ("book" if book else "") if suspect is None else str(suspect)
        reply = await self._run("take_over", self.bury_keys, self.taking(count, (wish,)))
        return taken_from(reply, alone=suspect is not None)

    def taking(self, count: int, wish: Sequence[Argument]) -> tuple[Argument, ...]:
        """Return what the script for taking over is told; *wish* is the end of it."""
        return (
            *(*self._who, count, self._times[0], self._us.max_attempt, _EXTRA_LOOKS),
            *(_EXHAUSTED.cause.value, _EXHAUSTED.error_type, _EXHAUSTED.error_text),
            *(self._suspicious_from, *wish),
        )

    async def book(self, suspect: EntryId, *, keep: bool) -> bool:
        """Book a suspect for another lease, or give it up; say whether it is still set apart."""
        arguments = (self._who[0], self._channel, str(suspect), int(keep))
        return as_int(await self._run("booking", self._keys[:1], arguments)) == 1

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled | RemoteError]:
        """Settle many in one write; one result, or the refusal, for each."""
        if self._may_ack(settlements) and await self._ack(settlements):  # nearly always
            return [Settled.DONE] * len(settlements)
        parts = list(self._parts(settlements))
        replies = await scripts.run_many(self._link, [part.call for part in parts])
        results: list[Settled | RemoteError] = [Settled.LOST] * len(settlements)
        for part, reply in zip(parts, replies, strict=True):
            for place, result in zip(part.places, _codes(reply, len(part.places)), strict=True):
                results[place] = result
        return results

    async def renew(self, receipts: Collection[Receipt]) -> dict[EntryId, Settled]:
        """Start the lease of each anew; return those where that is over, and why."""
        pairs = [pair for receipt in receipts for pair in _pair(receipt)]
        calls = [
            ScriptCall(
                "renew",
                self._renew_keys,
                (*self._who, self._expiry_ms, *pairs[at : at + 2 * _RENEWED_PER_CALL]),
            )
            for at in range(0, len(pairs), 2 * _RENEWED_PER_CALL)
        ]
        replies = await scripts.run_many(self._link, calls)
        rows = [as_row(row, 2) for reply in replies for row in as_list(reply)]
        return {as_entry_id(entry_id): _ANSWERS[as_int(code)] for entry_id, code in rows}

    @property
    def is_private(self) -> bool:
        """Whether it is that of one consumer alone."""
        return self._us.expiry is not None

    async def forget(self) -> bool:
        """Remove this consumer unless it owns entries, or its private group."""
        if self.is_private:
            await remove(self._link, self._us.topic, self._us.group)
            return True
        return as_int(await self._run("forget", self._keys[:1], self._who)) == 1

    async def pending(self) -> list[Receipt]:
        """Return all that the server holds as delivered to this consumer.

        Raises:
          GroupMissing: the group does not exist.
        """
        found: list[Receipt] = []
        start = "-"
        while True:
            command = ("XPENDING", self._us.topic, self._us.group, start, "+", _PAGE, self._who[1])
            rows = [as_row(row, 4) for row in as_list(await self._link.call(*command))]
            found += [self._stray(as_entry_id(row[0]), as_int(row[3])) for row in rows]
            if len(rows) < _PAGE:
                return found
            start = f"({found[-1].id}"

    def _stray(self, entry_id: EntryId, attempt: int) -> Receipt:
        """Nobody knows any more whether it was a suspect; so its counts decide."""
        suspect = attempt - 1 >= self._suspicious_from
        return Receipt(entry_id, attempt, suspect=suspect)

    async def _run(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Reply:
        return checked(await scripts.run(self._link, ScriptCall(name, keys, arguments)))

    def _parts(self, settlements: Sequence[Settlement]) -> Iterator[_Part]:
        """Sort settlements by script; what one call can do for many goes into one call."""
        acks = [at for at, it in enumerate(settlements) if isinstance(it, Ack)]
        backs = [at for at, it in enumerate(settlements) if isinstance(it, Retry | Release)]
        for places in _chunks(acks):
            pairs = [word for at in places for word in _pair(settlements[at].receipt)]
            yield _Part(ScriptCall("ack", self._keys[:1], (*self._who, *pairs)), places)
        for places in _chunks(backs):
            words = [word for at in places for word in _hand_back(settlements[at])]
            arguments = (*self._who, self._channel, *words)
            yield _Part(ScriptCall("hand_back", self._keys, arguments), places)
        for at, settlement in enumerate(settlements):
            if isinstance(settlement, Bury):
                yield _Part(self._bury(settlement), (at,))
            elif isinstance(settlement, Commit):
                yield _Part(committing(self._us.topic, *self._who, settlement), (at,))

    def _may_ack(self, settlements: Sequence[Settlement]) -> bool:
        """Say whether all are acks of what nobody else can have, and can be sent at once."""
        now = trio.current_time()
        if self._link.current is None:
            return False
        return all([type(it) is Ack and it.held_until > now for it in settlements])  # noqa: C419 - faster

    async def _ack(self, settlements: Sequence[Settlement]) -> bool:
        """Ack all, whoever has them; say whether they are done.

        A server takes a tenth of the time of a script for that. Where none of them was pending,
        nothing was done, and a script can say why. Where some were not, they are done all the same.
        """
        ids = ["%d-%d" % it.receipt.id for it in settlements]  # noqa: UP031 - str without a call
        # As `call` does it, without one more coroutine: each message that runs alone has one.
        data = pack(("XACK", self._us.topic, self._us.group, *ids))
        acked = (await self._link.exchange(data, 1)).unwrap()[0]
        return isinstance(acked, int) and acked > 0

    def _bury(self, settlement: Bury) -> ScriptCall:
        death = settlement.death
        why = [
            encode_text(text) for text in (death.cause.value, death.error_type, death.error_text)
        ]
        return ScriptCall("bury", self.bury_keys, (*self._who, *_pair(settlement.receipt), *why))


def _chunks(places: Sequence[int]) -> Iterator[Sequence[int]]:
    return (places[at : at + _PER_CALL] for at in range(0, len(places), _PER_CALL))


def _pair(receipt: Receipt) -> tuple[str, int]:
    return str(receipt.id), receipt.attempt


def _hand_back(settlement: Settlement) -> tuple[Argument, ...]:
    """Return id, attempt, new count, delay, and whether it stays a suspect, for the script."""
    receipt = settlement.receipt
    if isinstance(settlement, Retry):
        return *_pair(receipt), receipt.attempt, math.ceil(settlement.delay * 1000), 0
    delay = settlement.delay if isinstance(settlement, Release) else 0.0
    delay_ms = math.ceil(delay * 1000) if delay > 0 else _AT_ONCE
    return *_pair(receipt), receipt.attempt - 1, delay_ms, int(receipt.suspect)


def _codes(reply: Reply, count: int) -> list[Settled | RemoteError]:
    """Return one result for each; a refusal is a refusal of each."""
    if isinstance(reply, ErrorReply):
        return [to_exception(reply) for _ in range(count)]
    return [_ANSWERS[as_int(code)] for code in as_list(reply)]


def taken_from(reply: Reply, *, alone: bool = False) -> TakeOver:
    """Return what the script for taking over answered; *alone*: what it brought is a suspect."""
    entries, buried, gone, suspects, booked = as_row(reply, 5)[:5]
    return TakeOver(
        tuple(_entry(row, suspect=alone) for row in as_list(entries)),
        tuple(_receipt(row) for row in as_list(buried)),
        tuple(as_entry_id(entry_id) for entry_id in as_list(gone)),
        tuple(_receipt(row) for row in as_list(suspects)),
        as_entry_id(booked) if booked else None,
    )


def _entry(row: Reply, *, suspect: bool) -> Entry:
    entry_id, fields, attempt = as_row(row, 3)
    return Entry(as_entry_id(entry_id), as_record(fields), as_int(attempt), suspect=suspect)


def _receipt(row: Reply) -> Receipt:
    entry_id, attempt = as_row(row, 2)
    return Receipt(as_entry_id(entry_id), as_int(attempt))
