"""``trio-bus dead``: lines for people, JSON for programs, and how it fails."""

from __future__ import annotations

import json
import sys

import pytest
import trio

from tests.test_dead_letters import DEAD, KEPT, MOVED, dead
from trio_bus import SubscriptionConfig, open_bus
from trio_bus._backend import Record
from trio_bus._cli import main

pytestmark = pytest.mark.any_python


def give_up(url: str, config: SubscriptionConfig) -> str:
    """Let a group give up an order and something unreadable; return the id of the order."""

    async def play() -> str:
        async with open_bus(url) as bus:
            record: Record = ((b"\x1b[2J", b"\xff" * 3000),)
            (order,) = await dead(bus, config, b"order \x1b7")
            await bus.backend.append("orders", [record])
            await dead(bus, config, b"key")
            return str(order.id)

    return trio.run(play)


@pytest.mark.parametrize("config", [KEPT, MOVED], ids=["kept", "moved"])
def test_an_operator_handles_them(
    server_url: str, config: SubscriptionConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    """Lists, shows, tries and sends back."""
    order = give_up(server_url, config)
    topic = config.dead_letter_topic or "orders"

    def ask(action: str, *more: str) -> tuple[int, list[str]]:
        code = main(["dead", action, topic, *more, "--url", server_url])
        return code, capfd.readouterr().out.splitlines()

    assert [len(ask("list")[1]), len(ask("list", "--group", "audit")[1])] == [3, 0]
    (line,) = ask("list", "--json", "--error-type", "KeyError")[1]
    assert json.loads(line)["error_type"] == "KeyError"
    shown = "\n".join(ask("show", order)[1])
    assert r"order \x1b7" in shown
    everything = [json.loads(line)["id"] for line in ask("list", "--json")[1]]
    pages = ["\n".join(ask("show", entry_id)[1]) for entry_id in everything]
    assert "cannot be decoded" in "".join(pages)
    assert "\x1b" not in "".join(pages)
    assert json.loads(ask("show", order, "--json")[1][0])["history"] == []
    assert ask("redrive", "--all", "--dry-run")[1][0].endswith("would be sent back to 'billing'")
    assert ask("redrive", order) == (0, [f"{order} sent back to 'billing'"])
    assert ask("redrive", order, "--json")[0] == 1
    assert ask("show", order)[0] == 1
    assert ask("redrive", "--error-type", "KeyError")[0] == 0
    assert ask("redrive", "--all", "--group", "billing")[0] == 0


def test_people_at_a_terminal_get_tables(
    server_url: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wide enough for what is there; where the extra is missing, they get lines."""
    order = give_up(server_url, MOVED)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")

    def ask(action: str, *more: str) -> str:
        main(["dead", action, DEAD, *more, "--url", server_url])
        return capfd.readouterr().out

    listed = ask("list")
    assert [word in listed for word in ("id", "group", "given up", "why", "error")] == [True] * 5
    assert order in listed
    assert "KeyError" in listed
    assert len(ask("list", "--json").splitlines()) == 3
    assert order in ask("redrive", order)
    assert "missing" in ask("redrive", order)
    monkeypatch.setitem(sys.modules, "rich.table", None)
    assert len(ask("list").splitlines()) == 2, "lines"


@pytest.mark.parametrize("more", [[], ["--all", "--error-type", "x"], ["7-7-7"], ["1-0", "--all"]])
def test_it_is_misused(more: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """One choice, and ids that are some."""
    assert main(["dead", "redrive", DEAD, *more, "--url", "redis://localhost:1"]) == 2
    assert capfd.readouterr().err.startswith("trio-bus: ")
