"""The program that keeps an embedded server: it ends when its owner does, and takes all along."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_python

MODULE = "trio_bus._embedded_watchdog"
STUBBORN = (
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(99)"
)


def watch(directory: Path, *command: str, before: str = "") -> subprocess.Popen[bytes]:
    """Start it with a server that is any command; its owner is us."""
    program = f"import {MODULE} as it{before}; it.main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, directory, directory, "-1", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def is_alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Give the directory that belongs to the server."""
    (tmp_path / "server").mkdir()
    return tmp_path / "server"


def test_it_ends_the_server_when_its_owner_is_gone(directory: Path) -> None:
    with watch(directory, "sleep", "99") as watchdog:
        assert watchdog.stdout is not None
        server = int(watchdog.stdout.readline())
        assert is_alive(server)
        _, error = watchdog.communicate(timeout=60)  # which closes its standard input
    assert (watchdog.returncode, error) == (0, b"")
    assert not is_alive(server)
    assert not directory.exists()


def test_it_is_a_program(directory: Path) -> None:
    """As which it is started, without anything that is installed."""
    done = subprocess.run(
        [sys.executable, "-m", MODULE, directory, directory, "-1", "true"],
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert not directory.exists()


def test_it_says_when_the_server_has_ended(directory: Path) -> None:
    """And waits for its owner, who may want to read the log."""
    with watch(directory, "sh", "-c", "echo why; exit 3") as watchdog:
        assert watchdog.stdout is not None
        assert int(watchdog.stdout.readline()) > 0
        assert watchdog.stdout.read() == b""
        assert (directory / "log").read_text() == "why\n"
        watchdog.communicate(timeout=60)
    assert not directory.exists()


def test_a_server_that_cannot_start_is_in_the_log(directory: Path) -> None:
    with watch(directory, str(directory / "nothing")) as watchdog:
        assert watchdog.stdout is not None
        assert watchdog.stdout.read() == b""
        assert "No such file" in (directory / "log").read_text()
        watchdog.communicate(timeout=60)
    assert not directory.exists()


def test_a_server_that_does_not_end_is_killed(directory: Path) -> None:
    before = "; it._TERMINATION_TIMEOUT = 0.2"
    with watch(directory, sys.executable, "-c", STUBBORN, before=before) as watchdog:
        assert watchdog.stdout is not None
        server = int(watchdog.stdout.readline())
        while not (directory / "log").read_bytes():
            pass  # until it ignores what asks it to end
        watchdog.communicate(timeout=60)
    assert not is_alive(server)


def test_signals_of_a_service_manager_are_for_its_owner(directory: Path) -> None:
    with watch(directory, "sleep", "99") as watchdog:
        assert watchdog.stdout is not None
        server = int(watchdog.stdout.readline())
        for number in (1, 2, 15):
            watchdog.send_signal(number)
        assert is_alive(server)
        watchdog.communicate(timeout=60)
    assert watchdog.returncode == 0


def test_the_kernel_ends_the_server_of_a_watchdog_that_is_killed(directory: Path) -> None:
    with watch(directory, "sleep", "99") as watchdog:
        assert watchdog.stdout is not None
        server = int(watchdog.stdout.readline())
        watchdog.kill()
        watchdog.communicate(timeout=60)
        deadline = time.monotonic() + 60
        while is_alive(server) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert not is_alive(server)
    # It asks in the process that becomes the server, where nothing is measured.
    asked = f"import {MODULE} as it; it._end_with_parent()"
    subprocess.run([sys.executable, "-c", asked], check=True, timeout=60)
