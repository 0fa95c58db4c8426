"""``trio-bus bench``: programs that die or fail, and servers that go away."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn, cast

import msgspec
import pytest
import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, memory_stream_one_way_pair

from tests.test_bench import KINDS
from trio_bus import ConnectionLost
from trio_bus._cli import bench, main
from trio_bus._cli.bench import ours
from trio_bus._cli.bench.clients import OURS
from trio_bus._cli.bench.order import Answer, Order
from trio_bus._cli.bench.process import Process
from trio_bus._cli.bench.program import serve
from trio_bus._cli.bench.server import Remote
from trio_bus._cli.bench.trio_floor_publishing import Publisher
from trio_bus._cli.bench.works import Kind
from trio_bus._cli.failing import CommandError
from trio_bus._redis.connecting import Session

pytestmark = pytest.mark.any_python

ORDER = Order("memory:", "orders", KINDS[Kind.PUBLISH])


def test_a_program_answers_what_it_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Line by line; what goes wrong is an answer too."""
    asked = [msgspec.json.encode(Order(url, ORDER.topic, ORDER.work)) for url in (ORDER.url, "?")]
    monkeypatch.setattr(sys, "stdin", io.StringIO(b"\n".join(asked).decode()))
    serve(ours.measure)
    one, two = (msgspec.json.decode(it, type=Answer) for it in capsys.readouterr().out.splitlines())
    assert one.figures["rate"] > 0
    assert not one.error
    assert two.error.startswith("ValidationError: ")


@pytest.mark.parametrize("name", ["ours", "floor", "trio_floor"])
def test_a_program_that_nobody_asks_ends(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    path = Path(bench.__file__).with_name(f"{name}.py")
    program = compile(path.read_bytes(), path, "exec")
    exec(program, {"__name__": "__main__", "__package__": bench.__name__})  # noqa: S102 - our own
    assert not capsys.readouterr().out


class Talk:
    """What goes to a process, and what comes from it."""

    def __init__(self) -> None:
        self.stdin: MemorySendStream
        self.heard: MemoryReceiveStream
        self.says: MemorySendStream
        self.stdout: MemoryReceiveStream
        self.stdin, self.heard = memory_stream_one_way_pair()
        self.says, self.stdout = memory_stream_one_way_pair()

    @property
    def process(self) -> Process:
        """The process as the command sees it."""
        return Process(OURS, cast("trio.Process", self))


async def test_a_process_may_answer_in_parts() -> None:
    talk = Talk()
    answer = msgspec.json.encode(Answer({"rate": 7.0})) + b"\n"

    async def answer_slowly() -> None:
        for part in (answer[:3], answer[3:]):
            await trio.testing.wait_all_tasks_blocked()
            await talk.says.send_all(part)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_slowly)
        assert await talk.process.measure(ORDER) == {"rate": 7.0}
    heard = await talk.heard.receive_some()
    assert msgspec.json.decode(heard, type=Order) == ORDER


async def test_what_a_process_could_not_do_is_told() -> None:
    talk = Talk()
    await talk.says.send_all(msgspec.json.encode(Answer(error="OSError: no")) + b"\n")
    with pytest.raises(CommandError, match=f"trio_bus: {ORDER.work.name}: OSError: no"):
        await talk.process.measure(ORDER)


@pytest.mark.parametrize("hears", [False, True])
async def test_a_process_that_died_is_named(*, hears: bool) -> None:
    """Before it was asked, or before it answered."""
    talk = Talk()
    await (talk.says if hears else talk.heard).aclose()
    with pytest.raises(CommandError, match="the process that measures trio_bus died"):
        await talk.process.measure(ORDER)


@pytest.mark.parametrize("error", [EOFError("end"), trio.BrokenResourceError("reset")])
async def test_a_server_that_is_gone_forgets_nothing(error: Exception) -> None:
    async def exchange(_: object) -> NoReturn:
        await trio.lowlevel.checkpoint()
        raise error

    session = cast("Session", SimpleNamespace(wire=SimpleNamespace(exchange=exchange)))
    with pytest.raises(ConnectionLost, match=f"the connection was lost: {error}"):
        await Remote("redis://h", session).forget("orders")


async def test_a_floor_notices_that_its_server_is_gone() -> None:
    floor, theirs = trio.testing.memory_stream_pair()
    await theirs.aclose()
    with pytest.raises(trio.BrokenResourceError, match="the server closed the connection"):
        await Publisher(floor).read()


def test_without_rich_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "trio_bus._cli.bench.display", None)
    assert main(["bench", "--url", "memory:"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "rich, which draws the tables" in line
    assert "trio-bus[cli]" in line
