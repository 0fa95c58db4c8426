"""A program of its own: the parent of one server, which never outlives the owner of both.

Usage: ``python -I -S _embedded_watchdog.py TEMPORARY_DIRECTORY WORK_DIRECTORY LOCK_FD SERVER ARGS``
(LOCK_FD is -1 where nothing is locked.)

The owner holds the write end of our standard input and never writes. End of file therefore means
that the owner wants the end, or has died, whatever killed it: both are answered the same way. The
server is terminated, killed if that takes too long, and the temporary directory is removed.

Standard output carries the server's process id as one line; it is closed when the server is gone.
A lock is inherited by the server, so that the kernel keeps it for exactly as long as it lives.

Only the standard library is used, since ``-I -S`` sees no other package: the owner may start in an
odd environment, and this program has to start in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

_TERMINATION_TIMEOUT = 5.0
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Start the server, wait for the first end, then see to the other one."""
    directory, work, lock, *command = sys.argv[1:]
    # The signals of a service manager reach every process. The pipe alone decides here, so that
    # the owner can still hand its work back. (A handler, unlike SIG_IGN, is not inherited.)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _ignore)
    try:
        _keep(command, Path(directory, "log"), work, [int(lock)] if int(lock) >= 0 else [])
        os.close(sys.stdout.fileno())
        select.select([sys.stdin], [], [])
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Go on."""


def _keep(command: list[str], log_path: Path, work: str, inherited: list[int]) -> None:
    """Run the server until it ends, or until our standard input does."""
    ended, alive = os.pipe()  # the server holds `alive`: `ended` becomes readable when it is gone
    with log_path.open("ab") as log:
        try:
            server = subprocess.Popen(  # noqa: S603 - the owner says what to run
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=work,
                pass_fds=[alive, *inherited],
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - there is only this thread
            )
        except (OSError, subprocess.SubprocessError) as error:
            log.write(f"{error}\n".encode())
            return
    os.close(alive)
    try:
        with contextlib.suppress(BrokenPipeError):  # the owner died: standard input says so too
            os.write(sys.stdout.fileno(), b"%d\n" % server.pid)
        select.select([sys.stdin, ended], [], [])
    finally:
        _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(_TERMINATION_TIMEOUT)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _end_with_parent() -> None:
    """Ask the kernel to terminate the server if somebody kills this program."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    main()
