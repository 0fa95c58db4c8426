"""Programs of the conformance suite for backends that are written by hand, and what they tell."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from textwrap import dedent
from typing import cast

import attrs

from trio_bus import MemoryBackend
from trio_bus.abc import StreamBackend
from trio_bus.testing import backend_conformance
from trio_bus.testing._backend_conformance._cast import Who
from trio_bus.testing._backend_conformance._machine import BackendMachine
from trio_bus.testing._backend_conformance._world import OpenBackend

X, Y = Who("a", "g", "x"), Who("a", "g", "y")
"""Two members of one group."""


@asynccontextmanager
async def open_memory() -> AsyncGenerator[StreamBackend]:
    yield MemoryBackend()


@attrs.frozen(kw_only=True)
class Beginning:
    """What is drawn when a random program begins."""

    max_attempt: int = 4
    dead_letters: bool = False
    tend_units: float = 0.0
    prelude: str = "nothing"
    together: bool = False
    kept: str = "none"
    retain_units: float = 0.0


@contextmanager
def program(
    beginning: Beginning | None = None,
    open_backend: OpenBackend = open_memory,
    *,
    virtual_time: bool = True,
    lease: float = 0.2,
) -> Generator[BackendMachine]:
    """Begin a program; its rules are called one by one, and each step is judged."""
    case = backend_conformance(open_backend, virtual_time=virtual_time, lease=lease)
    machine = cast("BackendMachine", case.machine())
    try:
        machine.begin(**attrs.asdict(beginning or Beginning()))
        machine.world.story.clear()  # what is always done first
        yield machine
    finally:
        machine.world.close()


def story(machine: BackendMachine) -> str:
    """Return what was told since this was asked last, line by line."""
    told = "".join(f"{line}\n" for line in machine.world.story)
    machine.world.story.clear()
    return told


def text(written: str) -> str:
    """Return such lines as they stand in a test; what is indented far there goes on."""
    return dedent(written).strip("\n").replace("\n        ", " ") + "\n"
