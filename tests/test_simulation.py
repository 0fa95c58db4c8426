"""The simulator: one number repeats a run, here and elsewhere, and seeds differ as they should."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Protocol, cast

import attrs
import pytest
import trio

from tests.unmeasured import unmeasured
from trio_bus import Delivery, EntryId, ValidationError
from trio_bus.testing import SCENARIOS, Handling, Run, Scenario, SimulationFailed, simulate
from trio_bus.testing._line import What
from trio_bus.testing._simulation.plan import draw
from trio_bus.testing._simulation.run import perform

pytestmark = pytest.mark.any_python

STILL = Scenario(
    name="still",
    messages=(6, 6),
    consumers=(3, 3),
    max_in_flight=(2,),
    handlings=(Handling.SUCCEED,),
)
"""Nothing goes wrong, and nothing takes time on its way."""

TELL = """
import json
from trio_bus._backend import Ack
from trio_bus._policy import Policy
from trio_bus.testing import SCENARIOS, SimulationFailed, simulate

runs = {name: simulate(it, 8) for name, it in SCENARIOS.items()}
Policy.reject = lambda self, receipt, reason: Ack(receipt)
failures = []
for seed in range(30):
    try:
        simulate(SCENARIOS["calm"], seed)
    except SimulationFailed as failed:
        failures.append(str(failed))
print(json.dumps([
    {name: run.digest for name, run in runs.items()},
    [run.story() for run in runs.values()],
    failures,
]))
"""


class Make(Protocol):
    """Makes a scenario of whatever a test comes up with."""

    def __call__(self, **settings: object) -> Scenario: ...


Told = tuple[dict[str, str], list[str], list[str]]


def told(hash_seed: str) -> Told:
    """Run seeds of every scenario, and some that fail, in another process."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", TELL],
        env={**unmeasured(), "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        timeout=120,
    )
    return cast("Told", tuple(json.loads(ran.stdout)))


@pytest.mark.bulk
@pytest.mark.long
def test_a_seed_is_the_same_run_and_the_same_story_in_every_process() -> None:
    """Whatever order hashes give to sets, and wherever objects lie in memory; here it is random."""
    first = told("0")
    assert told("77") == first
    digests, _, failures = first
    assert digests == {name: simulate(it, 8).digest for name, it in SCENARIOS.items()}
    assert len(set(digests.values())) == len(SCENARIOS)
    assert failures
    assert all("invariant 0, decisions" in story for story in failures)


def starts(run: Run) -> tuple[tuple[str, str], ...]:
    """Return which process started which message, in order."""
    return tuple((it.actor, it.label) for it in run.lines if it.what is What.STARTED)


@pytest.mark.bulk
def test_seeds_differ_in_their_schedules() -> None:
    """One plan, of which nothing but the schedule differs: its handlers start in many orders."""
    plan = draw(STILL, 5)
    runs = [perform(plan, schedule) for schedule in range(20)]
    assert len({starts(run) for run in runs}) > 10
    assert [run.digest for run in runs] == [perform(plan, it).digest for it in range(20)]


def test_seeds_differ_in_their_plans() -> None:
    plans = [attrs.evolve(draw(SCENARIOS["busy"], seed), seed=0) for seed in range(20)]
    assert all(one != other for one in plans for other in plans if one is not other)


def test_a_run_tells_what_it_is() -> None:
    run = simulate(SCENARIOS["calm"], 3)
    assert (run.scenario, run.seed) == (SCENARIOS["calm"], 3)
    assert run.seconds >= SCENARIOS["calm"].seconds
    assert run.turns > 0
    assert run.story().endswith("replay: trio-bus simulate --replay calm:3")


@pytest.mark.bulk
def test_a_handler_of_the_users_own_is_judged() -> None:
    """What it calls is heard; what never ends is told, with what is not finished."""

    async def handle(delivery: Delivery) -> None:
        await delivery.release()

    with pytest.raises(SimulationFailed) as caught:
        simulate(Scenario(name="mine", messages=(1, 1), handler=handle), 0)
    failed = caught.value
    assert failed.invariant is not None
    assert failed.invariant.name == "progress"
    assert "calls '0.0'" in str(failed)
    assert str(failed).endswith("replay: simulate(scenario, 0) with the scenario 'mine'")
    assert "broken: invariant 15, progress\n" in str(failed)


@pytest.mark.parametrize(
    ("handling", "yields"), [(Handling.HANG, True), (Handling.LATE, False), (None, False)]
)
def test_it_is_known_which_handlers_yield(handling: Handling | None, *, yields: bool) -> None:
    """Of those that are made up; what a handler of the user's own does is not known."""

    async def handle(_: Delivery) -> None:
        await trio.lowlevel.checkpoint()

    scenario = Scenario(name="mine", messages=(1, 1), consumers=(1, 1), handler=handle)
    if handling is not None:
        scenario = attrs.evolve(scenario, handler=None, handlings=(handling,))
    lines = [line for line in simulate(scenario, 0).lines if line.what is What.STARTED]
    assert {line.yields for line in lines} == {yields}


def test_every_verb_of_a_handler_is_heard() -> None:
    async def handle(delivery: Delivery) -> None:
        await delivery.renew()
        match delivery.state.attempt, delivery.message.payload:
            case 1, b"0.0":
                await delivery.retry("again")
            case _, b"1.0":
                await delivery.reject("never")
            case _, b"2.0" if delivery.entry_id not in released:
                released.add(delivery.entry_id)
                await delivery.release(delay=0.1)
            case _:
                await delivery.ack()

    released: set[EntryId] = set()
    run = simulate(Scenario(name="mine", messages=(3, 3), max_retry=(2,), handler=handle), 0)
    answered = {it.detail for it in run.lines if it.what is What.VERB_DONE}
    assert answered == {"renew", "retry", "reject", "release", "ack"}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", 7, "7 is not of type str"),
        ("messages", (3, 1), "(3, 1) is not the least and the most of whole numbers from 0 on"),
        ("consumers", (0, 1), "(0, 1) is not the least and the most of whole numbers from 1 on"),
        ("steps", 2, "2 is not the least and the most of whole numbers from 1 on"),
        ("groups", (), "there is nothing to choose from"),
        ("groups", ("a\n",), "'a\\n' "),
        ("leases", [1.0], "[1.0] is not a tuple"),
        ("leases", (1.0, 0.0), "0.0 is not at least 0.1"),
        ("handler_timeouts", (None, -1.0), "-1.0 is not at least 0.0"),
        ("handlings", ("succeed",), "'succeed' is not of type Handling"),
        ("troubles", (Handling.HANG,), "is not of type Trouble"),
        ("latencies", (-1.0,), "-1.0 is not at least 0.0"),
        ("publishers", 0, "0 is not at least 1"),
        ("operations", (7,), "7 is not of type str"),
    ],
)
def test_a_scenario_without_a_choice_is_refused(field: str, value: object, words: str) -> None:
    """The field and the value are named."""
    with pytest.raises(ValidationError, match=f"^{field}: .*{re.escape(words)}"):
        cast("Make", Scenario)(**{"name": "mine", field: value})


@pytest.mark.parametrize("seed", [-1, 1.5, True, "7", None])
def test_a_seed_is_a_number(seed: object) -> None:
    with pytest.raises(ValidationError, match=rf"^seed: {seed!r} is not a whole number from 0 on"):
        simulate(STILL, cast("int", seed))
