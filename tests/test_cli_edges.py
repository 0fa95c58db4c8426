"""What commands do where something is missing, is gone, or ends too early."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import io
import os
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from trio_bus import (
    Bus,
    ConnectionLost,
    MemoryBackend,
    Message,
    OutcomeUnknown,
    SubscriptionConfig,
    TopicInfo,
    Transition,
    ValidationError,
    open_subscription,
)
from trio_bus._cli import (
    consume,
    info,
    main,
    pipes,
    play,
    publish,
    server,
    simulate,
    weather,
)
from trio_bus._cli.bench.clients import OURS
from trio_bus._cli.bench.order import Order
from trio_bus._cli.bench.process import Process
from trio_bus._cli.bench.server import Remote
from trio_bus._cli.bench.trio_floor_publishing import Publisher
from trio_bus._cli.bench.works import Area, Kind, Work
from trio_bus._cli.display import Display
from trio_bus._cli.failing import CommandError
from trio_bus._cli.lines import Line
from trio_bus._cli.progress import _bars
from trio_bus._cli.simulate_progress import progress
from trio_bus._cli.simulate_work import Order as Seeds
from trio_bus._cli.stopping import Stop
from trio_bus._cli.work import DEAD_LETTERS, Errors
from trio_bus._observer import ErrorEvent, Scope, TransitionEvent
from trio_bus.testing import FaultyBackend

if TYPE_CHECKING:
    from trio_bus._redis.connecting import Session

WORK = Work(name="work", area=Area.PUBLISH, kind=Kind.PUBLISH, count=1)
ORDER = Order("redis://h", "t", WORK)


@pytest.fixture
def without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody import it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("rich", "rich.console", "rich.progress", "rich.table"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "trio_bus._cli.bench.display", raising=False)


def test_without_rich_there_is_no_bar(without_rich: None) -> None:
    """And nothing else is missing."""
    assert _bars() is None
    with progress() as advance:
        advance(0.5, 7)


def test_a_table_needs_rich(without_rich: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 1
    assert "rich, which draws the tables" in capsys.readouterr().err


def test_what_is_no_url_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody may have put a password there."""
    assert main(["info", "orders", "--url", "embedded://[secret"]) == 2
    assert capsys.readouterr().err == "trio-bus: url: this is not like embedded:///directory\n"


def test_losses_and_recoveries_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    told = server._Complaints()
    lost = TransitionEvent(transition=Transition.LEASE_LOST, topic="orders", group="billing")
    told.on_transition(lost)
    told.on_transition(attrs.evolve(lost, transition=Transition.VANISHED, reason="deleted"))
    told.on_transition(TransitionEvent(transition=Transition.RECONNECTED))
    told.on_transition(TransitionEvent(transition=Transition.STARTED))
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" ")[2].split(" ")[0] for line in lines][:1] == ["lease-lost"]
    assert lines[1].endswith(": deleted")
    assert lines[2:] == ["trio-bus: connected again"]


def test_only_what_nobody_planned_is_told() -> None:
    told: list[str] = []
    errors = Errors(told.append)
    errors.on_error(ErrorEvent(scope=Scope.DECODE, error=ConnectionLost("planned")))
    errors.on_error(ErrorEvent(scope=Scope.READ, error=ConnectionLost("gone")))
    assert told == ["read: gone"]


def test_the_first_signal_decides() -> None:
    stop = Stop()
    assert stop.exit_code == 0
    stop.end(15)
    stop.end(2)
    assert stop.exit_code == 128 + 15


@attrs.define
class Pipe:
    """The pipes of a process that says one thing, or is gone."""

    says: bytes = b""
    gone: bool = False

    @property
    def stdin(self) -> Pipe:
        return self

    @property
    def stdout(self) -> Pipe:
        return self

    async def send_all(self, _: bytes) -> None:
        if self.gone:
            raise trio.BrokenResourceError

    async def receive_some(self) -> bytes:
        said, self.says = self.says, b""
        return said


@pytest.mark.parametrize(
    ("pipe", "words"),
    [
        (Pipe(b'{"error":"OSError: no"}\n'), "^trio_bus: work: OSError: no$"),
        (Pipe(b""), "the process that measures trio_bus died$"),
        (Pipe(gone=True), "the process that measures trio_bus died$"),
    ],
)
async def test_the_process_that_measures_may_fail(pipe: Pipe, words: str) -> None:
    process = Process(OURS, cast("trio.Process", pipe))
    with pytest.raises(CommandError, match=words):
        await process.measure(ORDER)


@pytest.mark.parametrize("gone", [True, False])
async def test_a_process_that_simulates_may_be_gone(*, gone: bool) -> None:
    """It dies before it hears what it is asked, or before it answers."""
    worker = simulate._Worker(cast("trio.Process", Pipe(gone=gone)))
    with pytest.raises(CommandError, match="the process that ran calm, seeds 5 to 7 died"):
        await worker.ask(Seeds("calm", 5, 3))


@pytest.mark.parametrize("error", [EOFError("gone"), trio.BrokenResourceError("gone")])
async def test_a_server_that_is_lost_while_it_is_measured_is_told(error: Exception) -> None:
    class Lost:
        wire: Self

        async def exchange(self, _: object) -> list[object]:
            raise error

    session = Lost()
    session.wire = session
    with pytest.raises(ConnectionLost, match="the connection was lost: gone"):
        await Remote("redis://h", cast("Session", session)).forget("t")


@attrs.define
class Away:
    """A bus whose server is away, then back, then away."""

    asked: int = 0

    async def info(self, topic: str) -> TopicInfo:
        self.asked += 1
        if self.asked != 2:
            raise ConnectionLost("gone")
        return TopicInfo(topic, 0, ())


async def test_watching_goes_on_while_the_server_is_away(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And also when nobody reads: somebody else notices that."""

    async def unread(_: int, __: bytes) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(info, "write_all", unread)
    bus = Away()
    with trio.move_on_after(2.5):
        await info.Asker("orders", bool(0), 1.0)._watch(cast("Bus", bus), 1.0)
    assert bus.asked == 3
    assert capsys.readouterr().err == "trio-bus: gone\ntrio-bus: gone\n"


async def test_what_is_always_ready_can_be_read_and_never_ends() -> None:
    """A device, and a file: nobody can tell whether somebody reads what is written there."""
    device = os.open(os.devnull, os.O_RDONLY)
    try:
        assert await pipes.read_some(device) == b""
        with trio.move_on_after(0.01) as patience:
            await pipes.wait_reader_gone(device)
    finally:
        os.close(device)
    assert patience.cancelled_caught


def test_a_reading_knows_its_month() -> None:
    _, first, *_ = weather.load().splitlines()
    assert weather.Reading.parse(first).month == "2012/01"


async def test_what_is_no_dead_letter_is_left_out() -> None:
    """Somebody else may have written there."""
    backend = MemoryBackend()
    await backend.append(DEAD_LETTERS, [((b"no", b"letter"),)])
    assert await play._dead_readings(Bus(backend)) == ()


@attrs.define
class Ended:
    """A stream that has ended."""

    async def receive_some(self, _: int) -> bytes:
        return b""


async def test_a_floor_whose_server_is_gone_says_so() -> None:
    with pytest.raises(trio.BrokenResourceError, match="the server closed the connection"):
        await Publisher(cast("trio.abc.Stream", Ended())).read()


def test_what_is_shown_may_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output need not be a file."""
    kept = io.StringIO()
    monkeypatch.setattr(sys, "stdout", kept)
    Display(plain=True)
    assert kept.getvalue() == ""


def test_who_publishes_from_a_terminal_is_told_how_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with publish._opened("-") as descriptor:
        assert descriptor == 0
    assert "Ctrl-D" in capsys.readouterr().err


async def test_what_cannot_be_read_is_named() -> None:
    """A directory, for one."""
    descriptor = os.open("/", os.O_RDONLY)
    try:
        with pytest.raises(CommandError, match="cannot read: Is a directory"):
            async for _ in publish._chunks(descriptor, 100):
                pytest.fail("it was read")
    finally:
        os.close(descriptor)


async def test_lines_in_doubt_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """So are those that no server would take, and ids that nobody reads."""
    backend = FaultyBackend(MemoryBackend())
    lines = [Line(1, b"a", 1), Line(2, b"b", 1)]
    read, write = os.pipe()
    os.close(read)
    publisher = publish.Publisher(Bus(backend), publish.Template(topic="orders"), write)
    backend.fail("append", OutcomeUnknown("lost"))
    with pytest.raises(CommandError):
        await publisher.publish(lines)
    publisher.sum_up()
    publisher._refuse(lines[0], ValidationError("payload: no"))
    with pytest.raises(CommandError, match="cannot print ids: Broken pipe"):
        await publisher.publish(lines)
    os.close(write)
    assert capsys.readouterr().err.splitlines()[-3:] == [
        "trio-bus: lines 1 to 2 may have been stored, or not",
        "trio-bus: published 0 messages to 'orders'",
        "trio-bus: line 1: payload: no",
    ]


async def test_a_line_that_was_cut_is_ended_before_the_next() -> None:
    """Whoever reads sees where the next one begins."""
    read, write = os.pipe()
    delivered = Bus(MemoryBackend())
    printer = consume.Printer(write)
    printer._cut = True
    await delivered.publish(Message("orders", b"7"))
    async with open_subscription(delivered, SubscriptionConfig("orders", "billing")) as deliveries:
        await printer.print_all(deliveries, 1)
    os.close(write)
    with os.fdopen(read) as told:
        assert told.read().startswith("\n{")


def test_the_readings_may_come_with_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / weather._NAME).write_text("date\n")

    def files(_: str) -> Path:
        return tmp_path

    monkeypatch.setattr(resources, "files", files)
    assert weather.load() == "date\n"
