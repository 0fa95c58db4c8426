"""``trio-bus bench``: what it prints and refuses. How fast anything is, no test asks."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import attrs
import msgspec
import pytest

from tests.redis_world import options
from trio_bus._cli import main
from trio_bus._cli.bench import floor, meter, ours, trio_floor
from trio_bus._cli.bench.catalogue import Scale, quick, works
from trio_bus._cli.bench.chart import chart
from trio_bus._cli.bench.clients import FLOOR, OURS, PEERS, TRIO_FLOOR, Client
from trio_bus._cli.bench.display import Display
from trio_bus._cli.bench.meter import Tally, quantiles
from trio_bus._cli.bench.order import Figures, Order, number_of
from trio_bus._cli.bench.ours_consuming import check_finished
from trio_bus._cli.bench.page import page
from trio_bus._cli.bench.program import Measure, Wrong, answer_to
from trio_bus._cli.bench.report import Report, rows
from trio_bus._cli.bench.rounds import Bench
from trio_bus._cli.bench.saving import as_json, files, load, save
from trio_bus._cli.bench.sheets import MAIN, SHEETS
from trio_bus._cli.bench.works import Area, Kind
from trio_bus._connect import open_bus
from trio_bus._entry_id import EntryId
from trio_bus._message import Message
from trio_bus._redis import open_redis
from trio_bus._uid import new_uid

pytestmark = [pytest.mark.any_python, pytest.mark.any_server]

FIGURES = Path(__file__).parent.parent / "docs" / "bench"
COMMAND = [sys.executable, "-W", "error", "-m", "trio_bus._cli", "bench"]
SMALL = ("--messages", "64", "--rounds", "1")
TINY = Scale(
    size=16,
    rate=1000,
    messages=40,
    backlogs=(50, 60),
    subscriptions=(1, 2),
    idlers=2,
    seconds=0.01,
    lives=1,
)
WORKS = {work.name: work for work in works(TINY)}
MEASURES: dict[Client, Measure] = {
    OURS: ours.measure,
    TRIO_FLOOR: trio_floor.measure,
    FLOOR: floor.measure,
}
KINDS = {work.kind: work for work in reversed(WORKS.values())}


def bench(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=120, check=False)


def report(*, missing: list[str] | None = None) -> Report:
    """Return what a run finds in which each figure is another."""
    found = {
        (work, client): [
            {
                column.figure: 1000.0 * place + number
                for sheet in SHEETS
                if work.kind in sheet.kinds
                for number, column in enumerate(sheet.columns, 1)
            }
            for _ in range(3)
        ]
        for place, work in enumerate(works(TINY), 1)
        for client in (OURS, TRIO_FLOOR, PEERS[0])
        if client.does(work)
    }
    return Report(
        server="a server",
        python="CPython",
        machine="Linux",
        size=16,
        rounds=3,
        missing=missing or [],
        rows=rows(found),
    )


async def test_each_client_is_measured_in_each_kind_of_work(server_url: str) -> None:
    """The JSON has figures for each of them; nothing stays behind."""
    asked = ("--json", "--peers", "--only", "publish,latency", "--rate", "1000")
    done = bench(*asked, "--url", server_url, *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    found = msgspec.json.decode(done.stdout, type=Report)
    assert (found.size, found.rounds) == (256, 1)
    present = [peer for peer in PEERS if peer.is_installed]
    assert found.missing == [peer.name for peer in PEERS if peer not in present]
    areas = (Area.PUBLISH, Area.LATENCY)
    assert [(row.work, row.client) for row in found.rows] == [
        (work.name, client.name)
        for work in works(Scale(size=256, rate=1000, messages=64), areas)
        for client in (OURS, TRIO_FLOOR, FLOOR, *present)
        if client.does(work)
    ]
    for row in found.rows:
        assert all(figure > 0 for figure in row.figures.values())
        mine = next(it for it in found.rows if (it.work, it.client) == (row.work, OURS.name))
        main = MAIN[row.kind]
        assert row.ours == pytest.approx(mine.figures[main] / row.figures[main])
    async with open_redis(server_url, options()) as backend:
        assert await backend._link.call("KEYS", "*bench-*") == []


def test_it_brings_its_own_server_and_prints_tables(tmp_path: Path) -> None:
    """Without a terminal there are no colours and no bar. What it saves is what it found."""
    saved = tmp_path / "new"
    asked = ("--only", "publish", "--quick", "--size", "10", "--save", str(saved))
    done = bench(*asked, *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    lines = done.stdout.decode().splitlines()
    assert "payloads of 10 bytes, medians of 1 rounds" in lines[0]
    assert sum("| trio floor " in line for line in lines) == 3
    assert sum("1.00 x" in line for line in lines if "| trio_bus " in line) == 3
    assert {path.name: path.read_text() for path in saved.iterdir()} == files(
        load(saved / "bench.json")
    )


def test_memory_needs_no_server() -> None:
    """Nobody else can be measured there."""
    done = bench("--url", "memory:", "--json", "--only", "life,publish", *SMALL)
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(done.stdout, type=Report)
    assert found.server == "memory:"
    assert {row.client for row in found.rows} == {OURS.name}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--size", "x"), "'x' is not a number from 0 to 1,048,576"),
        (("--size", "1048577"), "is not a number"),
        (("--rounds", "0"), "'0' is not a number from 1"),
        (("--messages", "-1"), "--messages"),
        (("--only", "publish,all"), "'publish,all' is not a list of these: publish, consume, lat"),
        (("--url", "http://localhost"), "the scheme must be one of redis://"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what is wrong; nothing was started."""
    assert main(["bench", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert says in line


def test_a_server_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """That is a failure and no misuse."""
    assert main(["bench", "--url", "redis://localhost:1", *SMALL]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("client", MEASURES, ids=lambda client: client.name)
def test_all_that_is_measured_is_done(client: Client, kind: Kind, server_url: str) -> None:
    """Each program does each kind of work that is said of it."""
    work = KINDS[kind]
    if not client.does(work):
        pytest.skip("nothing is said of it")
    _check(MEASURES[client](Order(server_url, f"bench-{new_uid()}", work)), kind)


@pytest.mark.parametrize("name", WORKS)
def test_memory_is_measured_too(name: str) -> None:
    work = WORKS[name]
    if (work, OURS) in Bench(size=16, rounds=1, works=(work,), peers=False).pairs("memory:"):
        _check(ours.measure(Order("memory:", "topic", work)), work.kind)
    else:
        assert work.pending  # which nobody else could hold


def test_what_others_hold_is_in_the_way_of_nothing(server_url: str) -> None:
    (work,) = [work for work in WORKS.values() if work.pending == 60]
    _check(ours.measure(Order(server_url, f"bench-{new_uid()}", work)), work.kind)


def _check(figures: Figures, kind: Kind) -> None:
    (sheet,) = [sheet for sheet in SHEETS if kind in sheet.kinds]
    assert {column.figure for column in sheet.columns} == set(figures)
    assert all(figure > 0 for figure in figures.values())


def test_who_is_measured_depends_on_the_server() -> None:
    """Other libraries only if they are asked for, and a socket that blocks has no TLS."""
    everybody = [OURS, TRIO_FLOOR, FLOOR]
    alone = Bench(size=16, rounds=1, works=(), peers=False)
    assert alone.clients("redis://h") == everybody
    assert alone.clients("rediss://h") == [OURS, TRIO_FLOOR]
    assert alone.missing() == []
    beside = attrs.evolve(alone, peers=True)
    assert PEERS[0] in beside.clients("redis://h")


def test_quick_is_less_of_everything() -> None:
    scale = Scale(size=256, rate=500, messages=20_000)
    usual, less = works(scale), works(quick(scale))
    assert len(less) < len(usual)
    assert sum(work.count + work.backlog for work in less) < sum(
        work.count + work.backlog for work in usual
    )
    assert {work.kind for work in less} == set(Kind)


def test_what_is_slow_gets_less() -> None:
    work = WORKS["consume, 64 in flight"]
    assert [peer.order(work).count for peer in PEERS[:1]] == [round(work.count * PEERS[0].share)]
    late = KINDS[Kind.LATENCY]
    assert PEERS[0].order(late) == late  # there a rate is asked for


def test_what_goes_wrong_is_an_answer_without_the_url() -> None:
    def fail(order: Order) -> Figures:
        raise ExceptionGroup("all", [ExceptionGroup("both", [OSError(f"no {order.url}!")])])

    order = Order("redis://user:secret@h", "t", KINDS[Kind.PUBLISH])
    assert answer_to(order, fail).error == "OSError: no ...!"


def test_who_counts_notices_what_comes_too_often() -> None:
    tally = Tally(2, lambda: None)
    tally.count()
    with pytest.raises(Wrong, match="1 messages were handled, of 2"):
        tally.figures()
    tally.count(2)
    with pytest.raises(Wrong, match="3 messages were handled, of 2"):
        tally.figures()


async def test_what_is_left_is_noticed() -> None:
    async with open_bus("memory:") as bus:
        await bus.publish(Message("orders"))
        await bus.backend.create_group("orders", "bench", EntryId(0, 0))
        with pytest.raises(Wrong, match="1 messages undelivered, 0 not settled"):
            await check_finished(bus, ["orders"])


def test_numbers_travel_in_payloads() -> None:
    order = Order("redis://h", "t", attrs.evolve(KINDS[Kind.LATENCY], size=12))
    assert order.payload(7) == b"00000007xxxx"
    assert number_of(order.payload(12_345_678)) == 12_345_678


def test_quantiles_are_those_of_all() -> None:
    found = quantiles([float(number) for number in range(1001)])
    assert found == {"p50_us": 500e6, "p95_us": 950e6, "p99_us": 990e6, "p999_us": 999e6}


@pytest.mark.parametrize("status", ["VmHWM:\t  77 kB\n", "Name: x\n", None])
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_the_peak_of_memory_is_known_everywhere(
    status: str | None, platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since `forget_peak` where the system can say that, else since the process began."""
    monkeypatch.setattr(meter, "PROC", tmp_path if status else tmp_path / "no")
    monkeypatch.setattr(sys, "platform", platform)
    if status:
        (tmp_path / "status").write_text(status)
    meter.forget_peak()
    assert meter.peak() == 77 * 1024 if status and "77" in status else meter.peak() > 1024


def test_a_page_says_what_was_found() -> None:
    """A table for each sheet, a row for each client, every figure; and who was missing."""
    found = report(missing=["streaq", "taskiq"])
    text = page(found)
    assert text.startswith(".. Written by ``trio-bus bench --save``: not by hand.\n")
    assert "Not installed: streaq, taskiq." in text
    assert text.count(".. list-table::") == len(SHEETS)
    for row in found.rows:
        assert f"   * - {row.work}\n" in text
        for figure in row.figures.values():
            assert f"{figure:,.0f}" in text
    assert "Not installed" not in page(report())


def test_the_manual_shows_what_the_command_wrote() -> None:
    """Each of the three files is made of the same figures; none was changed by hand."""
    shown = files(load(FIGURES / "bench.json"))
    assert {path.name: path.read_text() for path in FIGURES.iterdir()} == shown


def test_a_chart_has_a_bar_for_each_rate() -> None:
    found = report()
    text = chart(found)
    compared = [row for row in found.rows if row.kind in SHEETS[0].kinds]
    assert text.count("<rect") == len(compared) + 1
    assert text.count('class="work"') == len({row.work for row in compared})


def test_what_is_saved_can_be_loaded(tmp_path: Path) -> None:
    found = report()
    save(found, tmp_path / "there")
    assert load(tmp_path / "there" / "bench.json") == found
    assert msgspec.json.decode(as_json(found), type=Report) == found


@pytest.mark.parametrize("color", ["1", ""])
def test_tables_have_colours_where_somebody_watches(
    color: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a fixed width where nobody does."""
    monkeypatch.setenv("FORCE_COLOR", color)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    Display().tables(report(missing=["streaq"]))
    shown = capsys.readouterr().out
    assert ("\x1b[" in shown) is bool(color)
    assert color or max(len(line) for line in shown.splitlines()) <= 110
    assert "streaq is not installed: not measured" in shown
