"""One connection for many tasks: nothing is misrouted, whatever happens to a caller."""

# pyright: reportPrivateUsage=false
# What is owed is counted.

from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from math import inf

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_bus._errors import ConnectionLost, OutcomeUnknown
from trio_bus._redis.connecting import Server, Session, Wire
from trio_bus._redis.credit import Credit
from trio_bus._redis.pipeline import Pipeline
from trio_bus._redis.resp import ErrorReply, Parser, Reply, pack

SERVER = Server("fake", (9, 0), 1, None)


class FakeServer:
    """The other end: it hears commands as lists of words, and says what a test tells it to."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.heard: list[Reply] = []
        self.chunks: list[bytes] = []
        self._parser = Parser()

    async def hear(self, count: int) -> list[Reply]:
        """Wait for that many commands; return all that were heard."""
        while len(self.heard) < count:
            data = bytes(await self.stream.receive_some())
            assert data, "the client hung up"
            self.chunks.append(data)
            self.heard += self._parser.feed(data)
        return self.heard

    async def echo(self) -> None:
        """Answer each command with its second word, in pieces."""
        async for data in self.stream:
            answers = b"".join(_echo_of(command) for command in self._parser.feed(bytes(data)))
            while answers:
                size = random.randint(1, 9)  # noqa: S311 - protects nothing
                await self.stream.send_all(answers[:size])
                answers = answers[size:]


def _echo_of(command: Reply) -> bytes:
    assert isinstance(command, list)
    assert isinstance(command[1], bytes)
    return b"+%b\r\n" % command[1]


@asynccontextmanager
async def running(
    *, timeout: float = inf, window: int = 100
) -> AsyncGenerator[tuple[Pipeline, FakeServer, Credit]]:
    """Run a pipeline to a fake server; check at the end that all credit came back."""
    ours, theirs = memory_stream_pair()
    credit = Credit(window, 10_000_000)
    pipeline = Pipeline(Session(Wire(ours), SERVER), command_timeout=timeout, credit=credit)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipeline.serve)
        try:
            yield pipeline, FakeServer(theirs), credit
        finally:
            pipeline.close()
    assert credit.held == (0, 0)


class Caller:
    """A task that calls, and what came of it."""

    def __init__(self, pipeline: Pipeline, word: str) -> None:
        self._pipeline = pipeline
        self._word = word
        self.scope = trio.CancelScope()
        self.reply: Reply = None
        self.error: ConnectionLost | None = None

    async def run(self) -> None:
        """Call once."""
        with self.scope:
            try:
                self.reply = await self._pipeline.call("ECHO", self._word)
            except ConnectionLost as error:
                self.error = error


async def test_the_end_is_told_also_to_those_who_wait_shielded_while_all_is_cancelled() -> None:
    """Closing the wire is a checkpoint, and a cancelled one: nobody may wait for ever after it."""
    ours, _ = memory_stream_pair()
    pipeline = Pipeline(Session(Wire(ours), SERVER), command_timeout=inf, credit=Credit(9, 9))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pipeline.serve)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                pipeline.close()
                await pipeline.ended.wait()


async def test_what_is_queued_in_one_step_is_written_at_once_and_answered_in_order() -> None:
    """Tasks that call at the same time share one write, and each gets its own reply."""
    async with running() as (pipeline, server, _), trio.open_nursery() as nursery:
        callers = [Caller(pipeline, str(number)) for number in range(20)]
        for caller in callers:
            nursery.start_soon(caller.run)
        heard = await server.hear(20)
        assert len(server.chunks) == 1
        await server.stream.send_all(b"".join(_echo_of(command) for command in heard))
    assert [caller.reply for caller in callers] == [str(n).encode() for n in range(20)]


async def test_many_commands_of_one_caller_stay_together() -> None:
    """The replies to a batch come back in its order, with refusals among them."""
    async with running() as (pipeline, server, _), trio.open_nursery() as nursery:
        replies: list[Reply] = []

        async def batch() -> None:
            replies.extend(await pipeline.call_many([("A",), ("B", 1), ("C",)]))

        nursery.start_soon(batch)
        assert await server.hear(3) == [[b"A"], [b"B", b"1"], [b"C"]]
        await server.stream.send_all(b":1\r\n-ERR no\r\n")
        await server.stream.send_all(b"+C\r\n")
    assert replies == [1, ErrorReply("ERR no"), b"C"]


async def test_an_empty_batch_sends_nothing() -> None:
    """It does not wait for a reply that nobody owes."""
    async with running() as (pipeline, server, _):
        assert await pipeline.call_many([]) == []
        assert server.heard == []


async def test_cancelled_before_it_is_written_it_did_not_happen() -> None:
    """The command is taken out of the queue; the server never hears it."""
    async with running() as (pipeline, server, _), trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            scope.cancel()
            await pipeline.call("ECHO", "never")
        assert scope.cancelled_caught
        nursery.start_soon(pipeline.call, "ECHO", "next")
        assert await server.hear(1) == [[b"ECHO", b"next"]]
        await server.stream.send_all(b"+next\r\n")


async def test_cancelled_after_it_is_written_its_reply_is_dropped() -> None:
    """The next caller does not get the reply that a cancelled one is owed."""
    async with running() as (pipeline, server, credit), trio.open_nursery() as nursery:
        cancelled, waiting = Caller(pipeline, "cancelled"), Caller(pipeline, "waiting")
        nursery.start_soon(cancelled.run)
        await server.hear(1)
        nursery.start_soon(waiting.run)
        await server.hear(2)
        cancelled.scope.cancel()
        await wait_all_tasks_blocked()
        assert credit.held[0] == 2  # the reply holds the credit, not the caller
        await server.stream.send_all(b"+cancelled\r\n+waiting\r\n")
    assert cancelled.scope.cancelled_caught
    assert cancelled.reply is None
    assert waiting.reply == b"waiting"


async def test_each_waiter_gets_an_exception_of_its_own() -> None:
    """They share the cause; a shared exception would collect the tracebacks of all."""
    async with running() as (pipeline, server, _):
        callers = [Caller(pipeline, str(number)) for number in range(3)]
        async with trio.open_nursery() as nursery:
            for caller in callers:
                nursery.start_soon(caller.run)
            await server.hear(3)
            await server.stream.send_all(b"+only one\r\n")
            await server.stream.aclose()
    assert sorted(str(caller.reply) for caller in callers) == ["None", "None", "b'only one'"]
    others = [caller for caller in callers if caller.reply is None]
    errors = [caller.error for caller in others]
    assert all(type(error) is OutcomeUnknown for error in errors)
    assert errors[0] is not errors[1]
    assert isinstance(errors[0].__cause__ if errors[0] else None, EOFError)
    assert len({id(error.__cause__) for error in errors if error}) == 1


async def test_what_was_not_written_was_not_done() -> None:
    """A command that was still queued when the connection died is known not to have happened."""
    async with running() as (pipeline, _, _):
        caller = Caller(pipeline, "queued")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.run)
            pipeline.fail(EOFError("gone"))
        assert type(caller.error) is ConnectionLost
        late = Caller(pipeline, "late")
        await late.run()
        assert type(late.error) is ConnectionLost


async def test_what_was_not_written_when_it_retires_was_not_done() -> None:
    """The server is not asked any more."""
    async with running() as (pipeline, _, _):
        queued = pipeline.submit(pack(("ECHO", "queued")), 1, inf)
        pipeline.retire(ConnectionAbortedError("another server"))
        await queued.wait()
        assert queued.written is None
        assert type(queued.lost()) is ConnectionLost


async def test_the_replies_of_a_batch_that_came_before_the_loss_are_kept() -> None:
    """Whoever can use half an answer gets it."""
    async with running() as (pipeline, server, _), trio.open_nursery() as nursery:

        async def die() -> None:
            await server.hear(2)
            await server.stream.send_all(b"+1-0\r\n")
            await server.stream.aclose()

        nursery.start_soon(die)
        owed = await pipeline.exchange(pack(("A",)) + pack(("B",)), 2)
        first, second = owed.answers()
        assert first == b"1-0"
        assert type(second) is OutcomeUnknown
        with pytest.raises(OutcomeUnknown):
            owed.unwrap()


async def test_a_late_reply_closes_the_connection(autojump_clock: MockClock) -> None:
    """A server that hears and does not answer is given up after the command timeout."""
    async with running(timeout=5) as (pipeline, server, _), trio.open_nursery() as nursery:
        caller = Caller(pipeline, "x")
        nursery.start_soon(caller.run)
        await server.hear(1)
        started = trio.current_time()
        await pipeline.ended.wait()
        assert trio.current_time() - started == pytest.approx(5)
    assert type(caller.error) is OutcomeUnknown
    assert isinstance(caller.error.__cause__, TimeoutError)


async def test_a_server_that_answers_slowly_is_not_given_up(autojump_clock: MockClock) -> None:
    """Each sign of life gives the next reply its full time; silence without debts is no fault."""
    async with running(timeout=5) as (pipeline, server, _), trio.open_nursery() as nursery:
        callers = [Caller(pipeline, str(number)) for number in range(4)]
        for caller in callers:
            nursery.start_soon(caller.run)
        for command in await server.hear(4):
            await trio.sleep(4)
            await server.stream.send_all(_echo_of(command))
        await trio.sleep(1000)
        assert pipeline.is_open
    assert all(caller.reply for caller in callers)


async def test_a_peer_that_does_not_read_is_given_up(autojump_clock: MockClock) -> None:
    """A write that gets stuck counts as owed."""
    ours, theirs = memory_stream_pair()
    stuck = trio.Event()
    theirs_hook = ours.send_stream
    theirs_hook.send_all_hook = stuck.wait
    del theirs
    credit = Credit(10, 1000)
    pipeline = Pipeline(Session(Wire(ours), SERVER), command_timeout=3, credit=credit)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pipeline.serve)
        with pytest.raises(OutcomeUnknown):
            await pipeline.call("A")
    assert trio.current_time() == pytest.approx(3)


async def test_garbage_ends_the_connection() -> None:
    """What comes after an answer that cannot be read cannot be matched."""
    async with running() as (pipeline, server, _):
        caller = Caller(pipeline, "x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.run)
            await server.hear(1)
            await server.stream.send_all(b"what?\r\n")
        assert type(caller.error) is OutcomeUnknown


async def test_an_answer_that_nobody_asked_for_ends_the_connection() -> None:
    """It would shift all that follow by one."""
    async with running() as (pipeline, server, _):
        await server.stream.send_all(b"+surprise\r\n")
        await pipeline.ended.wait()
        assert not pipeline.is_open


async def test_a_push_answers_no_command() -> None:
    """It goes to who listens, and the reply behind it finds its caller."""
    heard: list[list[Reply]] = []
    async with running() as (pipeline, server, _), trio.open_nursery() as nursery:
        pipeline.session.wire.parser.on_push = heard.append
        caller = Caller(pipeline, "x")
        nursery.start_soon(caller.run)
        await server.hear(1)
        await server.stream.send_all(b">2\r\n+message\r\n+hi\r\n+x\r\n")
    assert caller.reply == b"x"
    assert heard == [[b"message", b"hi"]]


async def test_the_window_bounds_what_is_owed() -> None:
    """A caller waits for room before its command is queued; room comes with replies."""
    async with running(window=2) as (pipeline, server, credit), trio.open_nursery() as nursery:
        callers = [Caller(pipeline, str(number)) for number in range(3)]
        for caller in callers:
            nursery.start_soon(caller.run)
            await wait_all_tasks_blocked()
        await server.hear(2)
        await wait_all_tasks_blocked()
        assert credit.held[0] == 2
        await server.stream.send_all(b"+0\r\n")
        assert (await server.hear(3))[2] == [b"ECHO", b"2"]
        await server.stream.send_all(b"+1\r\n+2\r\n")
    assert [caller.reply for caller in callers] == [b"0", b"1", b"2"]


async def test_whoever_is_being_cancelled_can_still_use_it() -> None:
    """The service is shielded: only its owner ends it."""
    said: Reply = None
    with trio.CancelScope() as scope:
        async with running() as (pipeline, server, _):
            scope.cancel()
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(server.echo)
                    said = await pipeline.call("ECHO", "goodbye")
                    nursery.cancel_scope.cancel()
            await trio.lowlevel.checkpoint()
    assert said == b"goodbye"
    assert scope.cancelled_caught


@pytest.mark.parametrize("cancelled_first", [True, False])
async def test_an_answer_and_a_cancel_in_one_moment(*, cancelled_first: bool) -> None:
    """What came first counts; the task is woken once, and the credit comes back once."""
    async with running() as (pipeline, _, credit), trio.open_nursery() as nursery:
        caller = Caller(pipeline, "x")
        nursery.start_soon(caller.run)
        await wait_all_tasks_blocked()
        assert credit.held[0] == 1
        if cancelled_first:
            caller.scope.cancel()
        pipeline.fail(EOFError("gone"))
        caller.scope.cancel()
    assert caller.scope.cancelled_caught is cancelled_first
    assert isinstance(caller.error, OutcomeUnknown) is not cancelled_first


async def test_an_answer_that_is_there_is_not_waited_for() -> None:
    """Waiting for it is a checkpoint all the same."""
    async with running() as (pipeline, _, _):
        pipeline.fail(EOFError("gone"))
        owed = pipeline.submit(pack(("A",)), 1, inf)
        with trio.testing.assert_checkpoints():
            await owed.wait()
        assert type(owed.lost()) is ConnectionLost


@pytest.mark.parametrize("seed", range(20))
async def test_random_cancels_misroute_nothing(seed: int, autojump_clock: MockClock) -> None:
    """Whoever is not cancelled gets its own reply; all credit comes back."""
    choose = random.Random(seed)  # noqa: S311 - protects nothing
    async with running(window=8) as (pipeline, server, credit), trio.open_nursery() as nursery:
        nursery.start_soon(server.echo)
        right = 0

        async def call(word: str, patience: float) -> None:
            nonlocal right
            with trio.move_on_after(patience):
                assert await pipeline.call("ECHO", word) == word.encode()
                right += 1

        async with trio.open_nursery() as callers:
            for number in range(100):
                patience = choose.choice([0, 0.001, 5])
                callers.start_soon(call, f"{seed}-{number}", patience)
                if choose.random() < 0.3:
                    await trio.sleep(choose.choice([0, 0.001]))
        while credit.held[0]:
            await trio.sleep(0.001)  # tombstones are still answered
        nursery.cancel_scope.cancel()
    assert right >= 20


async def test_credit_goes_first_come_first_served() -> None:
    """A large request is not overtaken for ever by small ones."""
    credit = Credit(10, 1000)
    order: list[str] = []

    async def take(name: str, commands: int) -> None:
        await credit.acquire(commands, 1)
        order.append(name)

    await credit.acquire(3, 1)
    await credit.acquire(5, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take, "large", 5)
        await wait_all_tasks_blocked()
        nursery.start_soon(take, "small", 1)
        await wait_all_tasks_blocked()
        assert order == []
        credit.release(3, 1)
        await wait_all_tasks_blocked()
        assert order == ["large"]
        credit.release(5, 1)
    assert order == ["large", "small"]
    assert credit.held == (6, 2)


async def test_a_request_larger_than_the_window_passes_alone() -> None:
    """It waits until nothing else is owed; it would wait for ever otherwise."""
    credit = Credit(10, 100)
    await credit.acquire(50, 5000)
    assert credit.held == (50, 5000)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(credit.acquire, 1, 1)
            await wait_all_tasks_blocked()
            scope.cancel()
    credit.release(50, 5000)
    assert credit.held == (0, 0)


async def test_credit_that_is_granted_to_a_cancelled_caller_comes_back() -> None:
    """A grant and a cancel may fall into the same moment."""
    credit = Credit(1, 100)
    await credit.acquire(1, 1)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(credit.acquire, 1, 1)
            await wait_all_tasks_blocked()
            scope.cancel()  # the waiting task is woken with Cancelled ...
            credit.release(1, 1)  # ... or granted, whichever it sees
    if not scope.cancelled_caught:
        credit.release(1, 1)
    assert credit.held == (0, 0)


@asynccontextmanager
async def connected() -> AsyncGenerator[tuple[Pipeline, FakeServer]]:
    """Run a pipeline over a real socket to a fake server."""
    ours, theirs = map(trio.SocketStream, trio.socket.socketpair())
    pipeline = Pipeline(Session(Wire(ours), SERVER), command_timeout=inf, credit=Credit(99, 99_999))
    async with theirs, trio.open_nursery() as nursery:
        nursery.start_soon(pipeline.serve)
        await wait_all_tasks_blocked()
        try:
            yield pipeline, FakeServer(theirs)
        finally:
            pipeline.close()


async def test_what_is_alone_is_sent_at_once() -> None:
    """In the step that queues it, without another task; nothing else is under way."""
    async with connected() as (pipeline, server):
        owed = pipeline.submit(pack(("ECHO", "1")), 1, inf)
        assert owed.written is not None
        assert await server.hear(1) == [[b"ECHO", b"1"]]
        behind = pipeline.submit(pack(("ECHO", "2")), 1, inf)
        assert behind.written is None  # behind the first one
        await server.hear(2)
        await server.stream.send_all(b"+1\r\n+2\r\n")
        await behind.wait()
        assert (owed.replies, behind.replies) == ([b"1"], [b"2"])


async def test_what_many_send_stays_together() -> None:
    """After a write of many the next ones wait for each other again; after one of one, not."""
    async with connected() as (pipeline, server):
        owed = [pipeline.submit(pack(("ECHO", str(it))), 1, inf) for it in range(4)]
        assert [it.written is not None for it in owed] == [True, False, False, False]
        await server.hear(4)
        await server.stream.send_all(b"+0\r\n+1\r\n+2\r\n+3\r\n")
        await owed[3].wait()
        for number, at_once in ((4, False), (5, True)):
            last = pipeline.submit(pack(("ECHO", "x")), 1, inf)
            assert (last.written is not None) is at_once
            await server.hear(number + 1)
            await server.stream.send_all(b"+x\r\n")
            await last.wait()


async def test_what_a_socket_does_not_take_at_once_is_sent_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A part of it counts as written, and the rest goes first."""
    taken = [5]  # and nothing after that

    def take(wire: Wire, data: bytes) -> int:
        assert isinstance(wire.stream, trio.SocketStream)
        size = taken.pop() if taken else 0
        return os.write(wire.stream.socket.fileno(), data[:size]) if size else 0

    monkeypatch.setattr(Wire, "send_now", take)
    async with connected() as (pipeline, server):
        first = pipeline.submit(pack(("ECHO", "1")), 1, inf)
        second = pipeline.submit(pack(("ECHO", "2")), 1, inf)
        assert (first.written is not None, second.written) == (True, None)
        assert await server.hear(2) == [[b"ECHO", b"1"], [b"ECHO", b"2"]]
        await server.stream.send_all(b"+1\r\n+2\r\n")
        await second.wait()
        third = pipeline.submit(pack(("ECHO", "3")), 1, inf)
        assert third.written is None
        await server.hear(3)


async def test_what_is_large_is_sent_at_once_behind_others() -> None:
    """The server may begin with it. It waits for its turn where something is being written."""
    async with connected() as (pipeline, server):
        large = pack(("ECHO", bytes(20_000)))
        owed = [pipeline.submit(large, 1, inf) for _ in range(2)]
        assert all(it.written is not None for it in owed)
        while pipeline.submit(large, 1, inf).written is not None:
            pass  # until the socket is full
        await wait_all_tasks_blocked()  # the other task waits for it
        stuck = pipeline.submit(large, 1, inf)
        assert stuck.written is None
        count = len(pipeline._owed) + 1
        await server.hear(count)
        await server.stream.send_all(b"+x\r\n" * count)
        await stuck.wait()
        assert pipeline.submit(large, 1, inf).written is not None


async def test_what_is_large_is_not_sent_in_a_scope_that_is_cancelled() -> None:
    """It would go at once, also behind others."""
    async with connected() as (pipeline, server):
        pipeline.submit(pack(("ECHO", "1")), 1, inf)
        await server.hear(1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await pipeline.exchange(pack(("ECHO", bytes(20_000))), 1)
        assert scope.cancelled_caught
        assert len(pipeline._owed) == 1
        assert not pipeline._outbox


async def test_parts_are_sent_while_there_is_room() -> None:
    """Each takes its own part of the window; nothing is nothing to wait for."""
    async with running(window=3) as (pipeline, server, credit), trio.open_nursery() as nursery:
        first = await pipeline.begin(pack(("A",)) * 2, 2)
        nothing = await pipeline.begin(b"", 0)
        assert (first.arrived, nothing.arrived) == (False, True)
        nursery.start_soon(pipeline.begin, pack(("B",)) * 2, 2)
        await server.hear(2)
        await wait_all_tasks_blocked()
        assert credit.held[0] == 2
        await server.stream.send_all(b"+A\r\n" * 2)
        await server.hear(4)
        await server.stream.send_all(b"+B\r\n" * 2)


async def test_a_socket_that_is_full_or_closed_takes_nothing_at_once() -> None:
    """What is wrong, the next real write says."""
    ours, theirs = map(trio.SocketStream, trio.socket.socketpair())
    wire = Wire(ours)
    async with theirs:
        while wire.send_now(bytes(10_000)):
            pass
        assert wire.send_now(b"x") == 0
        await wire.aclose()
        assert wire.send_now(b"x") == 0
