"""Users with few rights: what is documented is enough, and what is missing is named."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import attrs
import pytest
import trio

import trio_bus
from tests.harness import Recorder, config, publish, until
from tests.restartable import running
from tests.servers import command as inline
from trio_bus import (
    BusOptions,
    Confirmation,
    Delivery,
    Message,
    OrderingMode,
    PermissionDenied,
    PublishOptions,
    Transition,
    Unsupported,
    open_bus,
    open_subscription,
)
from trio_bus._redis.rights import (
    OPTIONAL,
    ORDERING,
    PUBLISHING,
    REDRIVING,
    RETAINING,
    SUBSCRIBING,
)

pytestmark = pytest.mark.every_server

KEYS = "resetchannels ~orders ~{orders}.dead ~trio_bus:* &trio_bus:*"
MANUAL = Path(__file__).parent.parent / "docs" / "howto.rst"


@pytest.fixture
def few_url(server_url: str) -> Generator[str]:
    """Give the URL of a user whom a test gives rights; it has none yet."""
    allow(server_url)
    yield server_url.replace("//", "//few:pw@")
    assert inline(server_url, "ACL DELUSER few") == ":1"


def allow(url: str, *rules: str) -> None:
    """Give the user exactly these rules; its connections go on."""
    allowed = " ".join(f"+{rule}" for rule in rules)
    line = f"ACL SETUSER few reset on >pw {KEYS} -@all {allowed}"
    server = url.replace("few:pw@", "")
    if inline(server, line) != "+OK":  # Redis 6.2 does not know this one
        assert inline(server, line.replace("+waitaof", "")) == "+OK"


async def live(url: str) -> Recorder:
    """Ack, retry, bury, release and take over: a whole life of a subscription."""
    recorder, handled = Recorder(), list[bytes]()

    async def handle(delivery: Delivery) -> None:
        number = delivery.message.payload
        if number == b"1" and delivery.state.attempt == 1:
            await delivery.retry("later")
        elif number == b"2":
            await delivery.reject("never")
        elif number == b"3" and number not in handled:
            handled.append(number)
            await delivery.release()
        else:
            handled.append(number)

    chosen = BusOptions(observer=recorder, connect_timeout=5.0, command_timeout=5.0)
    with trio.fail_after(20):
        async with open_bus(url, chosen) as bus:
            async with open_subscription(bus, config()) as abandoned:
                await publish(bus, 1)
                await abandoned.receive()  # left unfinished, and taken over below
            async with open_subscription(bus, config(), handle):
                await publish(bus, 5)
                await until(lambda: sorted(handled) == [b"0", b"0", b"1", b"3", b"3", b"4"])
            info = await bus.info("{orders}.dead")
            assert info.length == 1
            (group,) = (await bus.info("orders")).groups
            assert group.pending == 0
    return recorder


async def test_the_documented_rights_are_enough(few_url: str) -> None:
    """For everything that a subscription does, with nothing to report."""
    allow(few_url, *SUBSCRIBING, *OPTIONAL)
    recorder = await live(few_url)
    assert not recorder.errors
    assert len(recorder.ids(Transition.DEAD_LETTERED)) == 1


async def test_one_more_is_enough_to_keep_an_order(few_url: str) -> None:
    """Without it the subscription ends when it begins to wait."""
    settings = attrs.evolve(config(), ordering_mode=OrderingMode.KEY)
    handled = list[bytes]()

    async def handle(delivery: Delivery) -> None:
        handled.append(delivery.message.payload)

    allow(few_url, *SUBSCRIBING, *OPTIONAL)
    with trio.fail_after(20):
        with pytest.raises(PermissionDenied, match="xread"):
            async with open_bus(few_url) as bus, open_subscription(bus, settings, handle):
                await trio.sleep_forever()
        allow(few_url, *SUBSCRIBING, *OPTIONAL, *ORDERING)
        async with open_bus(few_url) as bus, open_subscription(bus, settings, handle):
            await publish(bus, 3)
            await until(lambda: sorted(handled) == [b"0", b"1", b"2"])


async def test_they_are_enough_to_publish_once_and_later(few_url: str) -> None:
    """A key, one that was there, a schedule, one that was there, and a schedule taken back."""
    allow(few_url, *SUBSCRIBING, *OPTIONAL)
    heard: list[bytes] = []

    async def hear(delivery: Delivery) -> None:
        heard.append(delivery.message.payload)

    with trio.fail_after(20):
        async with open_bus(few_url) as bus, open_subscription(bus, config(), hear):
            now = Message("orders", b"now", idempotency_key="a")
            assert await bus.publish(now) == await bus.publish(now)
            bus.publish_nowait(Message("orders", b"nowait", idempotency_key="b"))
            never = await bus.schedule(Message("orders", b"never"), delay=1.5)
            assert await bus.cancel_scheduled(never)
            later = Message("orders", b"later", idempotency_key="c")
            assert await bus.schedule(later, delay=1.5) == await bus.schedule(later, delay=1.5)
            await until(lambda: len(heard) == 3)  # "never" would have come before the last
    assert sorted(heard) == [b"later", b"now", b"nowait"]


async def test_they_are_enough_to_wait_for_the_disk(server_kind: str) -> None:
    """On a server that writes to one; the first publish and the repeated one."""
    with running(server_kind) as server:
        allow(server.url, *SUBSCRIBING, *OPTIONAL)
        url = server.url.replace("//", "//few:pw@")
        message = Message("orders", b"once", idempotency_key="a")
        chosen = PublishOptions(confirmation=Confirmation.PERSISTED)
        async with open_bus(url) as bus:
            if inline(server.url, "WAITAOF 0 0 0").startswith("-ERR unknown"):  # Redis 6.2
                with pytest.raises(Unsupported, match="WAITAOF"):
                    await bus.publish(message, chosen)
            else:
                first = await bus.publish(message, chosen)
                assert await bus.publish(message, chosen) == first


@pytest.mark.parametrize("lacking", OPTIONAL)
async def test_without_an_optional_right_everything_works(few_url: str, lacking: str) -> None:
    """More slowly, perhaps."""
    allow(few_url, *SUBSCRIBING, *(rule for rule in OPTIONAL if rule != lacking))
    await live(few_url)


async def test_without_all_of_them_too(few_url: str) -> None:
    """They are optional together."""
    allow(few_url, *SUBSCRIBING)
    await live(few_url)


NEEDED = [
    *("xadd", "xreadgroup", "xpending", "xclaim", "xack", "xrange", "zadd", "zrem", "time"),
    *("xgroup|delconsumer", "xinfo|consumers", "zrangebyscore", "del", "hget", "eval", "evalsha"),
]


@pytest.mark.parametrize("lacking", NEEDED)
async def test_a_right_that_is_missing_is_named_when_opening(few_url: str, lacking: str) -> None:
    """At once, and not when it is first missed, hours later."""
    allow(few_url, *(rule for rule in SUBSCRIBING if rule != lacking))
    with trio.fail_after(5), pytest.raises(PermissionDenied) as caught:
        async with open_bus(few_url) as bus, open_subscription(bus, config()):
            pytest.fail("a right is missing")
    assert f"+{lacking}" in str(caught.value)


async def test_publishing_alone_needs_little(few_url: str) -> None:
    """A publisher that cannot read."""
    allow(few_url, *PUBLISHING)
    async with open_bus(few_url) as bus:
        await publish(bus, 3)
        with pytest.raises(PermissionDenied, match=r"\+evalsha"):
            async with open_subscription(bus, config()):
                pytest.fail("it may only publish")


def test_the_rules_name_every_command_of_the_scripts() -> None:
    """A script that needs more would fail for users who trusted the manual."""
    text = "\n".join(
        path.read_text() for path in Path(trio_bus.__file__).parent.rglob("scripts/*.lua")
    )
    calls = re.findall(r"redis\.p?call\(\s*'(X(?:GROUP|INFO))?(?:', ')?([A-Z]+)'", text)
    used = {f"{first}|{second}".strip("|").lower() for first, second in calls}
    assert used
    assert used <= {*SUBSCRIBING, *REDRIVING, *RETAINING}


def test_the_manual_shows_the_rules() -> None:
    """Word for word."""
    words = MANUAL.read_text().split()
    rules = (*PUBLISHING, *SUBSCRIBING, *OPTIONAL, *ORDERING, *REDRIVING, *RETAINING)
    assert {f"+{rule}" for rule in rules} <= set(words)
