"""Appending and waiting for disks, on a connection of its own: the wait holds up what follows."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from trio_bus._entry_id import EntryId
from trio_bus._errors import (
    BusClosed,
    BusError,
    ConnectionLost,
    NotPersisted,
    RemoteError,
    Unsupported,
)
from trio_bus._once import Append, too_many_fields

from .appending import not_sent, pack, result_of
from .connecting import Server
from .errors import to_exception
from .link import WINDOW_BYTES, WINDOW_COMMANDS
from .owed import Owed
from .pipeline import Pipeline
from .replies import as_int, as_row
from .resp import ErrorReply, Reply
from .resp import pack as pack_command

Outcome = EntryId | Exception

_GRACE = 1.0
_PROBE = ("WAITAOF", 1, 0, 1)


@attrs.define(eq=False)
class _Request:
    """What one caller wants to be appended, and what became of it."""

    appends: Sequence[Append]
    commands: Sequence[bytes]
    size: int
    outcomes: list[Outcome] | None = None
    abandoned: bool = False
    ended: trio.Event = attrs.field(factory=trio.Event)

    def end(self, outcomes: list[Outcome]) -> None:
        self.outcomes = outcomes
        self.ended.set()

    def fail(self, error: BusError) -> None:
        """Nothing was appended: give each record an error of its own."""
        self.end([_another(error) for _ in self.appends])


class Lane:
    """Appends for all who want the same number of replicas; others would have to wait with them.

    One batch is under way, and what arrives meanwhile is the next one: the wait for a disk, which
    may take a second, is shared. WAITAOF waits for the last write of its own client alone, so that
    both go over one connection. It is opened when it is needed.

    Invariant: `_serve` runs exactly while there is a request that has not ended.
    """

    def __init__(
        self,
        replicas: int,
        open_pipeline: Callable[[], Awaitable[Pipeline]],
        start: Callable[[Callable[[], Awaitable[None]]], None],
        timeout: float,
    ) -> None:
        self._replicas = replicas
        self._open_pipeline = open_pipeline
        self._start = start
        self._timeout = timeout
        self._waiting: deque[_Request] = deque()
        self._under_way: list[_Request] = []
        self._pipeline: Pipeline | None = None
        self._busy = False
        self._scope = trio.CancelScope(shield=True)

    async def append(self, appends: Sequence[Append]) -> list[Outcome]:
        """Append and wait; see `StreamBackend.append_persisted`.

        Cancelled before its batch is sent, it did not happen.
        """
        refused = [
            too_many_fields(append.record) if append.once is not None else None
            for append in appends
        ]
        wanted = [append for append, error in zip(appends, refused, strict=True) if not error]
        stored = iter(await self._enqueue(wanted))
        return [error or next(stored) for error in refused]

    async def _enqueue(self, appends: Sequence[Append]) -> list[Outcome]:
        if not appends:
            await trio.lowlevel.checkpoint()
            return []
        commands = [pack(it.topic, it.record, it.once, write_again=True) for it in appends]
        request = _Request(appends, commands, sum(map(len, commands)))
        self._put(request)
        try:
            await request.ended.wait()
        except BaseException:
            request.abandoned = True
            if request in self._waiting:
                self._waiting.remove(request)
            raise
        assert request.outcomes is not None
        return request.outcomes

    @trio.lowlevel.enable_ki_protection
    def _put(self, request: _Request) -> None:
        self._waiting.append(request)
        if not self._busy:
            self._busy = True
            self._scope = trio.CancelScope(shield=True)
            self._start(self._serve)

    def close(self) -> None:
        """End it; whoever waits gets an exception. Its connection was closed before."""
        self._scope.cancel()

    @trio.lowlevel.enable_ki_protection
    async def _serve(self) -> None:
        """Work until nobody waits, or `close` is called; never raises.

        Shielded, so that whoever is being cancelled can still publish in a shield of its own.
        """
        with self._scope:
            while batch := self._take_batch():
                self._under_way = batch
                await self._work(batch)
                self._under_way = []
        for request in (*self._under_way, *self._waiting):
            request.fail(BusClosed("the backend was closed"))
        self._waiting.clear()
        self._busy = False

    def _take_batch(self) -> list[_Request]:
        """Take what waits, up to the usual window; at least one."""
        batch: list[_Request] = []
        count = size = 0
        while self._waiting:
            count += len(self._waiting[0].commands)
            size += self._waiting[0].size
            if batch and (count > WINDOW_COMMANDS or size > WINDOW_BYTES):
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _work(self, batch: list[_Request]) -> None:
        try:
            pipeline = await self._ready()
        except BusError as error:
            for request in batch:
                request.fail(error)
            return
        batch = [request for request in batch if not request.abandoned]
        if not batch:
            return
        count = sum(len(request.commands) for request in batch)
        timeout_ms = 0 if self._timeout == math.inf else max(1, math.ceil(self._timeout * 1000))
        wait = pack_command(("WAITAOF", 1, self._replicas, timeout_ms))
        data = b"".join([command for request in batch for command in request.commands])
        # Servers look at their timeouts ten times a second; one that is late is not lost.
        patience = self._timeout + max(self._timeout, _GRACE)
        owed = pipeline.submit(data + wait, count + 1, patience)
        await owed.wait()
        self._answer(batch, owed)

    async def _ready(self) -> Pipeline:
        """Return a connection on which such a wait is possible now; nothing was stored yet.

        Raises:
          BusError: there is none, or it is not.
        """
        pipeline = self._pipeline
        reply = await _probe(pipeline) if pipeline is not None and pipeline.is_open else None
        if pipeline is None or reply is None:  # it went away while nobody used it
            pipeline = self._pipeline = await self._open()
            reply = await _probe(pipeline)
        if reply is None:
            raise not_sent(pipeline.failure)
        if isinstance(reply, ErrorReply):
            error = _unable(reply, pipeline.session.server)
            if error.code == "READONLY":
                pipeline.close()  # the next attempt meets whoever is the primary then
            raise error
        return pipeline

    async def _open(self) -> Pipeline:
        """Open the connection; whatever is wrong may be mended before the next attempt."""
        try:
            return await self._open_pipeline()
        except (BusClosed, ConnectionLost):
            raise
        except BusError as error:
            raise not_sent(error) from error

    def _answer(self, batch: list[_Request], owed: Owed) -> None:
        answers = list(owed.answers())
        verdict = _Verdict.of(answers.pop(), self._replicas)
        for request in batch:
            part = answers[: len(request.commands)]
            del answers[: len(request.commands)]
            request.end([verdict.on(result_of(answer)) for answer in part])


async def _probe(pipeline: Pipeline) -> Reply:
    """Ask whether the wait is possible; None: the connection is lost. It changes nothing.

    It answers within a millisecond, whatever is still on its way to the disk.
    """
    try:
        return await pipeline.call(*_PROBE)
    except ConnectionLost:
        return None


@attrs.frozen
class _Verdict:
    """What the wait brought."""

    local: int
    replicas: int
    wanted: int
    cause: Exception | None = None

    @classmethod
    def of(cls, answer: Reply | ConnectionLost, wanted: int) -> _Verdict:
        if isinstance(answer, ConnectionLost):
            return cls(0, 0, wanted, answer)
        if isinstance(answer, ErrorReply):
            return cls(0, 0, wanted, to_exception(answer))
        local, replicas = as_row(answer, 2)
        return cls(as_int(local), as_int(replicas), wanted)

    def on(self, outcome: Outcome) -> Outcome:
        """Return the outcome of one record."""
        enough = self.local >= 1 and self.replicas >= self.wanted
        if enough or not isinstance(outcome, EntryId):
            return outcome
        error = NotPersisted(outcome, self.local, self.replicas, self.wanted)
        error.__cause__ = self.cause
        return error


def _unable(reply: ErrorReply, server: Server) -> RemoteError:
    """Say why PERSISTED cannot be had."""
    error = to_exception(reply)
    version = ".".join(map(str, server.version))
    if isinstance(error, Unsupported):
        return Unsupported(
            f"ERR {server.name} {version} has no WAITAOF: PERSISTED needs Redis 7.2 or Valkey"
        )
    if error.code != "ERR":
        return error
    if "replica" in reply.text:  # what it says to a write; the next server may be the right one
        return RemoteError(f"READONLY {reply.text}")
    return Unsupported(
        f"ERR {server.name} {version} persists nothing: PERSISTED needs `appendonly yes`"
        f" ({reply.text})"
    )


def _another(error: BusError) -> BusError:
    """Return a new exception like this one: no two callers get the same."""
    made = type(error)(*error.args)
    made.__cause__ = error.__cause__ or error
    return made
