"""A bare connection to a real server."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator, Sequence
from typing import cast

import hiredis

from trio_bus._memory.dialect import REDIS_6, VALKEY, Dialect

Reply = bytes | int | str | list["Reply"] | None
"""What a server answers; an error is a str."""

# How those servers answer that the pure stream knows. (Redis 7 is between these, and not compared.)
_DIALECTS = {"Redis 6.2": REDIS_6, "Redis 8.2": VALKEY, "Valkey 8.1": VALKEY, "Valkey 9.1": VALKEY}


def dialect_of(version: str) -> Dialect | None:
    """Return the dialect of a server like ``Redis 6.2.14``, if it is known."""
    return _DIALECTS.get(version.rpartition(".")[0])


class Wire:
    """A blocking connection that sends many commands at once and reads all the replies."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = hiredis.Reader()

    def call(self, commands: Sequence[tuple[bytes, ...]]) -> list[Reply]:
        """Send all, then read a reply for each."""
        self._socket.sendall(b"".join(_packed(command) for command in commands))
        return [self._read() for _ in commands]

    def _read(self) -> Reply:
        while True:
            reply: object = self._reader.gets()
            if reply is not False:
                return _plain(reply)
            self._reader.feed(self._socket.recv(1 << 16))


@contextlib.contextmanager
def connect(url: str) -> Generator[Wire, None, None]:
    """Connect to ``unix://...``."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(url.removeprefix("unix://"))
        yield Wire(connection)


def _packed(command: tuple[bytes, ...]) -> bytes:
    parts = [b"$%d\r\n%b\r\n" % (len(part), part) for part in command]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def _plain(reply: object) -> Reply:
    if isinstance(reply, list):
        return [_plain(part) for part in cast("list[object]", reply)]
    if isinstance(reply, hiredis.ReplyError):
        return str(reply)
    assert reply is None or isinstance(reply, bytes | int)
    return reply
