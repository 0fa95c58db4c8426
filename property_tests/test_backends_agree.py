"""A backend does what the contract says: random operations against a model of where entries are."""

# pyright: reportPrivateUsage=false
# What a look appends gets ids that only the inside tells.

from __future__ import annotations

import math
from datetime import UTC, datetime
from random import Random

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from trio_bus._backend import (
    Ack,
    Bury,
    Death,
    DeathCause,
    Entry,
    GroupMember,
    Membership,
    Receipt,
    Release,
    Retry,
    Settlement,
    TakeOver,
)
from trio_bus._entry_id import EntryId
from trio_bus._memory import MemoryBackend
from trio_bus._memory.stream_commands import Row, xrange
from trio_bus._once import Once
from trio_bus._settled import Settled

START = datetime(2024, 5, 1, tzinfo=UTC)
LEASE_MS = 4000
MAX_ATTEMPT = 4
SUSPICIOUS_FROM = 2
DEATH = Death(DeathCause.REJECTED, "ValueError", "no good")
CONSUMERS = ("a", "b", "c")
STEPS = 150


@attrs.define
class Spot:
    """Where the model says it is: with a consumer, or another place of the group.

    Times are in milliseconds. ``since`` is, of a suspect, when it was booked.
    """

    holder: str
    count: int
    since: int
    due: int = 0
    deleted: bool = False
    suspect: bool = False
    """Whether it was a suspect when its consumer took it; in ``due``, whether it is one."""


class Model:
    """The group as it should be. What is settled for good is in neither map."""

    def __init__(self) -> None:
        self.undelivered: list[EntryId] = []
        self.deleted: set[EntryId] = set()
        self.newest = EntryId(0)
        self.keys: dict[str, tuple[EntryId, int]] = {}
        self.spots: dict[EntryId, Spot] = {}
        self.dead_letters = 0
        # What waits until it is due, in the order in which it was scheduled.
        self.scheduled: dict[str, int] = {}
        self.tended = -math.inf

    def held(self, consumer: str) -> dict[EntryId, Spot]:
        return {key: spot for key, spot in self.spots.items() if spot.holder == consumer}

    def due_in(self, now: int) -> float | None:
        """Say when something is due after what is due now was appended."""
        due = [spot.due for spot in self.held("due").values() if spot.due > now]
        due += self.scheduled.values()
        return (min(due) - now) / 1000 if due else None

    def candidates(self, now: int) -> list[EntryId]:
        """List what may be taken over, in the order of the contract."""
        due = {key: spot.due for key, spot in self.held("due").items() if spot.due <= now}
        found = sorted(due, key=lambda key: (due[key], str(key)))
        return [*found, *sorted(self.held("free")), *sorted(self.held("abandoned"))]

    def tend(self, me: str, now: int, every: int) -> list[EntryId]:
        """Tend, unless somebody did; return what had been deleted."""
        if now - self.tended < every:
            return []
        self.tended, gone = now, list[EntryId]()
        for consumer in CONSUMERS:
            spots = self.held(consumer) if consumer != me else {}
            for key in sorted(key for key in spots if now - spots[key].since >= LEASE_MS):
                spots[key].holder = "abandoned"
                if spots[key].deleted:
                    del self.spots[key]
                    gone.append(key)
        return gone

    def bookable(self, now: int) -> list[EntryId]:
        """List the suspects that nobody has booked within a lease."""
        spots = self.held("suspect")
        return [key for key in sorted(spots) if now - spots[key].since >= LEASE_MS]


class World:
    """A backend, a model, and what is done to both."""

    def __init__(self, seed: int, *, dead_letter_topic: str | None, tend_every_ms: int) -> None:
        self._random = Random(seed)  # noqa: S311 - a test must be repeatable
        self._backend = MemoryBackend(wall_start=START)
        self._model = Model()
        self._members: dict[str, GroupMember] = {}
        self._seen: list[Receipt] = []
        self._dead_letter_topic = dead_letter_topic
        self._tend_every_ms = tend_every_ms
        self._began = 0.0

    async def run(self) -> None:
        self._began = trio.current_time()
        await self._backend.create_group("t", "g", EntryId(0))
        for name in CONSUMERS:
            membership = Membership(
                topic="t",
                group="g",
                consumer=name,
                lease=LEASE_MS / 1000,
                max_attempt=MAX_ATTEMPT,
                dead_letter_topic=self._dead_letter_topic,
                tend_every=self._tend_every_ms / 1000,
            )
            async with self._backend.join(membership) as member:
                self._members[name] = member
        acts = [self._append, self._read, self._settle, self._settle, self._stale, self._take_over]
        acts += [self._take_over, self._renew, self._forget, self._delete, self._sleep]
        acts += [self._take_booked, self._take_booked, self._keep_booking, self._give_up_booking]
        acts += [self._schedule, self._cancel, self._look_around]
        for _ in range(STEPS):
            await self._random.choice(acts)(self._random.choice(CONSUMERS))
            await self._check()

    async def _append(self, _: str) -> None:
        size = self._random.randint(1, 4)
        keys = [self._random.choice([None, "a", "b", "c"]) for _ in range(size)]
        window = self._random.choice([2.0, 10.0])
        once = [None if key is None else Once(key, window) for key in keys]
        added = await self._backend.append("t", [((b"n", b"1"),)] * size, once)
        for key, entry_id in zip(keys, added, strict=True):
            assert isinstance(entry_id, EntryId)
            self._appended(key, window, entry_id)

    def _appended(self, key: str | None, window: float, entry_id: EntryId) -> None:
        """Do to the model what one append did; a key that is remembered stores nothing."""
        known = self._model.keys.get(key) if key is not None else None
        if known is not None and self._now() <= known[1]:
            assert entry_id == known[0]
            return
        if key is not None:
            self._model.keys[key] = (entry_id, self._now() + round(window * 1000))
        self._model.undelivered.append(entry_id)
        assert entry_id > self._model.newest
        self._model.newest = entry_id

    async def _read(self, name: str) -> None:
        count = self._random.randint(1, 5)
        entries = await self._members[name].read(count, 0)
        expected = self._model.undelivered[:count]
        assert [(entry.id, entry.attempt) for entry in entries] == [(key, 1) for key in expected]
        del self._model.undelivered[:count]
        for entry in entries:
            self._now_held_by(name, entry)

    async def _settle(self, name: str) -> None:
        held = self._model.held(name)
        chosen = self._random.sample(sorted(held), k=min(len(held), self._random.randint(0, 4)))
        words = [
            self._word(Receipt(key, held[key].count, suspect=held[key].suspect)) for key in chosen
        ]
        results = await self._members[name].settle(words)
        assert results == [self._after(word) for word in words]

    def _word(self, receipt: Receipt) -> Settlement:
        delay = self._random.choice([0.0, 0.0, 1.5, 6.0])
        words: list[Settlement] = [Ack(receipt), Bury(receipt, DEATH)]
        words += [Retry(receipt, delay), Release(receipt, delay)]
        return self._random.choice(words)

    def _after(self, word: Settlement) -> Settled:
        """Do to the model what *word* says."""
        key = word.receipt.id
        spot = self._model.spots[key]
        if isinstance(word, Ack) or spot.deleted:
            del self._model.spots[key]
            return Settled.DONE if isinstance(word, Ack) else Settled.GONE
        if isinstance(word, Bury):
            self._bury(key)
            return Settled.DONE
        spot.count -= isinstance(word, Release)
        spot.suspect = spot.suspect and isinstance(word, Release)
        if spot.suspect and not word.delay:
            self._set_apart(key)
            return Settled.DONE
        spot.holder = "due" if isinstance(word, Retry) or word.delay else "free"
        spot.due = self._now() + round(word.delay * 1000)
        return Settled.DONE

    def _set_apart(self, key: EntryId) -> None:
        spot = self._model.spots[key]
        spot.holder, spot.since, spot.suspect = "suspect", -LEASE_MS, False

    def _bury(self, key: EntryId) -> None:
        if self._dead_letter_topic is None:
            self._model.spots[key].holder = "dead"
        else:
            del self._model.spots[key]
            self._model.dead_letters += 1

    async def _stale(self, name: str) -> None:
        """Nothing happens to what is not ours, or not ours any more in this delivery."""
        held = {Receipt(key, spot.count) for key, spot in self._model.held(name).items()}
        stale = [receipt for receipt in self._seen if receipt not in held][-9:]
        results = await self._members[name].settle([self._word(receipt) for receipt in stale])
        assert results == [self._why(receipt.id) for receipt in stale]
        over = await self._members[name].renew(stale)
        assert over == {receipt.id: self._why(receipt.id) for receipt in stale}

    def _why(self, key: EntryId) -> Settled:
        """Say why an entry is not ours: absent is what was deleted and is pending for nobody."""
        nowhere = key in self._model.deleted and key not in self._model.spots
        return Settled.ABSENT if nowhere else Settled.LOST

    async def _take_over(self, name: str) -> None:
        count = self._random.randint(1, 4)
        book = self._random.random() < 0.7
        claimable = await self._look(name)
        candidates, bookable = self._model.candidates(self._now()), self._bookable()
        assert claimable == bool(candidates or bookable)
        taken = await self._members[name].take_over(count, book=book)
        entries, buried, gone, suspects = self._split(candidates, count)
        assert [(receipt.id, receipt.attempt) for receipt in taken.suspects] == suspects
        assert not any(entry.suspect for entry in taken.entries)
        for key, _ in suspects:
            self._set_apart(key)
        booked = None
        for key in self._bookable() if book else ():
            if not self._model.spots[key].deleted:
                booked = key
                self._model.spots[key].since = self._now()
                break
            gone.append(key)
        assert taken.booked == booked
        self._taken(name, taken, entries, buried, gone)

    def _bookable(self) -> list[EntryId]:
        return self._model.bookable(self._now())

    def _taken(
        self,
        name: str,
        taken: TakeOver,
        entries: list[tuple[EntryId, int]],
        buried: list[tuple[EntryId, int]],
        gone: list[EntryId],
    ) -> None:
        """Compare what came, and do it to the model."""
        assert [(entry.id, entry.attempt) for entry in taken.entries] == entries
        assert [(receipt.id, receipt.attempt) for receipt in taken.buried] == buried
        assert list(taken.gone) == gone
        for entry in taken.entries:
            self._now_held_by(name, entry)
        for key, _ in buried:
            self._bury(key)
        for key in gone:
            del self._model.spots[key]

    def _any_key(self) -> EntryId | None:
        """Choose an entry, mostly a suspect; there need not be one."""
        suspects = list(self._model.held("suspect"))
        keys = suspects if self._random.random() < 0.9 else list(self._model.spots)
        return self._random.choice(keys) if keys else None

    async def _take_booked(self, name: str) -> None:
        """Take one, whoever has booked it; what is none is not taken."""
        key = self._any_key()
        if key is not None:
            taken = await self._members[name].take_booked(key)
            found = [key] if self._model.spots[key].holder == "suspect" else []
            entries, buried, gone, _ = self._split(found, 1)
            assert all(entry.suspect for entry in taken.entries)
            self._taken(name, taken, entries, buried, gone)

    async def _keep_booking(self, name: str) -> None:
        key = self._any_key()
        if key is not None:
            spot = self._model.spots[key]
            kept = await self._members[name].keep_booking(key)
            assert kept == (spot.holder == "suspect")
            if kept and not spot.deleted:
                spot.since = self._now()

    async def _give_up_booking(self, name: str) -> None:
        key = self._any_key()
        if key is not None:
            spot = self._model.spots[key]
            await self._members[name].give_up_booking(key)
            if spot.holder == "suspect" and not spot.deleted:
                self._set_apart(key)

    async def _schedule(self, _: str) -> None:
        delay = self._random.choice([0.0, 1.5, 1.5, 6.0])
        uid = str(self._random.randint(1, 9))
        waits = uid in self._model.scheduled
        assert await self._backend.schedule("t", ((b"n", uid.encode()),), uid, delay) == uid
        if not waits:
            self._model.scheduled[uid] = self._now() + round(delay * 1000)

    async def _cancel(self, _: str) -> None:
        uid = str(self._random.randint(1, 9))
        waited = self._model.scheduled.pop(uid, None) is not None
        assert await self._backend.cancel_scheduled("t", uid) == waited

    async def _look_around(self, name: str) -> None:
        await self._look(name)

    async def _look(self, name: str) -> bool:
        """Look, and check what it tells and what it appends; say whether there is something."""
        model, now = self._model, self._now()
        due = sorted((at, n) for n, at in enumerate(model.scheduled.values()) if at <= now)
        expected = [list(model.scheduled)[n] for _, n in due]
        for uid in expected:
            del model.scheduled[uid]
        gone = model.tend(name, now, self._tend_every_ms)
        before = len(self._stream())
        look = await self._members[name].look()
        added = self._stream()[before:]
        assert [body for _, body in added] == [((b"n", uid.encode()),) for uid in expected]
        model.undelivered += [key for key, _ in added]
        assert look.due_in == model.due_in(now)
        assert look.refusal is None
        assert list(look.gone) == gone
        return look.claimable

    def _stream(self) -> list[Row]:
        return xrange(self._backend._server.store, "t", "-", "+") or []

    def _split(
        self, candidates: list[EntryId], count: int
    ) -> tuple[
        list[tuple[EntryId, int]],
        list[tuple[EntryId, int]],
        list[EntryId],
        list[tuple[EntryId, int]],
    ]:
        entries: list[tuple[EntryId, int]] = []
        suspects: list[tuple[EntryId, int]] = []
        buried: list[tuple[EntryId, int]] = []
        gone: list[EntryId] = []
        for key in candidates:
            spot = self._model.spots[key]
            if len(entries) == count:
                break
            if spot.deleted:
                gone.append(key)
            elif spot.count >= MAX_ATTEMPT:
                buried.append((key, spot.count))
            elif spot.suspect or (spot.holder == "abandoned" and spot.count >= SUSPICIOUS_FROM):
                suspects.append((key, spot.count))
            else:
                entries.append((key, spot.count + 1))
        return entries, buried, gone, suspects

    async def _renew(self, name: str) -> None:
        held = self._model.held(name)
        receipts = [Receipt(key, spot.count) for key, spot in held.items()]
        gone = {key: Settled.GONE for key, spot in held.items() if spot.deleted}
        assert await self._members[name].renew(receipts) == gone
        for key, spot in held.items():
            spot.since = self._now()
            if spot.deleted:
                del self._model.spots[key]

    async def _forget(self, name: str) -> None:
        assert await self._members[name].forget() == (not self._model.held(name))

    async def _delete(self, _: str) -> None:
        keys = [*self._model.undelivered, *self._model.spots]
        if keys and self._random.random() < 0.4:
            key = self._random.choice(keys)
            self._backend.delete_entry("t", key)
            self._model.deleted.add(key)
            if key in self._model.spots:
                self._model.spots[key].deleted = True
            else:
                self._model.undelivered.remove(key)

    async def _sleep(self, _: str) -> None:
        await trio.sleep(self._random.choice([0.25, 1.0, 2.5, 5.0]))

    def _now(self) -> int:
        """Return the milliseconds since the beginning."""
        return round((trio.current_time() - self._began) * 1000)

    def _now_held_by(self, name: str, entry: Entry) -> None:
        spot = Spot(name, entry.attempt, self._now(), suspect=entry.suspect)
        self._model.spots[entry.id] = spot
        self._seen.append(entry.receipt)

    async def _check(self) -> None:
        """Every entry is in exactly one place, and the server counts them there."""
        info = await self._backend.info("t")
        (group,) = info.groups
        model = self._model
        assert group.lag == len(model.undelivered)
        released = len(model.held("free")) + len(model.held("abandoned"))
        kept = [released, *(len(model.held(place)) for place in ("due", "dead", "suspect"))]
        assert [group.released, group.delayed, group.dead, group.suspects] == kept
        counts = {it.name: it.pending for it in group.consumers if it.pending}
        assert counts == {name: n for name in CONSUMERS if (n := len(model.held(name)))}
        assert group.pending == sum(counts.values())
        assert (await self._backend.info("dead")).length == model.dead_letters


@given(
    seed=st.integers(min_value=0, max_value=2**32),
    dead_letter_topic=st.booleans(),
    tend_every_ms=st.sampled_from([0, 500, 3000]),
)
@pytest.mark.guards("the fake is unlike the real stream")
def test_entries_are_where_the_contract_says(
    seed: int, *, dead_letter_topic: bool, tend_every_ms: int
) -> None:
    dead = "dead" if dead_letter_topic else None
    world = World(seed, dead_letter_topic=dead, tend_every_ms=tend_every_ms)
    trio.run(world.run, clock=MockClock(autojump_threshold=0))
