"""How the command fails: with one line on standard error and an exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

FAILED = 1
MISUSED = 2
_LONGEST = 1000


def ended_by(number: int) -> int:
    """Return the exit code of what a signal has ended, as shells count."""
    return 128 + number


class CommandError(Exception):
    """The command cannot go on; the text is the line that its user sees."""

    def __init__(self, text: str, code: int = MISUSED) -> None:
        super().__init__(text)
        self.code = code


def missing_extra(extra: str, what: str) -> CommandError:
    """Say which extra has to be installed for *what*."""
    return CommandError(f"{what} is not installed: pip install 'trio-bus[{extra}]'", FAILED)


def hush() -> int:
    """Be silent from now on, because nobody reads what is printed; return the exit code.

    It is what other commands end with that are killed by SIGPIPE, which Python ignores.
    """
    with contextlib.suppress(OSError, ValueError):  # it may be no file
        fd = os.open(os.devnull, os.O_WRONLY)
        os.dup2(fd, sys.stdout.fileno())  # what is buffered is not tried again at the end
        os.close(fd)
    return ended_by(signal.SIGPIPE)


def say(text: str) -> None:
    """Write one line to standard error, whatever the text holds."""
    try:
        print(f"trio-bus: {one_line(text)}", file=sys.stderr, flush=True)
    except OSError:
        return  # nobody is left to hear it; the exit code says it too


def one_line(text: str) -> str:
    """Return *text* as one line of printable characters, and not without end."""
    words = " ".join(text.split())
    line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in words)
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "..."
