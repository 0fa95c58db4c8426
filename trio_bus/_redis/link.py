"""The command connection of a backend: always there, or on its way back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from trio_bus._chance import chance
from trio_bus._errors import BusClosed, BusError, ConnectionLost, RemoteError

from .connecting import Server, Session
from .credit import Credit
from .owed import Owed
from .pipeline import Pipeline
from .resp import Command, Reply, pack, pack_all

_FIRST = 0.05
_CAP = 5.0
_STABLE = 1.0
_FLAPPING = 4
WINDOW_COMMANDS = 4096
WINDOW_BYTES = 8 * 1024 * 1024

Connect = Callable[[float], Awaitable[Session]]
"""Makes one attempt, in at most so many seconds."""


def jittered(failures: int) -> float:
    """Return how long to wait after that many failures in a row: full jitter, up to 5 s."""
    longest = min(_CAP, _FIRST * 2 ** min(failures, 10))
    return chance.uniform(0.0, longest)


async def connect_first(connect: Connect, timeout: float) -> Session:
    """Connect, again and again for *timeout* seconds.

    Raises:
      ConnectionLost: it did not succeed in time; this is the loss that the last attempt met, or the
        one before it, where the end of the time cut the last one short.
      AuthenticationFailed, PermissionDenied, Unsupported, RemoteError, TlsFailed,
      ValidationError: at once; they do not heal.
    """
    deadline = trio.current_time() + timeout
    failures = 0
    told: ConnectionLost | None = None
    while True:
        left = max(0.0, deadline - trio.current_time())
        try:
            return await connect(left)
        except ConnectionLost as loss:
            failures += 1
            pause = jittered(failures)
            is_cut_short = isinstance(loss.__cause__, TimeoutError) and left < timeout / 2
            told = told if told and is_cut_short and trio.current_time() >= deadline else loss
            if trio.current_time() + pause >= deadline:
                raise told from told.__cause__
        await trio.sleep(pause)


class Link:
    """Keeps one pipelined connection alive; `serve` does it and must run.

    Callers wait for a connection for at most *command_timeout* seconds.
    """

    def __init__(
        self,
        connect: Connect,
        first: Session,
        *,
        connect_timeout: float,
        command_timeout: float,
        on_error: Callable[[BusError], None],
        on_back: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._connect_timeout = connect_timeout
        self._timeout = command_timeout
        self._on_error = on_error
        self._on_back = on_back
        self._pipeline: Pipeline | None = self._make(first)
        self._connected = trio.Event()
        self._connected.set()
        self._last: BaseException | None = None
        self._closed = False
        self._scope = trio.CancelScope(shield=True)

    @property
    def current(self) -> Pipeline | None:
        """The pipeline that works now, if there is one."""
        pipeline = self._pipeline
        return pipeline if pipeline is not None and pipeline.failure is None else None

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def check_open(self) -> None:
        """Raise `BusClosed` if `close` was called."""
        if self._closed:
            raise BusClosed("the backend was closed")

    async def call(self, *command: bytes | str | int) -> Reply:
        """Send one command and return its reply; a refusal is returned too.

        Raises:
          ConnectionLost: as in `Pipeline.call`, or there is no connection.
          BusClosed: the backend was closed.

        Cancellation: may have happened, once the command was written.
        """
        return (await self.exchange(pack(command), 1)).unwrap()[0]

    async def call_many(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one write and return their replies, in order. Otherwise like `call`."""
        return (await self.exchange(pack_all(commands), len(commands))).unwrap()

    def connected(self) -> Pipeline:
        """Return the pipeline that works now.

        Raises:
          ConnectionLost: there is none.
          BusClosed: the backend was closed.
        """
        self.check_open()
        if (pipeline := self.current) is not None:
            return pipeline
        raise ConnectionLost(f"there is no connection now: {self._last}") from self._last

    async def wait_connected(self) -> Pipeline:
        """Wait until there is a connection, and return it; no checkpoint if there is one.

        Raises:
          ConnectionLost: there was none for the command timeout.
          BusClosed: the backend was closed.
        """
        return self.current or await self._wait_connected()

    async def exchange(self, data: bytes, expected: int) -> Owed:
        """Send packed commands and wait until they are answered or lost."""
        pipeline = self.current or await self._wait_connected()
        return await pipeline.exchange(data, expected)

    @trio.lowlevel.enable_ki_protection
    async def serve(self) -> None:
        """Serve, and connect again after each loss, until `close`; never raises."""
        with self._scope:
            failures = 0
            while True:
                if self._pipeline is None:
                    await trio.sleep(jittered(failures))
                    failures += not await self._reconnect()
                else:
                    began = trio.current_time()
                    await self._pipeline.serve()
                    cause = self._pipeline.failure
                    stable = trio.current_time() - began >= _STABLE
                    # A server that stays a replica is not asked as often as one that flaps.
                    most = failures + 1 if isinstance(cause, RemoteError) else _FLAPPING
                    failures = 0 if stable else min(failures + 1, most)
                    self._on_loss(cause)

    def follow(self, reader: Pipeline) -> None:
        """Give up the command connection too if *reader* met a replica and it leads there.

        A consumer that holds nothing writes with its reader alone: nothing else would notice.
        """
        current = self.current
        if current is None or not isinstance(reader.failure, RemoteError):
            return
        ours, theirs = current.session.server.run_id, reader.session.server.run_id
        if ours == theirs or ours is None or theirs is None:
            current.retire(reader.failure)

    def meet(self, server: Server) -> None:
        """Give up the command connection if a new connection has met another server.

        The address leads there now. Who only looks would never be refused where it was, and would
        tell the wrong server to end a read.
        """
        current = self.current
        ours = None if current is None else current.session.server.run_id
        if current is not None and None not in {ours, server.run_id} and ours != server.run_id:
            current.retire(ConnectionAbortedError("another server answers at this address now"))

    def close(self) -> None:
        """End it; waiting callers get an exception."""
        self._closed = True
        if self._pipeline is not None:
            self._pipeline.close()
        self._connected.set()
        self._scope.cancel()

    def _make(self, session: Session) -> Pipeline:
        credit = Credit(WINDOW_COMMANDS, WINDOW_BYTES)
        return Pipeline(session, command_timeout=self._timeout, credit=credit)

    async def _reconnect(self) -> bool:
        try:
            session = await self._connect(self._connect_timeout)
        except BusError as error:
            # What a credential provider raised may be secret: it stays behind our error.
            cause = error.__cause__
            self._last = cause if isinstance(cause, OSError | EOFError) else error
            self._on_error(error)
            return False
        self._pipeline = self._make(session)
        if self._closed:  # while we connected: nobody else would end it
            self._pipeline.close()
            return True
        self._connected.set()
        self._on_back()
        return True

    def _on_loss(self, cause: BaseException | None) -> None:
        self._pipeline = None
        self._last = cause
        if self._closed:
            return
        self._connected = trio.Event()
        error = ConnectionLost(f"the connection was lost: {cause}")
        error.__cause__ = cause
        self._on_error(error)

    async def _wait_connected(self) -> Pipeline:
        """Wait for a connection; each caller gets an exception of its own."""
        with trio.move_on_after(self._timeout):
            while not self._closed:
                # A pipeline that has just failed is replaced by its service task.
                await (
                    self._connected.wait()
                    if self._pipeline is None
                    else self._pipeline.ended.wait()
                )
                if (pipeline := self.current) is not None:
                    return pipeline
                await trio.lowlevel.checkpoint()
        self.check_open()
        error = ConnectionLost(f"no connection to the server for {self._timeout:g} s: {self._last}")
        raise error from self._last
