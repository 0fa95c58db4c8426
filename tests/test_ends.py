"""Each way to end a subscription, with handlers that behave each in their own way.

In virtual time the bounds are exact. On real servers they are generous: there it counts what is
left behind.
"""

from __future__ import annotations

import pytest
import trio

from tests.end_rows import FATAL, PULLS, WAYS, Way
from tests.ends import (
    BY_THEMSELVES,
    FREED,
    NOT_READ,
    Conduct,
    Form,
    Scene,
    Times,
    end_of,
    our_tasks,
    place_of,
    run,
)
from tests.harness import Recorder
from tests.ledger import Spot
from tests.watched import WatchedBackend
from trio_bus import BusOptions, MemoryBackend
from trio_bus._connect import open_backend
from trio_bus._exception_groups import leaves

VIRTUAL = Times(work=2.0, drain=8.0, stubborn=11.0, soon=1.0)
PATIENT = Times(work=0.1, drain=30.0, stubborn=0.3, soon=0.05)
"""On real servers, for those that finish by themselves: nothing depends on how soon they do."""
HASTY = Times(work=0.0, drain=0.1, stubborn=0.3, soon=0.05)
"""On real servers, for those that do not."""
GENEROUS = 10.0
BY_FORCE = tuple(conduct for conduct in Conduct if conduct not in BY_THEMSELVES)


def rows() -> list[tuple[Way, Form, Conduct]]:
    """Return all that makes sense."""
    return [
        (way, form, conduct)
        for way in WAYS
        for form in way.forms
        for conduct in Conduct
        if not (form is Form.AT_MOST_ONCE and conduct is Conduct.SETTLES_AT_LAST)
    ]


async def end(scene: Scene, way: Way) -> None:
    """Let it end in this way, and look."""
    before = our_tasks()
    async with trio.open_nursery() as scene.nursery:
        await scene.publish()
        await way.act(scene)
    assert our_tasks() == before
    check_error(scene, way)
    spots = [spot(scene, way, conduct) for conduct in scene.conducts]
    await scene.check_left([*spots, FREED if scene.form.pulls else NOT_READ])
    if way.error is not type(FATAL):
        scene.check_heard()
    journal = (await scene.backend.info("journal")).length
    assert journal == scene.conducts.count(Conduct.PUBLISHES_AT_LAST)


def check_error(scene: Scene, way: Way) -> None:
    """Check that the right error left the block, as itself."""
    if way.error is None:
        assert scene.error is None
        return
    assert scene.error is not None
    # A nursery that the body opened wraps what is raised in it.
    errors = list(leaves(scene.error)) if scene.form is Form.PULL_INSIDE else [scene.error]
    assert {type(error) for error in errors} == {way.error}
    assert way.error is not type(FATAL) or errors == [FATAL]


def spot(scene: Scene, way: Way, conduct: Conduct) -> Spot:
    """Say where the entry of this handler has to be."""
    taken = scene.form is Form.PULL_OUTSIDE or (scene.form.pulls and way.takes)
    patience = way.has(scene.form, scene.times)
    return place_of(scene.form, conduct, scene.times, patience, taken=taken)


def duration(scene: Scene, way: Way) -> float:
    """Say how many seconds it has to take."""
    patience = way.has(scene.form, scene.times)
    if scene.form is Form.PULL_OUTSIDE and not way.takes:
        return patience  # it does not wait for tasks that are not its own
    return max(end_of(conduct, scene.times, patience) for conduct in scene.conducts)


@pytest.mark.parametrize(
    ("way", "form", "conduct"), rows(), ids=lambda it: str(getattr(it, "name", it)).lower()
)
def test_in_memory_each_end_takes_its_time_and_leaves_nothing(
    way: Way, form: Form, conduct: Conduct
) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            scene = Scene(
                backend=WatchedBackend(MemoryBackend()),
                form=form,
                conducts=(conduct, conduct),
                times=VIRTUAL,
                nursery=nursery,
            )
            await end(scene, way)
        assert scene.ended - scene.began == pytest.approx(duration(scene, way), abs=0.05)

    run(main)


@pytest.mark.parametrize("conducts", [BY_THEMSELVES, BY_FORCE], ids=["finish", "are ended"])
@pytest.mark.parametrize(
    ("way", "form"),
    [(way, form) for way in WAYS for form in (Form.HANDLER, *PULLS) if form in way.forms],
    ids=lambda it: str(getattr(it, "name", it)).lower(),
)
def test_on_a_server_each_end_leaves_nothing(
    server_url: str, way: Way, form: Form, conducts: tuple[Conduct, ...]
) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with (
            open_backend(server_url, BusOptions(observer=recorder)) as backend,
            trio.open_nursery() as nursery,
        ):
            scene = Scene(
                backend=WatchedBackend(backend),
                form=form,
                conducts=conducts,
                times=PATIENT if conducts is BY_THEMSELVES else HASTY,
                nursery=nursery,
            )
            await end(scene, way)
        assert scene.ended - scene.began < duration(scene, way) + GENEROUS
        assert not recorder.errors

    run(main, virtual=False)
