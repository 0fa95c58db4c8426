"""How the conformance suite for backends judges: what it calls broken, forgives, and gives up."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar, cast

import attrs
import pytest
import trio
from msgspec.structs import replace

from tests.by_hand import Beginning, X, program, story, text
from trio_bus import EntryId, MemoryBackend, NotPersisted, TopicInfo
from trio_bus._once import Append
from trio_bus.abc import Entry, GroupMember, Look, Membership, StreamBackend
from trio_bus.testing import ContractBroken
from trio_bus.testing._backend_conformance import _world
from trio_bus.testing._backend_conformance._machine import BackendMachine
from trio_bus.testing._backend_conformance._pairs import Pairs
from trio_bus.testing._backend_conformance._removals import Removals
from trio_bus.testing._interposed import InterposedBackend, InterposedMember

T = TypeVar("T")
Change = Callable[[str, object], object]


@attrs.define
class OtherMember(InterposedMember):
    """A member that answers something else."""

    change: Change

    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        return cast("T", self.change(name, await act()))


class Other(InterposedBackend[MemoryBackend]):
    """Answers something else than it should."""

    def __init__(self, change: Change) -> None:
        super().__init__(MemoryBackend())
        self.change = change

    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:
        return cast("T", self.change(name, await act()))

    def interpose(self, member: GroupMember, membership: Membership) -> GroupMember:  # noqa: ARG002 - of the contract
        return OtherMember(member, self.change)


def other(change: Change) -> _world.OpenBackend:
    """Open such a backend."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[StreamBackend]:
        yield Other(change)

    return opened


def judged(change: Change, act: Callable[[BackendMachine], object]) -> str:
    """Let it do something after which the suite knows; return what the suite says."""
    with program(open_backend=other(change)) as it, pytest.raises(ContractBroken) as caught:
        act(it)
    return f"{caught.value}\n"


def one_that_is_read(it: BackendMachine) -> None:
    it.append("a", (None, None), 2.0, None)
    it.read(X, 2, None)


def a_look(it: BackendMachine) -> None:
    it.look(X, None)


def test_a_time_that_is_not_so() -> None:
    def change(_: str, came: object) -> object:
        return attrs.evolve(came, due_in=1.0) if isinstance(came, Look) else came

    assert judged(change, a_look) == text("""
            look breaks the contract.
              The contract says:
                look: says in how many seconds the next is due
              Done:      a.g.x looks
              Expected:  claimable: False, nothing due, refusal: None
              Came:      claimable: False, next due in 1 s, refusal: None
              Differs:   due_in is 1.0, not None
              Before that:
                nothing
        """)


def test_a_hope_that_is_in_vain() -> None:
    def change(_: str, came: object) -> object:
        return attrs.evolve(came, claimable=True) if isinstance(came, Look) else came

    assert "Differs:   claimable is True, not False" in judged(change, a_look)


def test_a_figure_that_is_not_so() -> None:
    def change(_: str, came: object) -> object:
        if isinstance(came, TopicInfo) and came.length:
            return attrs.evolve(came, scheduled=3)
        return came

    assert judged(change, one_that_is_read) == text("""
            append breaks the contract.
              The contract says:
                append: an id for each record, growing, in the order of the list
                append: a record whose key is remembered is stored once, and answers the
                    first id
                info: every entry is in exactly one place: not delivered, pending for one
                    consumer, released, delayed, waiting for its key, a suspect, dead, or finished
                info: an operation changes what it says, and nothing else
              Done:      append to a a record, a record: [a#1, a#2]
              Expected:  scheduled 0
              Came:      scheduled 3
              Differs:   info of a: scheduled is 3, not 0
              Before that:
                nothing
        """)


def test_ids_that_shrink() -> None:
    def change(name: str, came: object) -> object:
        return cast("list[EntryId]", came)[::-1] if name == "append" else came

    assert "Differs:   [1]: " in (told := judged(change, one_that_is_read))
    assert " is not a#new" in told


def test_what_is_kept_back() -> None:
    def change(name: str, came: object) -> object:
        return cast("list[Entry]", came)[1:] if name == "read" else came

    assert "Differs:   it has 1 items, not 2" in judged(change, one_that_is_read)


def test_all_that_differs_of_one_entry_is_told() -> None:
    def change(name: str, came: object) -> object:
        if name != "read":
            return came
        return [replace(it, attempt=5, record=()) for it in cast("list[Entry]", came)]

    told = judged(change, one_that_is_read)
    assert "Differs:   [0].record has 0 items, not 2; [0].attempt is 5, not 1" in told


def test_what_was_in_doubt_is_told() -> None:
    """A look that was cancelled may have happened; if that does not explain it, nothing does."""
    lies = False

    def change(_: str, came: object) -> object:
        return attrs.evolve(came, scheduled=3) if isinstance(came, TopicInfo) and lies else came

    def act(it: BackendMachine) -> None:
        nonlocal lies
        it.append("a", (None,), 2.0, None)
        it.look(X, 0)
        lies = True
        it.read(X, 1, None)

    told = judged(change, act)
    assert "In doubt:  a.g.x looks: was cancelled" in told
    assert "(or 1 other outcomes: none fits)" in told


def test_how_much_waits_need_not_be_known() -> None:
    def change(_: str, came: object) -> object:
        if not isinstance(came, TopicInfo):
            return came
        return attrs.evolve(came, groups=tuple(attrs.evolve(it, lag=None) for it in came.groups))

    with program(open_backend=other(change)) as it:
        one_that_is_read(it)
        assert story(it) == text("""
            append to a a record, a record: [a#1, a#2]
            a.g.x reads at most 2: [a#1 (attempt 1), a#2 (attempt 1)]
        """)


def test_a_doubt_may_last() -> None:
    """Nobody can see whether whoever looked had tended the group."""
    with program(Beginning(tend_units=3.0)) as it:
        it.look(X, 0)
        it.append("a", (None,), 2.0, None)
        assert len(it.world._models) == 2
        assert [step.words for step in it.world._doubts] == ["a.g.x looks"]


def test_what_takes_too_long_is_not_judged() -> None:
    """Nor is what comes after it: a lease may have run out before, or afterwards."""

    class Slow(MemoryBackend):
        async def cancel_scheduled(self, topic: str, uid: str) -> bool:  # noqa: ARG002 - the same
            await trio.sleep(60.0)
            return True

    @asynccontextmanager
    async def opened() -> AsyncGenerator[StreamBackend]:
        yield Slow()

    with program(Beginning(prelude="held"), opened) as it:
        it.cancel_scheduled("a", "1-m", None)
        assert it.world.undecided == "an operation took too long"
        it.read(X, 1, None)
        it.fare_differently(X, 0, None, (0, 1, 2))
        assert not story(it)


def test_what_may_have_been_too_much_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_world, "_MOST_MODELS", 1)
    with program(Beginning(tend_units=3.0)) as it:
        it.look(X, 0)
        assert it.world.undecided == "too much may have happened"


def test_where_there_is_always_something_about_to_happen_nothing_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with program() as it:
        monkeypatch.setattr(_world, "_MOST_WAITS", 0)
        it.read(X, 1, None)
        assert it.world.undecided == "there was always something about to happen"


def test_real_time_is_judged_as_well() -> None:
    """With a lease that no machine is too slow for."""
    with program(virtual_time=False, lease=400.0) as it:
        it.wait_to_read(X, "an append")
        assert story(it) == text("""
            a.g.x waits for entries; meanwhile: an append: [[a#1], [a#1 (attempt 1)]]
        """)
        assert not it.world.undecided


def test_nobody_waits_for_what_is_far_away() -> None:
    with program() as it:
        it.append("a", ("k",), 40.0, None)
        story(it)
        it.wait_for_an_end(0, after=True)
        assert not story(it)
        it.append("a", ("l",), 2.0, None)
        story(it)
        it.wait_for_an_end(0, after=False)
        assert story(it) == "0.094 s pass\n"


def test_whoever_holds_too_little_comes_with_nothing() -> None:
    """The group is gone: nothing can be read, and nothing else is tried."""
    with program() as it:
        it.destroy(("a", "g"), None)
        story(it)
        it.fare_differently(X, 2, None, (0, 1, 2))
        assert story(it) == text("""
            append to a a record, a record, a record: [a#1, a#2, a#3]
            a.g.x reads at most 4: raised GroupMissing(NOGROUP No such key 'a' or consumer
                    group 'g' in XREADGROUP with GROUP option)
        """)


@attrs.frozen
class Patient:
    """An administrator who has to wait for the server, and cannot use up a stream."""

    backend: MemoryBackend

    async def delete_entry(self, topic: str, entry_id: EntryId) -> None:
        await trio.lowlevel.checkpoint()
        self.backend.delete_entry(topic, entry_id)

    async def trim(self, topic: str, max_length: int) -> None:
        """Do nothing."""

    async def destroy_group(self, topic: str, group: str) -> None:
        """Do nothing."""

    async def delete_topic(self, topic: str) -> None:
        """Do nothing."""


def test_an_administrator_may_be_asynchronous() -> None:
    """And need not be able to use up a stream: then nothing is buried in vain."""
    with program() as it:
        backend = it.world.subject
        assert isinstance(backend, MemoryBackend)
        removals = it.batches._removals = Removals(it.world, Patient(backend))
        it.append("a", (None, None), 2.0, None)
        story(it)
        it.bury_in_vain(X)
        assert not story(it)
        removals.delete_entry("a", 0)
        it.read(X, 2, None)
        assert story(it) == text("""
            the administrator deletes a#2 of a: None
            a.g.x reads at most 2: [a#1 (attempt 1)]
        """)


def test_what_is_not_confirmed_has_no_id() -> None:
    """It may be stored all the same."""

    class Doubtful(MemoryBackend):
        async def append_persisted(
            self,
            appends: Sequence[Append],
            replicas: int,  # noqa: ARG002 - of the contract
        ) -> list[EntryId | Exception]:
            stored = [(await self.append(it.topic, [it.record], [it.once]))[0] for it in appends]
            second = cast("EntryId", stored[1])
            return [stored[0], NotPersisted(second, local=0, replicas=0, wanted=0)]

    @asynccontextmanager
    async def opened() -> AsyncGenerator[StreamBackend]:
        yield Doubtful()

    with program(open_backend=opened) as it:
        it.append_persisted("a", (None, "k"), 2.0)
        it.read(X, 2, None)
        told = story(it)
    assert "append_persisted to a a record, key 'k': [a#1, raised NotPersisted(" in told
    assert "a.g.x reads at most 2: [a#1 (attempt 1), a#2 (attempt 1)]" in told


def test_entries_are_paired_in_one_order() -> None:
    pairs = Pairs()
    assert pairs.agree("a", EntryId(5), EntryId(50))
    assert not pairs.agree("a", EntryId(6), EntryId(40)), "it stands before the other one"
    assert not pairs.agree("a", EntryId(4), EntryId(60)), "it stands behind the other one"
    assert not pairs.agree("a", EntryId(5), EntryId(60)), "it is known by another id"
    assert not pairs.agree("a", EntryId(4), EntryId(50)), "another one is known by this id"
    assert not pairs.agree("a", EntryId(0), EntryId(50))
    assert pairs.agree("a", EntryId(4), EntryId(40))
    assert pairs.label("{x}.a", EntryId(0)) == "the beginning"
