"""What one number can repeat: the schedule, all that is left to chance, and the time."""

from __future__ import annotations

import ast
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module

import pytest
import trio

from tests.test_architecture import FILES
from trio_bus import Message
from trio_bus._chance import chance, chance_of
from trio_bus._errors import InternalError
from trio_bus._uid import new_uid
from trio_bus._wall import wall_shows
from trio_bus.testing._schedule import schedule_of

pytestmark = pytest.mark.any_python

CHANCE, WALL, SEEDS = "_chance", "_wall", "testing._schedule"
STOPWATCHES = {"_cli.bench.meter", "testing._pump"}
"""They measure how long something takes here and now: that is no decision of the library."""
MAY = {
    "random": {CHANCE, SEEDS},
    "secrets": set[str](),
    "uuid": {"_shape"},  # events may hold some: the type, and nothing that makes one
    "time": STOPWATCHES,
}
MAY_ASK = {"datetime.now": {WALL}, "datetime.utcnow": set[str](), "os.urandom": set[str]()}


async def order() -> list[int]:
    """Return the order in which trio ran tasks that could all run."""
    ran: list[int] = []

    async def run(number: int) -> None:
        await trio.lowlevel.checkpoint()
        ran.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(run, number)
    return ran


def test_a_seed_decides_the_schedule() -> None:
    def chosen(seed: int) -> list[int]:
        with schedule_of(seed):
            return trio.run(order)

    assert chosen(5) == chosen(5)
    assert chosen(5) != chosen(6)


def test_the_schedule_is_left_as_it_was() -> None:
    core = import_module("trio._core._run")
    chooser: object = vars(core)["_r"]
    assert isinstance(chooser, random.Random)
    before = (vars(core)["_ALLOW_DETERMINISTIC_SCHEDULING"], chooser.getstate())
    with pytest.raises(LookupError), schedule_of(5):
        trio.run(order)
        raise LookupError
    assert (vars(core)["_ALLOW_DETERMINISTIC_SCHEDULING"], chooser.getstate()) == before


@pytest.mark.parametrize("name", ["_ALLOW_DETERMINISTIC_SCHEDULING", "_r"])
def test_a_trio_that_chooses_otherwise_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delattr(f"trio._core._run.{name}")
    with pytest.raises(InternalError, match="chooses otherwise"), schedule_of(1):
        pytest.fail("it would not choose")


def test_a_seed_decides_names_and_jitter() -> None:
    def drawn(seed: int) -> list[object]:
        with chance_of(seed):
            return [new_uid(), chance.random(), Message("orders").uid]

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


def test_afterwards_names_are_new_again() -> None:
    with chance_of(5):
        inside = new_uid()
    outside = new_uid()
    with pytest.raises(LookupError), chance_of(5):
        raise LookupError
    with chance_of(5):
        assert new_uid() == inside
    assert len({inside, outside, new_uid()}) == 3


def test_a_forked_process_has_names_of_its_own() -> None:
    """Both would go on with the same numbers."""
    there, here = os.pipe()
    child = os.fork()
    if not child:
        os.write(here, new_uid().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(there, 99).decode() != new_uid()
    os.close(there)
    os.close(here)


def test_the_time_can_be_exchanged() -> None:
    then = datetime(1999, 12, 31, tzinfo=UTC)
    with wall_shows(lambda: then):
        assert Message("orders").occurred_at == then
    assert Message("orders").occurred_at > then


@pytest.mark.parametrize("name", FILES)
def test_nothing_asks_the_machine_for_time_or_chance(name: str) -> None:
    """A simulation could not repeat it."""
    tree = ast.parse(FILES[name].read_text())
    used = {module for module in _imported(tree) if name not in MAY.get(module, {name})}
    asked = {it for it in _attributes(tree) if name not in MAY_ASK.get(it, {name})}
    assert not used | asked


def test_what_may_ask_does() -> None:
    """An exception for a module that does not need it would hide the next one."""
    trees = {name: ast.parse(path.read_text()) for name, path in FILES.items()}
    for module, names in MAY.items():
        assert all(module in _imported(trees[name]) for name in names)
    for call, names in MAY_ASK.items():
        assert all(call in _attributes(trees[name]) for name in names)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def _attributes(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
