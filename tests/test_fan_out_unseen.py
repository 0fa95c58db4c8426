"""What a private group was given and its subscription never saw, when the group is lost."""

# pyright: reportPrivateUsage=false
# What an operator does to a server has no public call.

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.redis_world import ids, options
from tests.test_fan_out import QUICK, Seen, publish
from trio_bus import Bus, ConnectionLost, EntryId, MemoryBackend, open_subscription
from trio_bus._backend import Membership, Record, Release, TakeOver
from trio_bus._redis import RedisBackend, open_redis
from trio_bus._redis.group import Group
from trio_bus._subscription.progress import Progress
from trio_bus.abc import Entry, GroupMember
from trio_bus.testing import open_fault_proxy
from trio_bus.testing._interposed import InterposedBackend, InterposedMember

T = TypeVar("T")
OWN = Membership(
    topic="users", group="~fan-us", consumer="us", lease=60.0, max_attempt=3, expiry=300.0
)
SHARED = attrs.evolve(OWN, group="users", expiry=None)


async def fill(backend: RedisBackend, count: int) -> list[EntryId]:
    """Append some records."""
    records: list[Record] = [((b"n", b"%d" % number),) for number in range(count)]
    results = await backend.append("users", records)
    return [it for it in results if isinstance(it, EntryId)]


async def test_what_was_given_and_never_seen_is_told_once(server_url: str) -> None:
    """The answer to a read is lost, and the next read gives back what it brought."""
    async with (
        open_fault_proxy(server_url) as proxy,
        open_redis(proxy.url, options()) as backend,
    ):
        await backend.create_private("users", OWN.group, None, 300.0)
        first, second, third = await fill(backend, 3)
        async with backend.join(OWN) as us:
            proxy.in_reply("XREADGROUP")
            with pytest.raises(ConnectionLost):
                await us.read(1, 1.0)
            assert us.take_unseen() == frozenset()
            assert ids(await us.read(1, 1.0)) == [second]
            assert us.take_unseen() == {first}
            assert us.take_unseen() == frozenset()
            proxy.in_reply("XREADGROUP")
            with pytest.raises(ConnectionLost):
                await us.read(1, 1.0)
            assert ids((await us.take_over(1)).entries) == [first]
            assert ids((await us.take_over(1)).entries) == [third]
            assert us.take_unseen() == frozenset()


async def test_what_came_with_a_cancellation_is_told(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given back, and comes again; or it is found gone."""
    really, scope = Group.take_over, trio.CancelScope()

    async def take_over(
        group: Group, count: int, suspect: EntryId | None, *, book: bool
    ) -> TakeOver:
        taken = await really(group, count, suspect, book=book)
        scope.cancel()
        return taken

    monkeypatch.setattr(Group, "take_over", take_over)
    async with open_redis(server_url, options()) as backend:
        await backend.create_private("users", OWN.group, None, 300.0)
        (only,) = await fill(backend, 1)
        async with backend.join(OWN) as us:
            (entry,) = await us.read(1, 1.0)
            await us.settle([Release(entry.receipt)])
            with scope:
                await us.take_over(1)
            await backend._link.call("XDEL", "users", str(only))
            assert (await us.take_over(1)).gone == (only,)
            assert us.take_unseen() == frozenset()


async def test_of_a_shared_group_nothing_is_told(server_url: str) -> None:
    """Others may have it."""
    async with (
        open_fault_proxy(server_url) as proxy,
        open_redis(proxy.url, options()) as backend,
    ):
        await backend.create_group("users", "users", None)
        await fill(backend, 2)
        async with backend.join(SHARED) as us:
            proxy.in_reply("XREADGROUP")
            with pytest.raises(ConnectionLost):
                await us.read(1, 1.0)
            assert len(await us.read(1, 1.0)) == 1
            assert us.take_unseen() == frozenset()


class Forgetful(InterposedMember):
    """Loses the answer to its first read, and finds nothing to take over."""

    unseen: frozenset[EntryId] = frozenset()

    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002 - all alike
        """Do what this call is for."""
        return await act()

    async def read(self, count: int, timeout: float) -> list[Entry]:
        """Read; give back what the first one brings."""
        entries = await self.inner.read(min(1, count), timeout)
        if self.unseen or not entries:
            return entries
        self.unseen = frozenset(it.id for it in entries)
        await self.inner.settle([Release(it.receipt) for it in entries])
        raise ConnectionLost("the answer is lost")

    async def take_over(self, count: int, *, book: bool = False) -> TakeOver:  # noqa: ARG002 - all alike
        """Find nothing."""
        await trio.lowlevel.checkpoint()
        return TakeOver()

    def take_unseen(self) -> frozenset[EntryId]:
        """Return what it has given back."""
        return self.unseen


class ForgetfulBackend(InterposedBackend[MemoryBackend]):
    """Has such members."""

    async def run(self, name: str, act: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002 - all alike
        """Do what this call is for."""
        return await act()

    def interpose(self, member: GroupMember, membership: Membership) -> GroupMember:  # noqa: ARG002 - all alike
        """Stand before it."""
        return Forgetful(member)


async def test_a_group_that_is_made_anew_begins_before_what_never_arrived(
    autojump_clock: MockClock,
) -> None:
    """The first message was given to us and back, the second one is finished."""
    streams, seen = MemoryBackend(), Seen()
    bus = Bus(ForgetfulBackend(streams))
    async with open_subscription(bus, QUICK, seen) as subscription:
        await publish(bus, b"1", b"2")
        await trio.sleep(10.0)
        assert seen.payloads == [b"2"]
        streams.destroy_group("users", QUICK.group_of(subscription.name))
        await trio.sleep(10.0)
    assert seen.payloads == [b"2", b"1", b"2"]


def test_what_was_missed_is_unfinished() -> None:
    """It may be behind all that is known, with something between that is not known yet."""
    progress = Progress(EntryId(5, 0))
    progress.missed([EntryId(7, 0)])
    assert progress.position == EntryId(5, 0)
    progress.received(EntryId(8, 0))
    assert progress.position == EntryId(6, 2**64 - 1)
    shared = Progress(None)
    shared.missed([EntryId(7, 0)])
    assert shared.position is None
