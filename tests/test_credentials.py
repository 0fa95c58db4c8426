"""Credentials that a provider gives: asked anew, in a thread, and never shown."""

from __future__ import annotations

import threading
from collections.abc import Generator
from pathlib import Path
from typing import cast

import attrs
import cattrs
import pytest
import redis.credentials
import trio

from tests.harness import Recorder, config, publish, until
from tests.redis_world import command
from tests.restartable import running
from tests.servers import command as inline
from trio_bus import (
    AuthenticationFailed,
    BusError,
    BusOptions,
    Confirmation,
    ConnectionLost,
    Delivery,
    Message,
    PublishOptions,
    RedisBackend,
    Scope,
    ValidationError,
    open_bus,
    open_redis,
    open_subscription,
)
from trio_bus._credentials import Login, Secret, as_login

pytestmark = pytest.mark.every_server

PASSWORD = "s3cr3t-one"  # noqa: S105 - of nobody
NEXT = "s3cr3t-two"


@attrs.define
class Giver:
    """A provider that gives what it is told to, and counts how often it was asked."""

    gives: object = ("rotated", PASSWORD)
    raises: Exception | None = None
    calls: int = 0
    threads: set[int] = attrs.field(factory=set[int])

    def get_credentials(self) -> tuple[str, str]:
        self.calls += 1
        self.threads.add(threading.get_ident())
        if self.raises is not None:
            raise self.raises
        return cast("tuple[str, str]", self.gives)


@pytest.fixture
def acl_url(server_url: str) -> Generator[str]:
    """Give a server with a user whose password a test may change."""
    set_password(server_url, PASSWORD)
    yield server_url
    assert inline(server_url, "ACL DELUSER rotated") == ":1"


def set_password(url: str, password: str) -> None:
    """Change the password of the user; connections that are open stay open."""
    assert inline(url, f"ACL SETUSER rotated reset on >{password} ~* &* +@all") == "+OK"


def kill_clients(url: str) -> None:
    """End every connection that is open."""
    assert inline(url, "CLIENT KILL TYPE normal SKIPME yes").startswith(":")


def options(giver: Giver, recorder: Recorder | None = None, timeout: float = 5.0) -> BusOptions:
    """Return settings with this provider."""
    return BusOptions(
        credential_provider=giver,
        observer=recorder or Recorder(),
        connect_timeout=timeout,
        command_timeout=20.0,
    )


async def who_am_i(url: str, chosen: BusOptions) -> object:
    """Return the user that the server knows us as."""
    async with open_redis(url, chosen) as backend:
        return await command(backend, "ACL", "WHOAMI")


async def test_each_connection_asks_the_provider_anew(acl_url: str) -> None:
    """The command connection and the reader's; in a thread, never in ours."""
    giver = Giver()
    async with open_bus(acl_url, options(giver)) as bus:
        assert giver.calls == 1
        async with open_subscription(bus, config()) as deliveries:
            await publish(bus, 1)
            async for delivery in deliveries:
                await delivery.ack()
                break
        assert giver.calls >= 2
    assert threading.get_ident() not in giver.threads


async def test_a_provider_of_redis_py_will_do(acl_url: str) -> None:
    """With a user, or with the password alone for the default user."""
    provider = redis.credentials.UsernamePasswordCredentialProvider("rotated", PASSWORD)
    assert await who_am_i(acl_url, BusOptions(credential_provider=provider)) == b"rotated"
    alone = redis.credentials.UsernamePasswordCredentialProvider(password=NEXT)
    assert inline(acl_url, f"ACL SETUSER default resetpass >{NEXT}") == "+OK"
    try:
        assert await who_am_i(acl_url, BusOptions(credential_provider=alone)) == b"default"
    finally:
        giver = Giver()
        async with open_redis(acl_url, options(giver)) as backend:
            await command(backend, "ACL", "SETUSER", "default", "nopass")


async def test_a_password_that_changes_is_read_anew(acl_url: str) -> None:
    """Old connections go on; new ones are refused, the observer is told, until it is right."""
    giver, recorder, handled = Giver(), Recorder(), list[bytes]()

    async def handle(delivery: Delivery) -> None:
        handled.append(delivery.message.payload)

    async with (
        open_bus(acl_url, options(giver, recorder)) as bus,
        open_subscription(bus, config(), handle),
    ):
        await publish(bus, 1)
        await until(lambda: len(handled) == 1)
        set_password(acl_url, NEXT)
        await publish(bus, 1)
        await until(lambda: len(handled) == 2)
        kill_clients(acl_url)
        await until(lambda: _told(recorder, Scope.CONNECT, AuthenticationFailed) >= 2)
        await until(lambda: _told(recorder, Scope.READ, BusError) >= 1)
        before = giver.calls
        await trio.sleep(0.3)
        assert giver.calls - before < 60, "it runs hot"
        giver.gives = ("rotated", NEXT)
        await publish(bus, 1)
        await until(lambda: len(handled) == 3)
    assert "s3cr3t" not in repr(recorder)


def _told(recorder: Recorder, scope: Scope, kind: type[BusError]) -> int:
    events = [event for event in recorder.errors if event.scope is scope]
    return sum(isinstance(event.error, kind) for event in events)


async def test_a_provider_that_fails_for_a_while_is_asked_again(acl_url: str) -> None:
    """When opening, and when connecting again; its error is the cause, its text is not shown."""
    flaw = OSError(f"the vault says {PASSWORD}")
    giver, recorder = Giver(raises=flaw), Recorder()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_mend_after, giver, 3)
        async with open_bus(acl_url, options(giver, recorder)) as bus:
            assert giver.calls >= 3
            giver.raises = flaw
            kill_clients(acl_url)
            calls = giver.calls
            await until(lambda: giver.calls > calls + 1)
            nursery.start_soon(_mend_after, giver, giver.calls + 1)
            await publish(bus, 1)
    losses = [event.error for event in recorder.errors if event.error.__cause__ is flaw]
    assert losses
    for loss in losses:
        assert type(loss) is ConnectionLost
        assert str(loss) == "no credentials: the credential provider raised OSError"


async def _mend_after(giver: Giver, calls: int) -> None:
    while giver.calls < calls:
        await trio.sleep(0.005)
    giver.raises = None


async def test_a_provider_that_goes_on_failing_ends_the_opening(acl_url: str) -> None:
    """After the connect timeout, with its own error as the cause."""
    giver = Giver(raises=KeyError(PASSWORD))
    with trio.fail_after(5), pytest.raises(ConnectionLost, match="raised KeyError") as caught:
        await who_am_i(acl_url, options(giver, timeout=0.3))
    assert caught.value.__cause__ is giver.raises
    assert "s3cr3t" not in str(caught.value)


async def test_a_provider_that_hangs_ends_with_the_connect_timeout(acl_url: str) -> None:
    """Its thread is left alone; the few that it may take are not those of the program."""
    go_on = threading.Event()

    class Hanging(Giver):
        def get_credentials(self) -> tuple[str, str]:
            self.calls += 1
            go_on.wait(20)
            return super().get_credentials()

    giver = Hanging()
    try:
        for _ in range(2):
            with (
                trio.fail_after(5),
                pytest.raises(ConnectionLost, match=r"0\.1 s|raised") as caught,
            ):
                await who_am_i(acl_url, options(giver, timeout=0.1))
            assert isinstance(caught.value.__cause__, TimeoutError)
    finally:
        go_on.set()


@pytest.mark.parametrize(
    "given",
    [None, PASSWORD, [PASSWORD], (), ("a", PASSWORD, "c"), (None, PASSWORD), (b"s3cr3t",)],
    ids=repr,
)
async def test_what_is_no_credentials_is_refused_at_once(acl_url: str, given: object) -> None:
    """A provider with a defect does not heal by waiting; what it gave is not shown."""
    with trio.fail_after(2), pytest.raises(ValidationError, match="get_credentials") as caught:
        await who_am_i(acl_url, options(Giver(gives=given)))
    assert "s3cr3t" not in str(caught.value)


async def test_a_provider_that_breaks_later_ends_nothing(acl_url: str) -> None:
    """The observer hears of it, and the connection comes back when it is mended."""
    giver, recorder = Giver(), Recorder()
    async with open_bus(acl_url, options(giver, recorder)) as bus:
        giver.gives = "broken"
        kill_clients(acl_url)
        await until(lambda: _told(recorder, Scope.CONNECT, ValidationError) >= 1)
        giver.gives = ("rotated", PASSWORD)
        await publish(bus, 1)


async def test_wrong_credentials_of_a_provider_fail_at_once(acl_url: str) -> None:
    """When opening: they do not heal by waiting."""
    giver = Giver(gives=("rotated", "s3cr3t-wrong"))
    with trio.fail_after(3), pytest.raises(AuthenticationFailed) as caught:
        await who_am_i(acl_url, options(giver))
    assert giver.calls == 1
    assert "s3cr3t" not in repr(caught.value)


@pytest.mark.parametrize("user", ["me:pw@", ":pw@", "me@"])
async def test_credentials_from_two_places_are_refused(user: str, tmp_path: Path) -> None:
    """The URL and the provider cannot both be right."""
    giver = Giver()
    with pytest.raises(ValidationError, match="credential_provider"):
        await who_am_i(f"unix://{user}{tmp_path}/s.sock", options(giver))
    assert giver.calls == 0


async def test_streams_without_users_ask_nobody() -> None:
    """Neither this process nor its own server has users to log in as."""
    giver = Giver()
    for url in ("memory:", "embedded:"):
        async with open_bus(url, options(giver)) as bus:
            await publish(bus, 1)
    assert giver.calls == 0


def test_a_provider_is_set_in_code_and_not_shown() -> None:
    """No table holds one; a password in its place is not shown either."""
    provider = redis.credentials.UsernamePasswordCredentialProvider("u", PASSWORD)
    assert "redentialProvider" not in repr(BusOptions(credential_provider=provider))
    for wrong in (PASSWORD, Giver):
        with pytest.raises(ValidationError, match="credential_provider") as caught:
            BusOptions(credential_provider=cast("Giver", wrong))
        assert "s3cr3t" not in str(caught.value)
        table = {"credential_provider": wrong}
        converter = cattrs.Converter(detailed_validation=False)
        with pytest.raises(ValidationError, match="only be set in code") as caught:
            converter.structure(table, BusOptions)
        assert "s3cr3t" not in str(caught.value)


def test_secrets_do_not_show_themselves() -> None:
    """Nor is a login one that cannot be written."""
    secret = Secret(PASSWORD)
    assert "s3cr3t" not in f"{secret!r} {secret} {[secret]}"
    assert secret == Secret(PASSWORD)
    assert hash(secret) == hash(Secret(PASSWORD))
    assert secret != Secret(NEXT)
    assert secret != PASSWORD
    assert as_login((PASSWORD,)) == Login("default", secret)
    assert as_login(("", PASSWORD)) == Login("default", secret)
    assert as_login(("\udc80", PASSWORD)) is None


def test_redis_backend_keeps_its_options_to_itself() -> None:
    """The class has no repr that would show them."""
    assert RedisBackend.__repr__ is object.__repr__


async def test_what_a_provider_raises_is_in_no_text_of_a_publish(acl_url: str) -> None:
    """It may be secret; the loss that a publisher hears of says only that there was one."""
    giver, recorder = Giver(), Recorder()
    chosen = attrs.evolve(options(giver, recorder), command_timeout=0.3, publish_timeout=0.0)
    async with open_bus(acl_url, chosen) as bus:
        giver.raises = RuntimeError(NEXT)
        kill_clients(acl_url)
        await until(lambda: any("raised RuntimeError" in str(it.error) for it in recorder.errors))
        with pytest.raises(ConnectionLost) as caught:
            await bus.publish(Message("orders"))
        with pytest.raises(ConnectionLost) as at_once:
            bus.publish_nowait(Message("orders"))
    assert NEXT not in f"{caught.value} {at_once.value} {recorder.errors}"


async def test_a_persisted_publish_outlives_wrong_credentials(server_kind: str) -> None:
    """As others do: the provider is asked anew for the next attempt."""
    with running(server_kind) as server:
        if inline(server.url, "WAITAOF 0 0 0").startswith("-ERR unknown"):
            pytest.skip("Redis 6.2 has no WAITAOF")
        set_password(server.url, PASSWORD)
        giver = Giver()
        chosen = PublishOptions(confirmation=Confirmation.PERSISTED)
        async with open_bus(server.url, options(giver)) as bus, trio.open_nursery() as nursery:
            giver.gives = ("rotated", NEXT)
            asked = giver.calls
            nursery.start_soon(bus.publish, Message("orders"), chosen)
            await until(lambda: giver.calls > asked)
            giver.gives = ("rotated", PASSWORD)
        assert giver.calls > asked + 1
