"""A process that runs one suite in the copy it is started in, and says what it found.

``python -m tests.hunt.worker NAME`` prints one line of JSON.
"""

from __future__ import annotations

import sys

import msgspec

from .examples import Examples
from .finding import Finding, finding
from .suites import SUITES, Suite


def search(suite: Suite) -> Finding:
    """Run a suite up to the first example that fails."""
    with Examples().watched() as examples:
        try:
            suite.search(examples)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, it was found
            return finding(examples, error)
    return Finding(examples.count)


if __name__ == "__main__":
    (found,) = [search(suite) for suite in SUITES if suite.name == sys.argv[1]]
    print(msgspec.json.encode(found).decode(), flush=True)
