"""``trio-bus dead`` on streams in memory: headers, refusals, and nobody who reads."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import pytest

from tests.test_dead_letters import KEPT, kill, listed
from trio_bus import Bus, EntryId, MemoryBackend, Message, Redriven, RemoteError
from trio_bus._cli import dead, main
from trio_bus._graves import Grave


class Ask(Protocol):
    """Runs the command; returns its exit code."""

    def __call__(self, action: str, *more: str) -> int: ...


class Refusing(MemoryBackend):
    """Sends nothing back."""

    async def redrive(self, dead: Sequence[Grave]) -> list[Redriven | RemoteError]:
        return [RemoteError("OOM full") for _ in dead]


async def give_up_one(bus: Bus) -> None:
    """Let a group give up a message that has a header."""
    await bus.backend.create_group("orders", "billing", EntryId(0))
    await bus.publish(Message("orders", b"7", headers={"colour": "\x1b[31m"}))
    await kill(bus, KEPT, 1)


@pytest.fixture
def given_up() -> list[EntryId]:
    """Give a list of what was given up."""
    return []


@pytest.fixture
def ask(given_up: list[EntryId], monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Give the command, on new streams each time, where one message was given up."""

    @asynccontextmanager
    async def open_server(_: str) -> AsyncGenerator[Bus]:
        bus = Bus(Refusing())
        await give_up_one(bus)
        given_up[:] = [message.id for message in await listed(bus, "orders")]
        yield bus

    monkeypatch.setattr(dead, "open_server", open_server)

    def run(action: str, *more: str) -> int:
        return main(["dead", action, "orders", *more, "--url", "redis://localhost:1"])

    return run


def test_nobody_reads_what_is_listed(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no failure: it ends as other commands do."""

    async def unread(_: int, __: bytes) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(dead, "write_all", unread)
    monkeypatch.setattr(dead, "hush", lambda: 141)
    assert ask("list") == 141


def test_a_refusal_is_told(
    ask: Ask, given_up: list[EntryId], capfd: pytest.CaptureFixture[str]
) -> None:
    assert ask("redrive", "--all") == 1
    assert capfd.readouterr().out == f"{given_up[0]} refused: OOM full to 'billing'\n"


async def test_headers_are_shown() -> None:
    """So that they do nothing to a terminal."""
    bus = Bus(MemoryBackend())
    await give_up_one(bus)
    (message,) = await listed(bus, "orders")
    assert r"header 'colour': '\x1b[31m'" in dead._page(message).splitlines()
