"""One connection that many tasks share: commands written together, replies matched in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import final

import trio

from trio_bus._errors import ConnectionLost, OutcomeUnknown

from .connecting import Session
from .credit import Credit
from .errors import is_demotion, to_exception
from .resp import Command, ErrorReply, ProtocolError, Reply, pack, pack_all

_SMALL = 16 * 1024
"""Bytes that an idle socket takes at once."""
_EXPECTED = (OSError, EOFError, trio.BrokenResourceError, trio.ClosedResourceError, ProtocolError)


class Owed:
    """Replies that the server owes for some bytes: one request, from the queue to the answer.

    Invariant: it is in exactly one place. In the outbox (not written), in the queue of owed ones
    (written), or arrived: with all replies, or with the cause of their loss and those that came.

    One task at a time may `wait`. It is no `trio.Event`, which any number of tasks may wait for:
    there is one of these for every command, and so it is plain as well.
    """

    __slots__ = (
        "_waiting", "abandoned", "arrived", "cause", "data", "expected", "patience", "replies",
        "written",
    )  # fmt: skip

    def __init__(self, data: bytes, expected: int, patience: float) -> None:
        self.data: bytes = data
        self.expected: int = expected
        # Seconds from writing to the last reply; then the connection is given up.
        self.patience: float = patience
        self.replies: list[Reply] = []
        self.arrived: bool = False
        self.cause: BaseException | None = None
        self.written: float | None = None
        # Nobody waits any more. Written ones stay as tombstones: their replies still come.
        self.abandoned: bool = False
        self._waiting: trio.lowlevel.Task | None = None

    def wait(self) -> Awaitable[object]:
        """Wait until it has arrived. It may have arrived all the same when this is cancelled.

        To be awaited at once. It is not ``async`` itself: that would be one more coroutine for
        each command.
        """
        if self.arrived:
            return trio.lowlevel.checkpoint()  # noqa: ASYNC105 - who calls this awaits it
        assert self._waiting is None, "two tasks wait for one answer"
        self._waiting = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._stop_waiting)  # noqa: ASYNC105 - as above

    def arrive(self, cause: BaseException | None) -> None:
        """Say that it is answered, or lost from *cause*; wake who waits."""
        self.cause = cause
        self.arrived = True
        if self._waiting is not None:
            trio.lowlevel.reschedule(self._waiting)
            self._waiting = None

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED

    def lost(self) -> ConnectionLost:
        """Return a new exception that says what is known about the missing replies."""
        if self.written is None:
            error = ConnectionLost(f"the connection was lost before this was sent: {self.cause}")
        else:
            error = OutcomeUnknown(f"the connection was lost before the answer: {self.cause}")
        error.__cause__ = self.cause
        return error

    def answers(self) -> Sequence[Reply | ConnectionLost]:
        """Return what came, and an exception of its own for each reply that did not."""
        if self.cause is None:
            return self.replies
        missing = self.expected - len(self.replies)
        return [*self.replies, *(self.lost() for _ in range(missing))]

    def unwrap(self) -> list[Reply]:
        """Return all replies.

        Raises:
          OutcomeUnknown: it was written, and some replies did not come.
          ConnectionLost: it was not written.
        """
        if self.cause is not None:
            raise self.lost()
        return self.replies


@final
class Told(Owed):
    """What nobody waits for: it calls somebody when it has arrived."""

    __slots__ = ("_on_arrival",)

    def __init__(
        self, data: bytes, expected: int, patience: float, on_arrival: Callable[[Owed], None]
    ) -> None:
        super().__init__(data, expected, patience)
        self._on_arrival = on_arrival

    def arrive(self, cause: BaseException | None) -> None:
        """Say that it is answered, or lost from *cause*; call who wants to know."""
        super().arrive(cause)
        self._on_arrival(self)


class Pipeline:
    """Sends for many tasks over one session. `serve` does the work and must run.

    A command is queued in one synchronous step, so that the order of replies is the order of
    commands. Never send a blocking command on a pipeline that others use: it holds up all.
    """

    def __init__(self, session: Session, *, command_timeout: float, credit: Credit) -> None:
        self.session = session
        self._wire = session.wire
        self._timeout = command_timeout
        # Held by what is queued or owed; the reply gives it back, not the caller.
        self._credit = credit
        self._outbox: deque[Owed] = deque()
        self._outbox_filled = trio.Event()
        self._owed: deque[Owed] = deque()  # written, oldest first
        self._rest = b""  # of the last one, where the socket took only a part of it
        self._is_shared = False  # whether many were written together, the last time
        self._heard = 0.0  # when the last bytes came
        # Ends the reading when a reply may be late. Its deadline is kept beside it: asking is slow.
        self._patience = trio.CancelScope()
        self._deadline = inf
        self._service = trio.CancelScope(shield=True)
        self.failure: BaseException | None = None
        """Why it ended, if it did. Only this class changes it."""
        self.ended: trio.Event = trio.Event()

    @property
    def is_open(self) -> bool:
        """Whether commands can be queued."""
        return self.failure is None

    async def call(self, *command: bytes | str | int) -> Reply:
        """Send one command and return its reply; a refusal is returned too.

        Raises:
          OutcomeUnknown: the connection was lost, or no answer came in time, after it was sent.
          ConnectionLost: it was not sent.

        Cancellation: may have happened, once the command was written.
        """
        return (await self.exchange(pack(command), 1)).unwrap()[0]

    async def call_many(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one write and return their replies, in order. Otherwise like `call`."""
        return (await self.exchange(pack_all(commands), len(commands))).unwrap()

    @trio.lowlevel.enable_ki_protection
    async def exchange(self, data: bytes, expected: int) -> Owed:
        """Send packed commands and wait until they are answered or lost.

        Cancelled, they are withdrawn, or left as a tombstone if they were written. In a scope that
        is cancelled already, they are not sent.
        """
        if expected == 0:
            await trio.lowlevel.checkpoint()
            return Owed(data, 0, 0.0)
        if not (self._owed or self._outbox or self._is_shared):
            # It may be sent in this step. What is queued is withdrawn by a wait that is cancelled.
            await trio.lowlevel.checkpoint_if_cancelled()
        if not self._credit.take_if_free(expected, len(data)):
            await self._credit.acquire(expected, len(data))
        # No checkpoint until it is queued: the order of writing is the order of replies.
        owed = self._queue(Owed(data, expected, self._timeout))
        try:
            await owed.wait()
        except BaseException:
            if not owed.arrived:
                self.abandon(owed)
            raise
        return owed

    def queue_now(self, data: bytes, expected: int, on_arrival: Callable[[Owed], None]) -> Owed:
        """Queue packed commands at once, within the window; nobody waits for the answers.

        *on_arrival* is called once with what is returned, when it is answered or lost: perhaps
        before this returns. It must not raise.

        Raises:
          trio.WouldBlock: there is no room, or others wait for some.
        """
        if not self._credit.take_if_free(expected, len(data)):
            raise trio.WouldBlock
        told = Told(data, expected, self._timeout, on_arrival)
        return self._queue(told, is_alone=False)  # who does not wait comes again at once

    def submit(self, data: bytes, expected: int, patience: float) -> Owed:
        """Queue packed commands at once, past the window; wait for what it returns.

        It is given up when its replies have not come *patience* seconds after it was written.
        """
        self._credit.take(expected, len(data))
        return self._queue(Owed(data, expected, patience))

    @trio.lowlevel.enable_ki_protection
    def _queue(self, owed: Owed, *, is_alone: bool = True) -> Owed:
        if self.failure is not None:
            self._finish(owed, self.failure)
        elif self._outbox:
            self._outbox.append(owed)
        elif self._owed or self._is_shared or not (is_alone and self._sent_now(owed)):
            self._outbox_filled.set()
            self._outbox.append(owed)
        return owed

    def _sent_now(self, owed: Owed) -> bool:
        """Send it without the help of another task; say if it was sent, at least in part.

        Only where nothing is under way, and the last write was of one task: what many send at the
        same time is written together.
        """
        size = len(owed.data)
        sent = 0 if size > _SMALL else self._wire.send_now(owed.data)
        if not sent:
            return False
        if sent < size:
            self._rest = owed.data[sent:]
            self._outbox_filled.set()
        owed.written = trio.current_time()
        self._owed.append(owed)
        self._hasten()
        return True

    def abandon(self, owed: Owed) -> bool:
        """Give up waiting; say whether it was never written (it did not happen then)."""
        owed.abandoned = True
        if owed.written is not None:
            return False
        self._outbox.remove(owed)
        self._finish(owed, None)
        return True

    @trio.lowlevel.enable_ki_protection
    async def serve(self) -> None:
        """Write and read until the connection is lost or `close` is called; never raises.

        It runs in a shielded scope that only `close` cancels, so that whoever is being cancelled
        can still use the pipeline to clean up.
        """
        try:
            with self._service:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, nursery.cancel_scope)
                    nursery.start_soon(self._read, nursery.cancel_scope)
        finally:
            self.fail(trio.ClosedResourceError("closed by us"))
            try:
                await self._wire.aclose()
            finally:
                self.ended.set()  # also when we are cancelled: the wire is closed all the same

    def close(self) -> None:
        """End it now; whoever waits gets an exception."""
        self.fail(trio.ClosedResourceError("closed by us"))
        self._service.cancel()

    def retire(self, cause: BaseException) -> None:
        """Take nothing more in, and end when what is owed has come; the first cause stays.

        What was not written is lost. It is the end for a server that answers, and should not be
        asked any more.
        """
        self.failure = self.failure or cause
        while self._outbox:
            self._finish(self._outbox.popleft(), cause)
        if not self._owed:
            self._patience.cancel()

    def fail(self, cause: BaseException) -> None:
        """Give every waiter its own exception from *cause*; the first cause stays."""
        self.failure = self.failure or cause
        for queue in (self._owed, self._outbox):
            while queue:
                self._finish(queue.popleft(), cause)

    def _finish(self, owed: Owed, cause: BaseException | None) -> None:
        """Mark *owed* as answered or lost, and give back its credit: in one step."""
        self._credit.release(owed.expected, len(owed.data))
        owed.arrive(cause)

    @trio.lowlevel.enable_ki_protection
    async def _write(self, scope: trio.CancelScope) -> None:
        try:
            while True:
                await self._outbox_filled.wait()
                self._outbox_filled = trio.Event()
                if data := self._take_outbox():
                    await self._wire.send(data)
        except _EXPECTED as error:
            self.fail(_root(error))
            scope.cancel()

    def _take_outbox(self) -> bytes:
        """Move everything queued to the owed ones, and return its bytes for one write."""
        now = trio.current_time()
        chunks: list[bytes] = []
        if self._rest:
            chunks.append(self._rest)
            self._rest = b""
        for owed in self._outbox:
            owed.written = now
            chunks.append(owed.data)
        self._owed += self._outbox
        self._outbox.clear()
        self._hasten()
        self._is_shared = len(chunks) > 1
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    @trio.lowlevel.enable_ki_protection
    async def _read(self, scope: trio.CancelScope) -> None:
        try:
            while self.failure is None or self._owed:
                with self._patience:
                    await self._receive()
                if self._due <= trio.current_time():
                    self.fail(TimeoutError("the server did not answer in time"))
                self._deadline = self._due
                self._patience = trio.CancelScope(deadline=self._deadline)
        except _EXPECTED as error:
            self.fail(_root(error))
        scope.cancel()

    async def _receive(self) -> None:
        """Receive until nothing more is to come."""
        while self.failure is None or self._owed:
            self._match(await self._wire.receive())
            if self._owed:
                self._heard = trio.current_time()
                self._hasten()

    def _match(self, replies: list[Reply]) -> None:
        """Give each reply to the oldest that is owed some: to each as many at a time as it is."""
        at = commands = size = 0
        try:
            while at < len(replies):
                if not self._owed:
                    kind = type(replies[at]).__name__
                    raise ProtocolError(f"a reply that nobody asked for: {kind}")
                owed = self._owed[0]
                part = replies[at : at + owed.expected - len(owed.replies)]
                at += len(part)
                for reply in part:
                    if type(reply) is ErrorReply and is_demotion(reply):
                        # A failover happened. Another connection may lead to the new primary.
                        self.retire(to_exception(reply))
                # The replies to a tombstone are counted and not kept.
                owed.replies += [None] * len(part) if owed.abandoned else part
                if len(owed.replies) == owed.expected:
                    self._owed.popleft()
                    commands += owed.expected
                    size += len(owed.data)
                    owed.arrive(None)
        finally:
            self._credit.release(commands, size)  # of all at once

    @property
    def _due(self) -> float:
        """Until when the oldest owed reply has time, from writing or the last sign of life."""
        if not self._owed:
            return inf
        oldest = self._owed[0]
        return max(oldest.written or 0.0, self._heard) + oldest.patience

    def _hasten(self) -> None:
        """End the reading no later than the oldest owed reply is due.

        It is never put off: whoever is woken too early sees that, and that is seldom, while replies
        come all the time.
        """
        due = self._due
        if due < self._deadline:
            self._deadline = self._patience.deadline = due


def _root(error: BaseException) -> BaseException:
    """Return the reason behind trio's generic error, where there is one."""
    return error.__cause__ or error
