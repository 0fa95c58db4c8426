"""Connections that a server ends, refuses or cannot log in, under load; and names that fail."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from typing import Protocol, cast

import attrs
import pytest
import trio

from tests.harness import Recorder, config, until
from tests.load import Plan, loaded
from tests.node import node
from trio_bus import (
    AuthenticationFailed,
    BusOptions,
    ConnectionLost,
    Delivery,
    Message,
    Scope,
    open_bus,
    open_subscription,
)

pytestmark = pytest.mark.long


class LookUp(Protocol):
    """What `socket.getaddrinfo` does for trio."""

    def __call__(self, host: bytes | str, port: int, *more: int) -> Sequence[object]:
        """Look up a name."""
        ...


_look_up = cast("LookUp", socket.getaddrinfo)


@pytest.mark.bulk
async def test_clients_that_are_killed_all_the_time_lose_nothing(server_kind: str) -> None:
    """Every 100 ms for 10 s, readers too: work goes on between, and is done in the end."""
    async with node(server_kind) as server, loaded(server) as load:
        before, done = await load.commands(), load.done
        async with server.admin() as ask:
            for _ in range(100):
                await ask("CLIENT", "KILL", "TYPE", "normal")
                await trio.sleep(0.1)
        assert load.done > done
        await load.more(50)
        stored = await load.settle()
        load.check_kept(stored)
        load.check_once()
        load.check_calm(await load.commands() - before)


async def test_a_changed_password_is_waited_out(server_kind: str) -> None:
    """It may be put right: the observer hears, nothing ends, nothing runs hot."""
    async with node(server_kind, requirepass="old") as server:
        url = server.url.replace("://", "://:old@")
        async with loaded(server, url=url) as load:
            await server.do("CONFIG", "SET", "requirepass", "new")
            server.requirepass = "new"
            await server.kill_clients()
            await trio.sleep(2)
            refused = [it for it in load.heard(Scope.CONNECT) if type(it) is AuthenticationFailed]
            assert len(refused) >= load.plan.members
            assert all("old" not in str(error) for error in refused)
            await server.do("CONFIG", "SET", "requirepass", "old")
            server.requirepass = "old"
            await load.more(50)
            stored = await load.settle()
            load.check_kept(stored)
            load.check_once()
            load.check_calm()


@attrs.define
class Rotating:
    """Knows the password of today."""

    today: str

    def get_credentials(self) -> tuple[str]:
        """Give it."""
        return (self.today,)


async def test_a_changed_password_is_taken_from_its_provider(server_kind: str) -> None:
    """Each connection asks anew: those that were cut come back with the new one."""
    provider = Rotating("old")
    async with (
        node(server_kind, requirepass="old") as server,
        loaded(server, Plan(credentials=provider)) as load,
    ):
        await server.do("CONFIG", "SET", "requirepass", "new")
        server.requirepass = provider.today = "new"
        await server.kill_clients()
        await load.more(50)
        stored = await load.settle()
        load.check_kept(stored)
        load.check_once()
        load.check_calm()
        assert not [it for it in load.heard(Scope.CONNECT) if type(it) is AuthenticationFailed]


async def test_a_full_server_is_waited_for(server_kind: str) -> None:
    """It takes some connections back, and refuses the rest until there is room."""
    async with node(server_kind) as server, loaded(server) as load:
        async with server.admin() as ask:
            await ask("CONFIG", "SET", "maxclients", 6)
            await ask("CLIENT", "KILL", "TYPE", "normal")
            await trio.sleep(2)
            await ask("CONFIG", "SET", "maxclients", 1000)
        await load.more(50)
        stored = await load.settle()
        load.check_kept(stored)
        load.check_once()
        load.check_calm()
        assert any("max number of clients" in str(error) for error in load.heard(Scope.CONNECT))


async def test_an_idle_connection_that_is_closed_is_not_missed(server_kind: str) -> None:
    """Without anything to do it is replaced about as often as the server closes it."""
    recorder = Recorder()
    settings = attrs.evolve(config(), reclaim_interval=10.0)
    handled: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        handled.append(delivery.message.payload)

    async with (
        node(server_kind, "--timeout", "1") as server,
        open_bus(server.url, BusOptions(observer=recorder)) as bus,
        open_subscription(bus, settings, handle),
    ):
        began = trio.current_time()
        await trio.sleep(3)
        await bus.publish(Message("orders", b"one"))
        await until(lambda: handled == [b"one"])
        most = trio.current_time() - began
    assert {event.scope for event in recorder.errors} == {Scope.CONNECT}
    assert len(recorder.errors) <= most


@attrs.define
class Names:
    """A name service of one name: slow, or without an answer until it is told one."""

    address: str = ""
    delay: float = 0.0

    def look_up(self, host: bytes | str, port: int, *more: int) -> Sequence[object]:
        """Stand in for `socket.getaddrinfo`."""
        if host != b"events.test":
            return _look_up(host, port, *more)
        if more[-1] & socket.AI_NUMERICHOST or not self.address:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        time.sleep(self.delay)
        return _look_up(self.address, port, *more)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Give the name service that this test asks."""
    service = Names()
    monkeypatch.setattr(socket, "getaddrinfo", service.look_up)
    return service


@pytest.mark.parametrize("delay", [0.0, 5.0])
async def test_a_name_that_is_not_found_is_named_in_time(names: Names, delay: float) -> None:
    """Opening tries for `connect_timeout`, also when the lookup itself hangs, and says so."""
    if delay:
        names.address, names.delay = "127.0.0.1", delay
    started = trio.current_time()
    options = BusOptions(observer=Recorder(), connect_timeout=0.3)
    with pytest.raises(ConnectionLost, match=r"events\.test") as caught:
        async with open_bus("redis://events.test:6379", options):
            pytest.fail("there is no such host")
    assert trio.current_time() - started < 4
    assert isinstance(caught.value.__cause__, TimeoutError if delay else OSError)


async def test_a_lookup_that_heals_brings_everybody_back(server_kind: str, names: Names) -> None:
    """Connections are cut while the name is unknown: all come back when it is known again."""
    names.address = "127.0.0.1"
    async with node(server_kind, tcp=True) as server:
        url = f"redis://events.test:{server.port}"
        async with loaded(server, url=url) as load:
            names.address = ""
            await server.kill_clients()
            await trio.sleep(1)
            names.address = "127.0.0.1"
            await load.more(50)
            stored = await load.settle()
            load.check_kept(stored)
            load.check_once()
            load.check_calm()
            errors = [str(error) for error in load.heard(Scope.CONNECT)]
            assert any("events.test" in text and "not known" in text for text in errors)
