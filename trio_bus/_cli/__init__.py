"""The command ``trio-bus``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from trio_bus._errors import BusError, ValidationError

from .arguments import parse
from .failing import FAILED, MISUSED, CommandError, ended_by, hush, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 (it failed) or 2 (it was misused).

    What goes wrong is one line on standard error. What a signal ends returns 128 and its number,
    and so does what ends because nobody reads its output: that is no error worth a line.
    ``--help`` and ``--version`` raise `SystemExit`, as argparse does it.
    """
    try:
        return _run(argv)
    except CommandError as error:
        say(str(error))
        return error.code
    except BusError as error:
        say(str(error))
        return MISUSED if isinstance(error, ValidationError) else FAILED
    except BrokenPipeError:
        return hush()
    except OSError as error:
        say(error.strerror or str(error))
        return FAILED
    except KeyboardInterrupt:
        say("interrupted")
        return ended_by(signal.SIGINT)


def _run(argv: Sequence[str] | None) -> int:
    try:
        run, arguments = parse(sys.argv[1:] if argv is None else argv)
        return run(arguments)
    finally:
        _flush()


def _flush() -> None:
    """Meet a reader that has gone here: the interpreter would complain at its end."""
    if sys.stdout is not None:  # pyright: ignore[reportUnnecessaryComparison]  # it is None when the shell closed it
        sys.stdout.flush()
