"""The embedded server lives exactly as long as its block or its process."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote

import pytest
import trio

from tests.servers import command
from trio_bus import _embedded
from trio_bus._embedded import EmbeddedServer, open_embedded
from trio_bus._errors import EmbeddedServerError, ValidationError

pytestmark = pytest.mark.any_python

_OWNER = """
import sys, trio
from trio_bus._embedded import open_embedded

async def main():
    try:
        async with open_embedded(*sys.argv[1:]) as server:
            print(server.url, server.pid, flush=True)
            await trio.sleep_forever()
    finally:
        print("left", flush=True)

trio.run(main)
"""

_INTERRUPTED_OWNER = """
import trio
from trio_bus._embedded import open_embedded

async def main():
    async with open_embedded() as server:
        try:
            print(server.url, server.pid, flush=True)
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.3)
                stream = await trio.open_unix_socket(server.url.removeprefix("unix://"))
                await stream.send_all(b"PING\\r\\n")
                print((await stream.receive_some()).decode(), flush=True)

trio.run(main)
"""


def _alive(pid: int) -> bool:
    """Tell whether a process runs (one that ended and was not waited for does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _eventually(condition: Callable[[], bool], patience: float = 10.0) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _home(url: str) -> Path:
    return Path(unquote(url.removeprefix("unix://"))).parent


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@contextlib.contextmanager
def _owner(*arguments: str) -> Generator[tuple[subprocess.Popen[str], str, int]]:
    """Run a process that owns a server; give it, the server's URL and the server's process id."""
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            url, pid = process.stdout.readline().split()
            yield process, url, int(pid)
        finally:
            process.kill()


async def test_it_answers_inside_the_block_and_is_gone_after_it() -> None:
    async with open_embedded() as server:
        assert command(server.url, "PING") == "+PONG"
        assert server.directory is None
        assert _alive(server.pid)
        home = _home(server.url)
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert not _alive(server.pid)
    assert not home.exists()


async def test_it_listens_on_no_port() -> None:
    async with open_embedded() as server:
        assert _config(server.url, "port") == "0"
        assert _config(server.url, "save") == ""
        assert _config(server.url, "appendonly") == "no"


def _config(url: str, name: str) -> str:
    return command(url, f"CONFIG GET {name}", reply_line=5)


async def test_it_ends_when_the_block_is_cancelled() -> None:
    seen: list[EmbeddedServer] = []
    with trio.CancelScope() as scope:
        async with open_embedded() as server:
            seen.append(server)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert not _alive(seen[0].pid)
    assert not _home(seen[0].url).exists()


async def test_it_ends_when_the_body_fails_and_the_error_stays_itself() -> None:
    error = KeyError("mine")
    seen: list[EmbeddedServer] = []
    with pytest.raises(KeyError) as caught:
        async with open_embedded() as server:
            seen.append(server)
            raise error
    assert caught.value is error
    assert not _alive(seen[0].pid)


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.02, 0.05])
async def test_nothing_stays_when_the_start_is_cancelled(leak_guard: Path, delay: float) -> None:
    with trio.move_on_after(delay):
        async with open_embedded():
            await trio.sleep_forever()
    assert not list(leak_guard.glob("trio_bus-*"))


@pytest.mark.parametrize("name", ["data", "with space/and 'quote\"", "é" * 40 + "/" + "long" * 30])
async def test_a_directory_keeps_its_events_for_the_next_start(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    async with open_embedded(str(directory)) as server:
        assert command(server.url, "XADD orders 7-1 id 7").startswith("$")
        assert server.directory == directory
    async with open_embedded(directory) as server:
        assert command(server.url, "XLEN orders") == ":1"
    async with open_embedded() as server:
        assert command(server.url, "XLEN orders") == ":0"


async def test_an_open_directory_is_refused_at_once_and_by_name(tmp_path: Path) -> None:
    async with open_embedded(tmp_path) as server:
        with pytest.raises(EmbeddedServerError) as caught:
            async with open_embedded(tmp_path):
                pass
        assert str(tmp_path) in str(caught.value)
        assert server.url in str(caught.value)
        assert command(server.url, "PING") == "+PONG"
    async with open_embedded(tmp_path) as server:
        assert command(server.url, "PING") == "+PONG"


def test_a_killed_owner_takes_its_server_and_its_temporary_directory_along(
    tmp_path: Path,
) -> None:
    with _owner(str(tmp_path)) as (process, url, pid):
        command(url, "SET kept yes")
        process.kill()
        process.wait()
        assert _eventually(lambda: not _alive(pid) and not _home(url).exists())
    with _owner(str(tmp_path)) as (_, url, pid):
        assert command(url, "EXISTS kept") == ":1"
    assert _eventually(lambda: not _alive(pid) and not _home(url).exists())


def test_the_directory_stays_locked_for_as_long_as_a_dying_server_lives(tmp_path: Path) -> None:
    with _owner(str(tmp_path)) as (process, url, pid):
        os.kill(pid, signal.SIGSTOP)  # it cannot take its SIGTERM now
        process.kill()
        process.wait()
        with (tmp_path / "trio_bus.lock").open() as lock:
            with pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.kill(pid, signal.SIGCONT)
            assert _eventually(lambda: _locks(lock.fileno()))
    assert not _alive(pid)
    assert _eventually(lambda: not _home(url).exists())


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_ctrl_c_reaches_the_owner_and_not_the_server() -> None:
    """The owner's own handling of it may still use the server."""
    with subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED_OWNER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        url, pid = process.stdout.readline().split()
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
    assert "+PONG" in rest
    assert not _alive(int(pid))
    assert not _home(url).exists()


def test_a_killed_watchdog_takes_the_server_along() -> None:
    with _owner() as (process, url, pid):
        os.kill(_parent(pid), signal.SIGKILL)
        assert _eventually(lambda: not _alive(pid))
        process.send_signal(signal.SIGINT)
        assert _eventually(lambda: not _home(url).exists())


async def test_a_server_that_ignores_the_request_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_embedded, "_END_TIMEOUT", 0.3)
    async with open_embedded() as server:
        os.kill(server.pid, signal.SIGSTOP)
    assert _eventually(lambda: not _alive(server.pid))
    assert not _home(server.url).exists()


async def test_a_crashed_server_does_not_keep_the_block_from_ending() -> None:
    async with open_embedded() as server:
        os.kill(server.pid, signal.SIGKILL)
        assert _eventually(lambda: not _alive(server.pid))
    assert not _home(server.url).exists()


async def test_an_early_end_shows_what_the_server_said(tmp_path: Path) -> None:
    broken = tmp_path / "appendonlydir"
    broken.mkdir()
    (broken / "appendonly.aof.manifest").write_text("not a manifest\n")
    said = r"(?s)ended at once: Invalid AOF.*\n.*not a manifest"
    with pytest.raises(EmbeddedServerError, match=said):
        async with open_embedded(tmp_path):
            pass


async def test_a_program_that_cannot_run_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_embedded, "find_server", lambda: tmp_path / "no-such-server")
    with pytest.raises(EmbeddedServerError, match="no-such-server"):
        async with open_embedded():
            pass


async def test_a_start_takes_no_longer_than_allowed(leak_guard: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"within 0\.0 s"):
        async with open_embedded(start_timeout=0.0):
            pass
    assert not list(leak_guard.glob("trio_bus-*"))


@pytest.mark.parametrize("timeout", [-1.0, math.nan])
async def test_an_impossible_timeout_is_refused(timeout: float) -> None:
    with pytest.raises(ValidationError, match="start_timeout"):
        async with open_embedded(start_timeout=timeout):
            pass


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match="file/data"):
        async with open_embedded(tmp_path / "file" / "data"):
            pass


async def test_without_the_wheel_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    with pytest.raises(EmbeddedServerError, match=r"trio-bus\[embedded\]"):
        async with open_embedded():
            pass


async def test_a_wheel_without_a_program_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(_name: str) -> None:
        return None

    monkeypatch.setattr(metadata, "files", empty)
    with pytest.raises(EmbeddedServerError, match="no valkey-server"):
        async with open_embedded():
            pass


async def test_a_long_temporary_directory_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = tmp_path / ("deep" * 30)
    base.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(base))
    async with open_embedded() as server:
        assert command(server.url, "PING") == "+PONG"
    assert not _home(server.url).exists()


async def test_two_servers_share_nothing() -> None:
    async with open_embedded() as one, open_embedded() as other:
        command(one.url, "SET mine 1")
        assert command(other.url, "EXISTS mine") == ":0"


async def test_a_server_that_is_loading_or_breaks_off_does_not_answer(leak_guard: Path) -> None:
    path = leak_guard / "loading.sock"
    replies = [b"-LOADING the data\r\n", b"", b"+PONG\r\n"]

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(replies.pop(0))

    assert not await _embedded._answers(path)
    listening = trio.socket.socket(trio.socket.AF_UNIX)
    await listening.bind(str(path))
    listening.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(listening)])
        assert [await _embedded._answers(path) for _ in range(3)] == [False, False, True]
        nursery.cancel_scope.cancel()
    path.unlink()
