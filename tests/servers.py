"""Real servers for tests, and the fixtures that hand them out.

One server of each kind is started per test process when the first test wants it, on a unix socket
in a temporary directory, under the watchdog of the package: it ends with the session, and also
when the test process is killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

import trio_bus
from tests.server_kinds import find_binary

_WATCHDOG = Path(trio_bus.__file__).with_name("_embedded_watchdog.py")
_START_TIMEOUT = 20.0
_LONGEST_HOME = 70  # bytes: the path of a socket may have about 100
_SETTINGS = "--port 0 --bind 127.0.0.1 --appendonly no --daemonize no --unixsocketperm 700"


@contextlib.contextmanager
def run_server(kind: str) -> Generator[str]:
    """Run a fresh server of this kind; give its URL."""
    binary = find_binary(kind)
    assert binary is not None, f"{kind} is not installed on this machine"
    directory = tempfile.mkdtemp(prefix="srv-")
    path = f"{directory}/s.sock"
    command = [binary, *_SETTINGS.split(), "--save", "", "--unixsocket", path]
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(_WATCHDOG), directory, directory, "-1", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as watchdog:
        wait_ready(path, Path(directory, "log"))
        yield f"unix://{path}"
    # Leaving the block closed the pipe and waited: the server is gone, and its directory with it.
    assert watchdog.returncode == 0
    assert not os.path.lexists(directory)


def command(url: str, line: str, *, reply_line: int = 1) -> str:
    """Send one inline command on a connection of its own; return one line of the reply."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(url.removeprefix("unix://"))
        connection.sendall(f"{line}\r\n".encode())
        with connection.makefile("rb") as reply:
            return [reply.readline().decode().strip() for _ in range(reply_line)][-1]


def end_connections(url: str) -> None:
    """End every connection to this server, as an administrator can."""
    for kind in ("pubsub", "normal"):
        command(url, f"CLIENT KILL TYPE {kind}")


def wait_ready(path: str, log: Path) -> None:
    """Wait until the server at this socket answers."""
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        with contextlib.suppress(OSError):
            if command(f"unix://{path}", "PING") == "+PONG":
                return
        if time.monotonic() > deadline:
            shown = log.read_text(errors="replace") if log.exists() else "no log"
            pytest.fail(f"no server at {path} after {_START_TIMEOUT} s:\n{shown}")
        time.sleep(0.01)


class Servers:
    """The servers of one test process, each started when it is first wanted."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._urls: dict[str, str] = {}

    def empty(self, kind: str) -> str:
        """Give the URL of the server of this kind, with nothing in it."""
        if kind not in self._urls:
            self._urls[kind] = self._stack.enter_context(run_server(kind))
        url = self._urls[kind]
        assert command(url, "FLUSHALL") == "+OK"
        return url


@pytest.fixture(scope="session", autouse=True)
def leak_guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Fail the session if it leaves a process or a temporary directory of trio_bus behind.

    Everything temporary of this test process, and of the processes that it starts, goes to a
    directory of its own: so concurrent test processes do not see each other's, and a process that
    lost its parent is still known by the environment that it inherited.
    """
    home = tmp_path_factory.mktemp("tb")
    if len(os.fsencode(home)) > _LONGEST_HOME:
        home = Path(tempfile.mkdtemp(prefix="tb-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(home))
        patch.setattr(tempfile, "tempdir", None)
        yield home
        processes = _remaining(home)
        directories = sorted(path.name for path in home.iterdir())
    shutil.rmtree(home, ignore_errors=True)
    assert not processes, f"left behind, killed now: {processes}"
    assert not [name for name in directories if name.startswith(("trio_bus", "srv-"))]


def _remaining(home: Path, patience: float = 20.0) -> list[str]:
    """Wait for our processes to end; kill and return those that do not (on Linux)."""
    deadline = time.monotonic() + patience
    while (found := dict(processes(home))) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    return sorted(found.values())


def processes(home: Path) -> Iterator[tuple[int, str]]:
    """Give the children of this process, and whoever inherited our temporary directory."""
    mark = f"TMPDIR={home}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold anything; the parent is the second field after.
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            marked = mark in (entry / "environ").read_bytes().split(b"\0")
            if int(entry.name) != os.getpid() and (parent == os.getpid() or marked):
                shown = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                yield int(entry.name), f"{entry.name} {shown}"


@pytest.fixture(scope="session")
def servers(leak_guard: Path) -> Iterator[Servers]:
    """Give the servers of this test process."""
    with contextlib.ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture
def server_kind(request: pytest.FixtureRequest) -> str:
    """Give a kind of server; the test runs once for each, see `server_kinds`."""
    return str(request.param)


@pytest.fixture
def backend_kind(request: pytest.FixtureRequest) -> str:
    """Give ``memory``, then each kind of server."""
    return str(request.param)


@pytest.fixture
def server_url(server_kind: str, servers: Servers) -> str:
    """Give the URL of a real, empty server; the test runs once for each kind."""
    return servers.empty(server_kind)


@pytest.fixture
def backend_url(backend_kind: str, servers: Servers) -> str:
    """Give what `open_bus` takes: ``memory:``, then each real, empty server."""
    return "memory:" if backend_kind == "memory" else servers.empty(backend_kind)
