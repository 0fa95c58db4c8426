"""A proxy between a client and its server that does to their connections what networks do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import cast
from urllib.parse import urlsplit

import trio

from trio_bus._checks import is_number
from trio_bus._errors import ValidationError
from trio_bus._one_error import one_error
from trio_bus._redis.address import Address

from ._conditions import Direction, Exchange
from ._fault import Act, Fault
from ._relays import Relays


class FaultProxy:
    """A relay on a port of its own that causes faults on request. Made by `open_fault_proxy`.

    It understands just enough of the protocol to know where a command and its reply begin and
    end, so that a fault can be aimed: before the server has a command, or inside its reply.
    Replies are told from pushes in RESP3. Commands that have no reply (``CLIENT REPLY OFF``,
    ``MONITOR``) throw the counting off; so do the messages of a subscription in RESP2.

    Nothing is passed on before there is room for it, and nothing is read ahead but one chunk: a
    side that is slow, or stalled, slows the other one down as if they were connected directly.
    """

    def __init__(self, target: str, port: int, relays: Relays) -> None:
        self._target = target
        self._url = _url(target, port)
        self._relays = relays
        self._conditions = relays.conditions

    def __repr__(self) -> str:
        safe = self._relays.address.safe_url
        return f"<FaultProxy to {safe}, {self.connections} connections>"

    @property
    def url(self) -> str:
        """Where clients connect to: the first target's credentials, database and options."""
        return self._url

    @property
    def target(self) -> str:
        """Where new connections lead. Set it to move them; those that are there stay.

        Raises:
          ValidationError: the URL is none of a server without TLS.
        """
        return self._target

    @target.setter
    def target(self, url: str) -> None:
        self._relays.address = _parse(url)
        self._target = url

    @property
    def refuse(self) -> bool:
        """Whether new connections are closed at once; those that are there stay. False at first."""
        return self._relays.refuse

    @refuse.setter
    def refuse(self, value: bool) -> None:
        self._relays.refuse = value

    @property
    def delay(self) -> float:
        """Seconds that every chunk waits, in both directions; the order stays. 0 at first.

        Raises:
          ValidationError: it is negative, or not a number.
        """
        return self._conditions.delay

    @delay.setter
    def delay(self, seconds: float) -> None:
        if not is_number(seconds) or not 0 <= seconds < float("inf"):
            raise ValidationError(f"delay: {seconds!r} is not 0 or more seconds")
        self._conditions.delay = seconds

    @property
    def piece_size(self) -> int | None:
        """The most bytes of replies that are passed at a time; None, at first, for no limit.

        With 1, every reply is split at every byte: a client in this process reads them one by
        one, any other one may find several together.

        Raises:
          ValidationError: it is not None and less than 1.
        """
        return self._conditions.piece_size

    @piece_size.setter
    def piece_size(self, size: int | None) -> None:
        if size is not None:
            _check_count("piece_size", size, 1)
        self._conditions.piece_size = size

    @property
    def connections(self) -> int:
        """How many connections there are now."""
        return self._relays.open

    @property
    def accepted(self) -> int:
        """How many connections there have been, refused ones included."""
        return self._relays.accepted

    @property
    def request_bytes(self) -> int:
        """How many bytes were passed to servers."""
        return self._conditions.request_bytes

    @property
    def reply_bytes(self) -> int:
        """How many bytes were passed to clients."""
        return self._conditions.reply_bytes

    def cut(self) -> None:
        """End all connections in order (FIN), now. What was read and not passed is lost."""
        self._relays.end(reset=False)

    def reset(self) -> None:
        """End all connections at once (RST), now. What was read and not passed is lost."""
        self._relays.end(reset=True)

    def stall(self, direction: Direction | None = None) -> None:
        """Pass nothing more until `resume`, not even the end of a connection; bytes wait.

        Connections are still taken: this is what a link that went silent looks like.

        Args:
          direction: Which way; both if it is not given.
        """
        self._conditions.gate.close(*(Direction if direction is None else [direction]))

    def resume(self) -> None:
        """Undo every stall, also those of single connections. Nothing was lost."""
        self._relays.resume()

    def before_command(
        self, command: str | None = None, act: Act = Act.CUT, *, skip: int = 0, times: int = 1
    ) -> Fault:
        """Plan a fault before the server has a command: it will not be executed.

        What the client sent before it on the same connection is passed first.

        Args:
          command: Its first word, in any case; any command if it is None.
          act: What happens.
          skip: How many such commands are let through first, on all connections together.
          times: How often it happens, to one command after the other.

        Raises:
          ValidationError: *command* is not one word, *skip* is negative, or *times* less than 1.
        """
        return self._plan(command, act, after=None, skip=skip, times=times)

    def in_reply(
        self,
        command: str | None = None,
        act: Act = Act.CUT,
        *,
        after: int = 0,
        skip: int = 0,
        times: int = 1,
    ) -> Fault:
        """Plan a fault in the reply to a command: the server has executed it.

        Args:
          command: Its first word, in any case; any command if it is None. Only commands that are
            sent from now on count.
          act: What happens.
          after: How many bytes of the reply are passed first; what is more than the reply has means
            all of it.
          skip: How many such commands are let through first, on all connections together.
          times: How often it happens, to one command after the other.

        Raises:
          ValidationError: *command* is not one word, *after* or *skip* is negative, or *times* is
            less than 1.
        """
        _check_count("after", after, 0)
        return self._plan(command, act, after=after, skip=skip, times=times)

    def forget_faults(self) -> None:
        """Forget the planned faults that have not met their command."""
        self._conditions.faults.clear()

    @contextmanager
    def recording(self) -> Generator[list[Exchange]]:
        """Give a list that grows, inside the ``with`` block, with every reply that comes.

        It tells which commands a call sends, and how long their replies are.
        """
        exchanges: list[Exchange] = []
        recordings = self._conditions.recordings
        recordings.append(exchanges)
        try:
            yield exchanges
        finally:
            # By identity: two of them may hold the same.
            recordings[:] = [it for it in recordings if it is not exchanges]

    def _plan(
        self, command: str | None, act: Act, *, after: int | None, skip: int, times: int
    ) -> Fault:
        name = None if command is None else command.upper()
        if name is not None and name.split() != [name]:
            raise ValidationError(f"command: {command!r} is not one word")
        _check_count("skip", skip, 0)
        _check_count("times", times, 1)
        return self._conditions.faults.add(Fault(name, act, after), skip=skip, times=times)


@asynccontextmanager
async def open_fault_proxy(target: str) -> AsyncGenerator[FaultProxy]:
    """Put a proxy in front of the server at *target*, for the length of an ``async with`` block.

    It listens on a free port of 127.0.0.1. The server need not be there yet: a connection that
    cannot be passed on is closed. Leaving ends all connections, at once.

    Args:
      target: The URL of the server: ``redis://``, ``valkey://`` or ``unix://``.

    Raises:
      ValidationError: the URL is none of a server without TLS.
    """
    relays = Relays(_parse(target))
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = cast("tuple[str, int]", listener.socket.getsockname())[1]
    proxy = FaultProxy(target, port, relays)
    with one_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, relays.serve, [listener])
            try:
                yield proxy
            finally:
                nursery.cancel_scope.cancel()


def _parse(target: str) -> Address:
    address = Address.parse(target)
    if address.tls is not None:
        raise ValidationError("target: TLS cannot be relayed: faults are aimed at what is read")
    return address


def _url(target: str, port: int) -> str:
    """Return where clients connect to instead of *target*, with everything else it says."""
    parts = urlsplit(target)
    user = parts.netloc.rpartition("@")[0]
    path = "" if parts.scheme == "unix" else parts.path
    query = f"?{parts.query}" if parts.query else ""
    return f"redis://{user}{'@' if user else ''}127.0.0.1:{port}{path}{query}"


def _check_count(name: str, value: int, minimum: int) -> None:
    if type(value) is not int or value < minimum:
        raise ValidationError(f"{name}: {value!r} is not a whole number from {minimum}")
