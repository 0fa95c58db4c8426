"""The conformance suites on backends that are right in another way, or that do not open at all."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from hypothesis import Phase, settings

from tests.faults import cut_for_good, open_faulty
from trio_bus import ConnectionLost, EntryId, MemoryBackend
from trio_bus._once import Append
from trio_bus.abc import Membership, StreamBackend
from trio_bus.testing import FaultyBackend, InvariantBroken, backend_conformance, bus_conformance
from trio_bus.testing._backend_conformance import _world
from trio_bus.testing._backend_conformance._tally import Tally
from trio_bus.testing._bus_conformance import play
from trio_bus.testing._bus_conformance.mortal import Mortal, MortalBackend
from trio_bus.testing._journal import Journal

pytestmark = pytest.mark.any_python

FEW = settings(
    max_examples=10,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
)


class Persisting(MemoryBackend):
    """Takes the memory for a disk."""

    async def append_persisted(
        self,
        appends: Sequence[Append],
        replicas: int,  # noqa: ARG002 - of the contract
    ) -> list[EntryId | Exception]:
        return [
            (await self.append(it.topic, [it.record], [it.once] if it.once else ()))[0]
            for it in appends
        ]


def certified(backend: StreamBackend) -> Tally:
    """Run few programs on a backend; return what was done."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[StreamBackend]:
        yield backend

    case = backend_conformance(opened, virtual_time=True)
    case.settings = FEW
    case("runTest").debug()
    return case.tally


@pytest.mark.bulk
def test_a_backend_that_persists_is_certified() -> None:
    assert certified(Persisting()).operations["append_persisted"] > 0


@pytest.mark.bulk
def test_a_backend_without_an_administrator_is_certified() -> None:
    """What nobody can remove is not removed."""
    assert certified(FaultyBackend(MemoryBackend())).programs >= 10


@attrs.frozen
class Plain:
    """An administrator who cannot use up a stream."""

    backend: MemoryBackend

    def delete_entry(self, topic: str, entry_id: EntryId) -> None:
        self.backend.delete_entry(topic, entry_id)

    def trim(self, topic: str, max_length: int) -> None:
        self.backend.trim(topic, max_length)

    def destroy_group(self, topic: str, group: str) -> None:
        self.backend.destroy_group(topic, group)

    def delete_topic(self, topic: str) -> None:
        self.backend.delete_topic(topic)


@pytest.mark.bulk
def test_whoever_cannot_use_up_a_stream_does_the_rest() -> None:
    def plain(backend: StreamBackend) -> Plain:
        assert isinstance(backend, MemoryBackend)
        return Plain(backend)

    case = backend_conformance(open_memory, administrator=plain, virtual_time=True)
    case.settings = settings(FEW, max_examples=10)
    case("runTest").debug()
    assert case.tally.programs >= 10


def test_connections_that_come_back_are_no_failure() -> None:
    """The cut itself may fail: it ends the connection that it came on."""
    cuts = 0

    async def disconnect(_: StreamBackend) -> None:
        nonlocal cuts
        cuts += 1
        await trio.lowlevel.checkpoint()
        raise ConnectionLost("cut")

    case = bus_conformance(open_memory, virtual_time=True, disconnect=disconnect)
    case.settings = settings(FEW, max_examples=10, stateful_step_count=15)
    case("test_random_programs").debug()
    assert cuts >= 10


@pytest.mark.parametrize(
    ("operation", "words"),
    [("info", "no command is answered"), ("read", "nobody reads what is new")],
)
def test_connections_that_stay_away_are_told(operation: str, words: str) -> None:
    disconnect = cut_for_good(operation)
    case = bus_conformance(open_faulty, virtual_time=True, disconnect=disconnect)
    case.settings = FEW
    with pytest.raises(InvariantBroken, match=f"15, progress: after 10 s {words}"):
        case("test_random_programs").debug()


def test_what_cannot_be_judged_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """And counted, by the reason."""
    monkeypatch.setattr(_world, "_MOST_MODELS", 0)
    monkeypatch.setattr(_world, "_MOST_WAITS", 0)
    told = certified(MemoryBackend()).given_up
    assert set(told) <= {"too much may have happened", "there was always something about to happen"}
    assert told.total() > 0


def test_a_backend_that_does_not_open_says_why() -> None:
    @asynccontextmanager
    async def closed() -> AsyncGenerator[StreamBackend]:
        raise OSError("no such store")
        yield

    case = backend_conformance(closed, virtual_time=True)
    case.settings = FEW
    with pytest.raises(OSError, match="no such store"):
        case("runTest").debug()


def test_a_lease_that_is_too_short_is_refused() -> None:
    @asynccontextmanager
    async def opened() -> AsyncGenerator[StreamBackend]:
        yield MemoryBackend()

    with pytest.raises(ValueError, match=r"lease: 0.01 is below 0.05 s"):
        backend_conformance(opened, lease=0.01)


def test_what_does_not_finish_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a long time."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[StreamBackend]:
        yield MemoryBackend()

    monkeypatch.setattr(play, "PATIENCE", 0)
    case = bus_conformance(opened, virtual_time=True)
    case.settings = FEW
    with pytest.raises(AssertionError, match="something is still not finished"):
        case("test_random_programs").debug()


@asynccontextmanager
async def open_memory() -> AsyncGenerator[MemoryBackend]:
    yield MemoryBackend()


@pytest.mark.long
def test_a_few_programs_in_real_time() -> None:
    """As a backend with sockets meets them."""
    one = settings(FEW, max_examples=2, stateful_step_count=5)
    bus = bus_conformance(open_memory)
    bus.settings = one
    bus("test_random_programs").debug()
    backend = backend_conformance(open_memory)
    backend.settings = one
    backend("runTest").debug()
    assert backend.tally.programs >= 2


async def test_the_dead_reach_no_server() -> None:
    """A process that lives has all of its backend; one that died has none."""
    record = ((b"a", b"b"),)
    mortal = Mortal(Journal(lambda: 0.0), "web")
    backend = MortalBackend(MemoryBackend(), mortal)
    told: list[object] = []
    assert backend.url is None
    assert len(await backend.append("orders", [record])) == 1
    await backend.append_persisted([], 0)
    backend.append_nowait("orders", record, None, told.append)
    await backend.create_group("orders", "billing", EntryId(0))
    us = Membership(topic="orders", group="billing", consumer="us", lease=60.0, max_attempt=3)
    async with backend.join(us) as member:
        assert len(await member.read(5, 0.1)) == 2
        assert (await backend.info("orders")).length == 2
        assert not await member.keep_booking(EntryId(1)), "it is no suspect"
        await member.give_up_booking(EntryId(1))
        mortal.dead = True
        with trio.move_on_after(0.01) as patience:
            await member.woken()
        assert patience.cancelled_caught
        with pytest.raises(ConnectionLost, match="the dead do not speak"):
            await member.look()
