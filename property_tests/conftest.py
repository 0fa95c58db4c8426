"""What the Hypothesis suites spend least time with."""

from __future__ import annotations

import gc

SELDOM = (20_000, 20, 20)


def pytest_collection_finish() -> None:
    """Let the collector pass over what is there for good: it took a tenth of the time."""
    gc.freeze()
    gc.set_threshold(*SELDOM)
