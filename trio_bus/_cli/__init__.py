"""The command ``trio-bus``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trio_bus._errors import BusError, ValidationError

from .arguments import parse
from .failing import FAILED, INTERRUPTED, MISUSED, CommandError, say


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 (it failed) or 2 (it was misused).

    What goes wrong is one line on standard error. ``--help`` and ``--version`` raise `SystemExit`,
    as argparse does it.
    """
    try:
        run, arguments = parse(sys.argv[1:] if argv is None else argv)
        return run(arguments)
    except CommandError as error:
        say(str(error))
        return error.code
    except ValidationError as error:
        say(str(error))
        return MISUSED
    except BusError as error:
        say(str(error))
        return FAILED
    except OSError as error:
        say(error.strerror or str(error))
        return FAILED
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
