"""One connection that many tasks share: commands written together, replies matched in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from math import inf

import trio

from .connecting import Session
from .credit import Credit
from .errors import is_demotion, to_exception
from .owed import Owed, Told
from .resp import Command, ErrorReply, ProtocolError, Reply, pack, pack_all

_LARGE = 16 * 1024
"""Bytes that are worth a write of their own."""
_EXPECTED = (OSError, EOFError, trio.BrokenResourceError, trio.ClosedResourceError, ProtocolError)


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
        self._is_sending = False  # whether the task that writes is waiting for the socket
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
        owed = self.begin_together(data, expected) or await self.begin(data, expected)
        try:
            await owed.wait()
        except BaseException:
            self.leave(owed)
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

    def begin_together(self, data: bytes, expected: int) -> Owed | None:
        """Do what `begin` does, where others are under way and there is room; else return None.

        It needs no look at whether the scope is cancelled: a wait withdraws what is queued.
        """
        size = len(data)
        if not (self._owed or self._outbox or self._is_shared) or size > _LARGE or not expected:
            return None
        if not self._credit.take_if_free(expected, size):
            return None
        return self._queue(Owed(data, expected, self._timeout))

    async def begin(self, data: bytes, expected: int) -> Owed:
        """Send or queue packed commands, and return what to wait for; or else to `abandon`.

        Cancelled, they are not sent.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # they may be sent in this step
        owed = Owed(data, expected, self._timeout)
        if not expected:
            owed.arrive(None)
            return owed
        if not self._credit.take_if_free(expected, len(data)):
            await self._credit.acquire(expected, len(data))
        # No checkpoint until it is queued: the order of writing is the order of replies.
        return self._queue(owed)

    @trio.lowlevel.enable_ki_protection
    def _queue(self, owed: Owed, *, is_alone: bool = True) -> Owed:
        if self.failure is not None:
            self._finish(owed, self.failure)
        elif self._outbox:
            self._outbox.append(owed)
        elif not (self._may_send(owed, is_alone=is_alone) and self._sent_now(owed)):
            self._outbox_filled.set()
            self._outbox.append(owed)
        return owed

    def _may_send(self, owed: Owed, *, is_alone: bool) -> bool:
        """Say whether it is to be sent without the help of another task.

        That is what is large, unless the other task is sending; and what is small, where nothing is
        under way, and the last write was of one task. What many send at the same time is written
        together.
        """
        if len(owed.data) > _LARGE:
            return not (self._is_sending or self._rest)
        return is_alone and not (self._owed or self._is_shared)

    def _sent_now(self, owed: Owed) -> bool:
        """Say if it was sent, at least in part."""
        size = len(owed.data)
        sent = self._wire.send_now(owed.data)
        if not sent:
            return False
        if sent < size:
            self._rest = owed.data[sent:]
            self._outbox_filled.set()
        owed.written = trio.current_time()
        self._owed.append(owed)
        self._hasten()
        return True

    def leave(self, owed: Owed) -> None:
        """Wait no more for what may have arrived in the moment between the cancel and this."""
        if not owed.arrived:
            self.abandon(owed)

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
                data = self._take_outbox()
                if rest := data[self._wire.send_now(data) :]:
                    self._is_sending = True
                    await self._wire.send(rest)
                    self._is_sending = False
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
        for reply in replies:
            if type(reply) is ErrorReply and is_demotion(reply):
                # A failover happened. Another connection may lead to the new primary.
                self.retire(to_exception(reply))
        at = commands = size = 0
        try:
            while at < len(replies):
                if not self._owed:
                    kind = type(replies[at]).__name__
                    raise ProtocolError(f"a reply that nobody asked for: {kind}")
                owed = self._owed[0]
                if owed.expected == 1 and not owed.abandoned:  # without a list for one reply
                    owed.replies.append(replies[at])
                    at += 1
                else:
                    part = replies[at : at + owed.expected - len(owed.replies)]
                    at += len(part)
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
