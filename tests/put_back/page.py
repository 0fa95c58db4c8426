"""The page of the manual that says which test guards against which fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .ancestor import ANCESTOR
from .fault import Fault
from .life import LIFE

_HEAD = """\
.. Made by ``python -m tests.put_back --page``: a test holds it to what the tests say themselves.

Faults that are put back
========================

A test that cannot fail guards nothing. So the faults that must not come back are kept as small
changes to the source, and ``nox -s faults`` makes them, one at a time, in a copy: each has to be
noticed by a test that says it guards against it (``@pytest.mark.guards``), by what the test asserts
or by a bound of its own.
"""


def page(tests: Mapping[str, Sequence[str]]) -> str:
    """Write the page."""
    return "\n".join(
        [
            _HEAD,
            *_section("Of the ancestor", ANCESTOR, tests),
            *_section("In the life of a subscription", LIFE, tests),
        ]
    )


def _section(
    title: str, faults: Sequence[Fault], tests: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    if not faults:
        return
    yield from ("", title, "-" * len(title), "")
    yield from (".. list-table::", "   :header-rows: 1", "   :widths: 45 55", "")
    yield from ("   * - Fault", "     - Noticed by")
    for fault in faults:
        yield f"   * - {fault.words}"
        if fault.unreached:
            yield f"     - Not yet: {fault.unreached}"
        else:
            names = sorted({test.partition("::")[2] for test in tests.get(fault.name, ())})
            yield "     - " + ", ".join(f"``{name}``" for name in names)
    yield ""
