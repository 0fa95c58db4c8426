"""``trio-bus simulate``: many runs, the story of one that fails, and how it is ended."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from trio_bus._backend import Ack, Receipt
from trio_bus._cli import main
from trio_bus._cli.simulate import Bulk
from trio_bus._cli.simulate_work import Answer, Order
from trio_bus._cli.simulate_worker import carry_out
from trio_bus._policy import Policy
from trio_bus.testing import SCENARIOS, simulate

pytestmark = pytest.mark.any_python

COMMAND = [sys.executable, "-W", "error", "-m", "trio_bus._cli", "simulate"]
PATIENCE = 60.0
SABOTAGE = """
from trio_bus._backend import Ack, Receipt
from trio_bus._policy import Policy
Policy.reject = lambda self, receipt, reason: Ack(receipt)
"""
"""What a process runs as it starts: it acknowledges what is rejected."""


def run(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture
def sabotaged(tmp_path: Path) -> dict[str, str]:
    """Give an environment in which each process breaks a promise."""
    (tmp_path / "sitecustomize.py").write_text(SABOTAGE)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)}


def test_so_many_seeds_of_each_scenario_are_run() -> None:
    ran = run("--seeds", "3", "--scenario", "calm", "--scenario", "lossy", "--jobs", "2")
    assert (ran.returncode, ran.stdout) == (0, "")
    runs = [simulate(SCENARIOS[name], seed) for name in ("calm", "lossy") for seed in range(3)]
    seconds = sum(it.seconds for it in runs)
    said = f"trio-bus: 6 runs, {seconds:,.0f} s of virtual time: no invariant was broken\n"
    assert ran.stderr == said


def test_minutes_bound_what_seeds_do_not() -> None:
    began = time.monotonic()
    ran = run("--minutes", "0.02", "--scenario", "calm", "--jobs", "1")
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.endswith("s of virtual time: no invariant was broken\n")
    assert 1.2 <= time.monotonic() - began < PATIENCE


def test_the_first_that_fails_ends_it_with_its_story(sabotaged: dict[str, str]) -> None:
    """And the command in its last line tells the same story again."""
    ran = run("--scenario", "calm", "--jobs", "1", environment=sabotaged)
    assert ran.returncode == 1
    assert ran.stderr.endswith("s of virtual time: one failed\n")
    assert ran.stdout.startswith("invariant 0, decisions: ")
    *_, last = ran.stdout.splitlines()
    assert last.startswith("replay: trio-bus simulate --replay calm:")
    again = run(*last.split()[3:], environment=sabotaged)
    assert (again.returncode, again.stdout, again.stderr) == (1, ran.stdout, "")


def test_a_replay_tells_its_story_whatever_comes_of_it() -> None:
    ran = run("--replay", "deadly:7")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == simulate(SCENARIOS["deadly"], 7).story() + "\n"


def test_a_worker_answers_for_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the number of runs, up to the one that failed."""
    order = Order("calm", 40, 2)
    seconds = sum(simulate(SCENARIOS["calm"], seed).seconds for seed in (40, 41))
    assert carry_out(order) == Answer(2, seconds)

    def reject(_: Policy, receipt: Receipt, _reason: object) -> Ack:
        return Ack(receipt)

    monkeypatch.setattr(Policy, "reject", reject)
    failed = carry_out(Order("calm", 0, 100))
    assert 0 < failed.runs < 100
    assert f"replay: trio-bus simulate --replay calm:{failed.runs - 1}" in failed.story


def test_orders_cut_the_seeds_into_chunks() -> None:
    """Scenarios take turns; without a number of seeds there is no end."""
    bulk = Bulk(scenarios=("calm", "busy"), first_seed=5, seeds=30, seconds=9.0, jobs=1)
    chunks = [(5, 20), (25, 10)]
    assert list(bulk.orders()) == [
        Order(name, first, size) for first, size in chunks for name in ("calm", "busy")
    ]
    endless = Bulk(scenarios=("calm",), first_seed=0, seeds=None, seconds=9.0, jobs=1).orders()
    assert [next(endless).first_seed for _ in range(3)] == [0, 20, 40]


def test_what_is_nearer_counts_for_the_bar() -> None:
    """The seeds, or the time."""
    bulk = Bulk(scenarios=("calm", "busy"), first_seed=0, seeds=50, seconds=10.0, jobs=1, runs=25)
    assert (bulk.done(1.0), bulk.done(5.0)) == (0.25, 0.5)
    timed = Bulk(scenarios=("calm",), first_seed=0, seeds=None, seconds=10.0, jobs=1, runs=25)
    assert timed.done(1.0) == 0.1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seeds", "0"], "argument --seeds: '0' is not a number from 1 to 999,999,999"),
        (["--jobs", "two"], "argument --jobs: 'two' is not a number from 1 to 999,999,999"),
        (["--minutes", "0"], "argument --minutes: '0' is not a number of minutes above 0"),
        (["--minutes", "nan"], "argument --minutes: 'nan' is not a number of minutes above 0"),
        (["--minutes", "soon"], "argument --minutes: 'soon' is not a number of minutes above 0"),
        (["--first-seed", "-1"], "argument --first-seed: '-1' is not a seed: a number from 0"),
        (["--replay", "calm"], "argument --replay: '' is not a seed: a number from 0"),
        (["--replay", "storm:1"], "argument --replay: 'storm' is no scenario: ailing, batched, "),
        (["--scenario", "storm"], "argument --scenario: invalid choice: 'storm'"),
    ],
)
def test_what_is_wrong_is_named(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_its_processes(number: signal.Signals) -> None:
    """It still says what it did."""
    command = [*COMMAND, "--minutes", "1", "--jobs", "1", "--scenario", "calm"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        workers = wait_for_workers(process.pid)
        process.send_signal(number)
        _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert error.endswith("s of virtual time: no invariant was broken\n")
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_a_process_that_dies_is_named() -> None:
    command = [*COMMAND, "--minutes", "1", "--jobs", "1", "--scenario", "calm"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for worker in wait_for_workers(process.pid):
            os.kill(worker, signal.SIGKILL)
        _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "the process that ran calm, seeds " in error
    assert error.endswith(" died\n")


def wait_for_workers(pid: int) -> list[int]:
    """Return the processes that this one lets work, as soon as there is one."""
    for _ in range(3000):
        tasks = Path(f"/proc/{pid}/task").glob("*/children")  # a thread of trio starts them
        children = [child for task in tasks for child in read_proc(task).decode().split()]
        # Python starts others, for a moment, to look for libraries.
        if found := [int(child) for child in children if is_worker(child)]:
            return found
        time.sleep(0.01)
    raise AssertionError("it starts no process")


def is_worker(pid: str) -> bool:
    return b"simulate_worker" in read_proc(Path(f"/proc/{pid}/cmdline"))


def read_proc(path: Path) -> bytes:
    """Read what there is of a process, or of a thread; nothing, if it has ended meanwhile."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_terminal_shows_a_bar() -> None:
    controller, terminal = pty.openpty()
    command = [*COMMAND, "--seeds", "2", "--scenario", "calm", "--jobs", "1"]
    with subprocess.Popen(command, stderr=terminal, stdout=terminal):
        os.close(terminal)
        shown = b""
        while data := read(controller):
            shown += data
    os.close(controller)
    assert b"simulated" in shown
    assert b"2 runs" in shown


def read(controller: int) -> bytes:
    try:
        return os.read(controller, 65536)
    except OSError:  # nobody writes any more
        return b""


def test_lines_between_processes_are_json() -> None:
    answer = Answer(3, 1.5, "a\nb")
    line = msgspec.json.encode(answer)
    assert b"\n" not in line
    assert msgspec.json.decode(line, type=Answer) == answer
