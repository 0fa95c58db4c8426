"""The environment of a program in which nobody measures what it reaches."""

from __future__ import annotations

import os


def unmeasured() -> dict[str, str]:
    """Return ours, without what starts ``coverage``: that takes longer than many a program.

    For programs of which each line of the package that they reach is reached by other tests too.
    """
    return {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE_")}
