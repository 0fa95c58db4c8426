"""A server that a test can freeze, kill, empty, start again with other settings, and replicate."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest
import trio

from tests.server_kinds import find_binary
from trio_bus._redis.connecting import Wire
from trio_bus._redis.replies import as_text
from trio_bus._redis.resp import Argument, Command, ErrorReply, Reply

_START_TIMEOUT = 20.0
# Below those that systems give to whoever connects, or listens anywhere.
_PORTS = range(20_000, 32_000)
# Without a fsync, what is confirmed is written before: a kill loses nothing, however slow the disk.
_ALWAYS = (
    "--bind 127.0.0.1 --save '' --appendonly yes --appendfsync no --repl-diskless-sync-delay 0"
)


class Ask(Protocol):
    """Sends one command and returns its reply; a refusal is returned too."""

    async def __call__(self, *words: Argument) -> Reply:
        """Do it."""
        ...


def free_port() -> int:
    """Return a port that nobody listens on, and that nobody else is given by chance."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Node:
    """One server process with an append-only file: on a unix socket, or on TCP where it must."""

    def __init__(self, kind: str, directory: Path, *, tcp: bool, requirepass: str) -> None:
        binary = find_binary(kind)
        assert binary is not None, f"{kind} is not installed on this machine"
        self.directory = directory
        self.requirepass = requirepass
        self.port = free_port() if tcp else 0
        self._socket = directory / "s.sock"
        words = [word.strip("'") for word in _ALWAYS.split()]
        self._command = [binary, *words, "--dir", str(directory), "--port", str(self.port)]
        if not tcp:
            self._command += ["--unixsocket", str(self._socket)]
        if self.requirepass:
            self._command += ["--requirepass", self.requirepass]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it, without a password."""
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self._socket}"

    async def start(self, *settings: str) -> None:
        """Start it, with more settings, and wait until it has loaded its data."""
        self.launch(*settings)
        with trio.fail_after(_START_TIMEOUT):
            while not await self.answers():
                await trio.sleep(0.01)

    def launch(self, *settings: str) -> None:
        """Start it, and do not wait."""
        self._socket.unlink(missing_ok=True)
        with (self.directory / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [*self._command, *settings],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def answers(self) -> bool:
        """Say whether it answers as a server does that has loaded its data."""
        try:
            return await self.ask("PING") == b"PONG"
        except (OSError, EOFError, trio.BrokenResourceError):
            return False

    def kill(self) -> None:
        """Kill it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it do nothing more; the kernel goes on to take connections and bytes for it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Throw its data away."""
        for path in self.directory.iterdir():
            if path.name.startswith(("appendonly", "dump")):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    async def ask(self, *words: Argument) -> Reply:
        """Send one command on a connection of its own; a refusal is returned too."""
        with trio.fail_after(10):
            stream: trio.SocketStream = (
                await trio.open_tcp_stream("127.0.0.1", self.port)
                if self.port
                else await trio.open_unix_socket(str(self._socket))
            )
            async with stream:
                login: list[Command] = [("AUTH", self.requirepass)] if self.requirepass else []
                return (await Wire(stream).exchange([*login, words]))[-1]

    @asynccontextmanager
    async def admin(self) -> AsyncGenerator[Ask]:
        """Give one connection that stays, for when there may be no room for another."""
        async with await trio.open_unix_socket(str(self._socket)) as stream:
            wire = Wire(stream)

            async def ask(*words: Argument) -> Reply:
                with trio.fail_after(10):
                    return (await wire.exchange([words]))[0]

            yield ask

    async def do(self, *words: Argument) -> Reply:
        """Send one command that must not be refused."""
        reply = await self.ask(*words)
        assert not isinstance(reply, ErrorReply), f"{words[0]!a}: {reply}"
        return reply

    async def info(self, section: str, name: str) -> str:
        """Return one line of INFO."""
        lines = as_text(await self.do("INFO", section)).splitlines()
        (value,) = [line.partition(":")[2] for line in lines if line.startswith(f"{name}:")]
        return value

    async def clients(self) -> list[str]:
        """Return a line for each client but the one that asks."""
        listed = as_text(await self.do("CLIENT", "LIST", "TYPE", "normal"))
        return [line for line in listed.splitlines() if " cmd=client" not in line]

    async def kill_clients(self) -> None:
        """End every connection of clients."""
        await self.do("CLIENT", "KILL", "TYPE", "normal")


@asynccontextmanager
async def node(
    kind: str, *settings: str, tcp: bool = False, requirepass: str = ""
) -> AsyncGenerator[Node]:
    """Run such a server, empty at first; kill it at the end."""
    with tempfile.TemporaryDirectory(prefix="srv-") as directory:
        server = Node(kind, Path(directory), tcp=tcp, requirepass=requirepass)
        try:
            await server.start(*settings)
            yield server
        except trio.TooSlowError:
            log = (server.directory / "log").read_text(errors="replace")
            pytest.fail(f"too slow; the server's log:\n{log[-3000:]}")
        finally:
            server.kill()
