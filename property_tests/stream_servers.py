"""A bare connection to a real server."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator, Sequence
from typing import cast

import hiredis

Reply = bytes | int | str | list["Reply"] | None
"""What a server answers; an error is a str."""


class Wire:
    """A blocking connection that sends many commands at once and reads all the replies."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = hiredis.Reader()

    def call(self, commands: Sequence[tuple[bytes, ...]]) -> list[Reply]:
        """Send all, then read a reply for each."""
        self._socket.sendall(b"".join(_packed(command) for command in commands))
        return [self.receive() for _ in commands]

    def send(self, command: tuple[bytes, ...]) -> None:
        """Send a command whose reply is to be received later."""
        self._socket.sendall(_packed(command))

    def receive(self) -> Reply:
        """Wait for one reply."""
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
