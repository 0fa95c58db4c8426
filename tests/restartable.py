"""A real server that a test can stop, kill and start again."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.server_kinds import find_binary
from tests.servers import wait_ready


class Restartable:
    """A server with an append-only file, on a unix socket of its own.

    What it answered is in the file: with ``everysec`` it may put a write off while a disk syncs.
    """

    def __init__(self, kind: str, directory: Path) -> None:
        self._directory = directory
        self._socket = directory / "s.sock"
        self.url = f"unix://{self._socket}"
        binary = find_binary(kind)
        assert binary is not None, f"{kind} is not installed on this machine"
        self._command = [binary, "--port", "0", "--save", "", "--appendonly", "yes"]
        self._command += ["--appendfsync", "always"]
        self._command += ["--dir", str(directory), "--unixsocket", str(self._socket)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = self._directory / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command, stdout=output, stderr=output, start_new_session=True
            )
        wait_ready(str(self._socket), log)

    def kill(self) -> None:
        """Kill it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            self._socket.unlink(missing_ok=True)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, like SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def running(kind: str) -> Generator[Restartable, None, None]:
    """Run such a server; kill it at the end."""
    with tempfile.TemporaryDirectory(prefix="srv-") as directory:
        server = Restartable(kind, Path(directory))
        try:
            server.start()
            yield server
        finally:
            server.kill()
