"""Faults that no suite of random examples can see, and why."""

from __future__ import annotations

APART: dict[str, str] = {
    "no test meets a real server": "it is a fault of the tests",
}
"""By the name of the fault."""
