"""The manual's table of what the contract of a backend says, from what the suite quotes.

After a change: ``python -m tests.promise_table > docs/promises.inc``; a test holds it to the suite.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from trio_bus.testing._backend_conformance._promises import PROMISES

_HEAD = """\
.. Made by ``python -m tests.promise_table``: a test holds it to what the suite quotes.

.. list-table::
   :header-rows: 1
   :widths: 20 80

   * - Operation
     - Promises
"""


def table() -> str:
    """Return the whole of ``docs/promises.inc``."""
    return _HEAD + "".join(_rows())


def _rows() -> Iterator[str]:
    for operation, promises in PROMISES.items():
        yield f"   * - ``{operation}``\n"
        for number, promise in enumerate(promises):
            yield f"     {' ' if number else '-'} * {promise.words}\n"


if __name__ == "__main__":
    sys.stdout.write(table())
