"""The last corners: what is left where everything else has a test of its own."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import signal
import subprocess
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.harness import config
from tests.servers import command
from tests.test_invariants import ONE, A, joined, say, told
from trio_bus import Bus, ConsumerInfo, EntryId, GroupInfo, MemoryBackend, TopicInfo, Transition
from trio_bus._cli import main, play, victim
from trio_bus._cli.bench import rounds
from trio_bus._cli.bench.clients import PEERS
from trio_bus._cli.failing import CommandError
from trio_bus._cli.work import CLIMATE, DEAD_LETTERS, READINGS, WORKER
from trio_bus._subscription.buffer import Buffer
from trio_bus.testing import InvariantBroken, What
from trio_bus.testing._invariants import Judge
from trio_bus.testing._invariants.leaks import Leaks
from trio_bus.testing._invariants.one_place import OnePlace
from trio_bus.testing._journal import Journal
from trio_bus.testing._places import Places
from trio_bus.testing._pump import Pump

if TYPE_CHECKING:
    from trio_bus._holding import Holding as RealHolding
    from trio_bus._subscription.core import Core


PROGRAMS = ("ours", "floor", "trio_floor", *(peer.program for peer in PEERS))


@pytest.mark.parametrize("name", ["__main__", "worker", *(f"bench.{name}" for name in PROGRAMS)])
def test_a_program_that_is_imported_runs_nothing(name: str) -> None:
    assert import_module(f"trio_bus._cli.{name}").__name__ == f"trio_bus._cli.{name}"


def test_a_measurement_is_ended_by_a_signal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is shown of what is not whole."""

    async def run(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep_forever()

    monkeypatch.setattr(rounds.Bench, "run", run)
    assert main(["bench", "--url", "redis://127.0.0.1:1"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().out == ""


async def test_the_demo_waits_for_its_dead_letters(autojump_clock: MockClock) -> None:
    backend = MemoryBackend()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(play._wait_dead_letters, Bus(backend))
        await trio.sleep(1.0)
        assert nursery.child_tasks
        await backend.append(DEAD_LETTERS, [((b"a", b"b"),)] * len(play._SECONDS))


@attrs.define
class Process:
    """A process that can be stopped, and killed."""

    code: int | None = None
    signals: list[int] = attrs.field(factory=list[int])

    def poll(self) -> int | None:
        return self.code

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def kill(self) -> None:
        self.signals.append(signal.SIGKILL)

    async def wait(self) -> None:
        """End."""


@attrs.define
class Asked:
    """A bus whose group has a worker that holds so many, one answer after the other."""

    pending: list[int]

    async def info(self, topic: str) -> TopicInfo:
        held = self.pending.pop(0) if len(self.pending) > 1 else self.pending[0]
        workers = (ConsumerInfo(f"{WORKER}-1", held, 0.0),) if held >= 0 else ()
        group = GroupInfo(CLIMATE, EntryId(0), 0, max(held, 0), 0, 0, 0, workers)
        return TopicInfo(topic, 1, (group,))


async def test_a_worker_is_killed_while_it_holds_something(autojump_clock: MockClock) -> None:
    """Not before; and one that never came is missed."""
    process = Process()
    it = victim.Victim(cast("trio.Process", process), cast("Bus", Asked([0, 3])))
    assert await it.kill_holding() == 3
    stop, go, kill = signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL
    assert process.signals == [stop, go, stop, kill]
    it = victim.Victim(cast("trio.Process", Process(code=1)), cast("Bus", Asked([-1])))
    with pytest.raises(CommandError, match="the worker process did not start"):
        await it.wait_joined()


def test_the_worker_of_the_demo_works_until_its_parent_ends(server_url: str) -> None:
    worker = [sys.executable, "-P", "-m", "trio_bus._cli.worker", server_url]
    with subprocess.Popen(worker, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"whatever it is told\n")
        process.stdin.flush()
        deadline = time.monotonic() + 30
        # It makes its group, and is a member then.
        while command(server_url, f"EXISTS {READINGS}") != ":1" and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        process.communicate(timeout=30)
    assert process.returncode == 0


@attrs.define
class Holding:
    """An entry that is held, or no longer."""

    open: bool


@attrs.define
class Lost:
    """A core whose leases cannot be asked for."""

    back: list[object] = attrs.field(factory=list[object])

    @property
    def leases(self) -> Lost:
        return self

    async def check(self, _: object) -> bool:
        raise LookupError("it cannot be asked")

    def hand_back(self, holding: object) -> None:
        self.back.append(holding)


async def test_what_is_over_is_not_given_back_twice() -> None:
    core = Lost()
    buffer = Buffer(cast("Core", core))
    held = [Holding(open=False), Holding(open=True), Holding(open=False), Holding(open=True)]
    buffer.deliver(cast("list[RealHolding]", [held[0]]))
    buffer.deliver(cast("list[RealHolding]", [held[1]]))
    for _ in range(2):
        with pytest.raises(LookupError):
            await buffer.take()
    assert core.back == [held[1]]
    for late in held[2:]:
        buffer.deliver(cast("list[RealHolding]", [late]))
    buffer.recall()
    assert core.back == [held[1], held[3]]


def test_two_messages_are_not_confirmed_as_one() -> None:
    judge = Judge([OnePlace])
    judge.hear(say(What.PUBLISHED, ONE, label="one"))
    with pytest.raises(InvariantBroken, match="'two' was confirmed as 1-0, and so was 'one'"):
        judge.hear(say(What.PUBLISHED, ONE, label="two"))


def test_a_group_that_is_gone_holds_nobody() -> None:
    judge = Judge([Leaks])
    judge.hear(joined(A))
    judge.hear(say(What.LEFT, consumer=A))
    judge.look(Places({}))


def test_a_pause_is_written_down() -> None:
    journal = Journal(lambda: 0.0)
    journal.halted("web", A, config())
    journal.continued("web", A, config())
    assert [line.what for line in journal.lines] == [What.HALTED, What.CONTINUED]


def test_a_pump_that_is_closed_pumps_no_more() -> None:
    pump = Pump(virtual_time=True)
    pump.close()
    pump.close()
    with pytest.raises(RuntimeError):
        pump.run(trio.sleep, 0)


def test_what_comes_again_while_its_handler_still_runs_takes_two_permits() -> None:
    """It was released, and its handler resists: nobody has a permit for others."""
    judge = Judge()
    judge.hear(joined(A, attrs.evolve(config(), max_in_flight=2)))
    for line in (
        told(Transition.RECEIVED),
        told(Transition.STARTED),
        told(Transition.RELEASED),
        told(Transition.TAKEN_OVER, delivery=2),
    ):
        judge.scene.hear(line)
    assert judge.scene.consumer(A).free_since is None
    judge.scene.hear(told(Transition.FINISHED))
    assert judge.scene.consumer(A).free_since is not None
