"""What the tests reach of the source, written down in time."""

from __future__ import annotations

import coverage


def pytest_sessionfinish() -> None:
    """Save it before a worker of xdist says that it has finished.

    It would be saved when its process ends; but xdist gives that ten seconds, then it kills.
    """
    if (measured := coverage.Coverage.current()) is not None:
        measured.save()
