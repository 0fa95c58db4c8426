"""What the tests spend least time with: Python's collector of garbage."""

from __future__ import annotations

import gc

_SELDOM = (20_000, 20, 20)


def pytest_collection_finish() -> None:
    """Let the collector pass over what is there for good: thousands of tests, all that they use.

    It took a tenth of the time; and whoever asks for a collection waited for it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_SELDOM)
