"""The manual's table of how servers differ, from the data that the fake stream uses.

After a change: ``python -m tests.dialect_table > docs/dialects.inc``; a test holds it to the data.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import attrs

from trio_bus._memory.dialect import Dialect, Known
from trio_bus._memory.dialects import SINCE

_HEAD = """\
.. Made by ``python -m tests.dialect_table``: a test holds it to the data of the fake stream.

.. list-table::
   :header-rows: 1
   :widths: 40 25 20 15

   * - Difference
     - Redis
     - Valkey
     - Known from
"""


def table() -> str:
    """Return the whole of ``docs/dialects.inc``."""
    return _HEAD + "".join(_rows())


def _rows() -> Iterator[str]:
    for field in attrs.fields(Dialect):
        known = field.metadata["known"]
        assert isinstance(known, Known)
        redis, valkey = (_told(product, field.name) for product in ("Redis", "Valkey"))
        yield f"   * - {known.what}.\n     - {redis}\n     - {valkey}\n     - {known.source}\n"


def _told(product: str, name: str) -> str:
    """Say what each version of a product has, once for all that have the same."""
    told: list[str] = []
    before = None
    for row_product, version, dialect in SINCE:
        value = _shown(getattr(dialect, name))
        if row_product == product and value != before:
            told.append(f"{_version(version)}: {value}")
            before = value
    return "; ".join(told)


def _version(version: tuple[int, int, int]) -> str:
    major, minor, patch = version
    return f"{major}.{minor}.{patch}" if patch else f"{major}.{minor}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return " or ".join(f"``{text}``" for text in value)  # pyright: ignore[reportUnknownVariableType]  # texts
    return f"``{value}``" if value else "nothing"


if __name__ == "__main__":
    sys.stdout.write(table())
