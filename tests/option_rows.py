"""For each option of every settings class: what can be seen of it, and what each value shows."""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar, cast

import attrs
import redis.credentials
import trio

from tests.faults import FlakyBackend
from tests.harness import Recorder, publish
from tests.loose import loose
from tests.pretender import HELLO_OK, pretender
from trio_bus import (
    AckMode,
    Backoff,
    BalanceMode,
    Bus,
    BusOptions,
    Confirmation,
    ConnectionLost,
    Decision,
    Delivery,
    EntryId,
    EnvelopeCodec,
    Guarantee,
    LoggingObserver,
    Message,
    NotPersisted,
    OrderingMode,
    PublishOptions,
    Retention,
    StartPosition,
    SubscriptionConfig,
    SubscriptionError,
    ValidationError,
    open_redis,
    open_subscription,
)
from trio_bus._credentials import Secret
from trio_bus._redis.address import read_address
from trio_bus.abc import Membership

S = TypeVar("S", SubscriptionConfig, Backoff, Retention, PublishOptions, BusOptions)
Expected = Sequence[tuple[object, object]]

SUBSCRIPTION = SubscriptionConfig(
    "orders",
    "billing",
    retry_backoff=Backoff(first=0.0),
    reclaim_interval=0.1,
    dead_letter_topic="{orders}.dead",
)
PLAIN = SubscriptionConfig("orders", "billing")
FAN_OUT = SubscriptionConfig(
    "orders", balance_mode=BalanceMode.FAN_OUT, claim_idle_timeout=1.0, reclaim_interval=0.1
)
LONG = attrs.evolve(PLAIN, claim_idle_timeout=3600.0)  # no read is longer than a part of a lease
STEADY = Backoff(first=1.0, factor=2.0, cap=300.0, jitter=0.0)
PERSISTED = PublishOptions(confirmation=Confirmation.PERSISTED)


@attrs.frozen
class Effect(Generic[S]):
    """What one option changes.

    Attributes:
      option: Its name.
      base: The settings that it is changed in.
      expected: Values, and what is seen with each; not twice the same.
      observe: Looks at what happens with these settings.
    """

    option: str
    base: S
    expected: Expected
    observe: Callable[[S], Awaitable[object]]

    def __str__(self) -> str:
        return f"{type(self.base).__name__}.{self.option}"

    async def check(self) -> None:
        """Fail unless each value shows what is expected of it."""
        shown = [seen for _, seen in self.expected]
        assert any(one != shown[0] for one in shown), "no value has an effect of its own"
        for value, seen in self.expected:
            settings = loose(type(self.base))(**{**_fields(self.base), self.option: value})
            assert await self.observe(settings) == seen, f"{self} = {value!r}"


class _Balance(Effect[SubscriptionConfig]):
    """Who competes names a group."""

    async def check(self) -> None:
        """Fail unless each value shows what is expected of it."""
        for value, seen in self.expected:
            if value is BalanceMode.FAN_OUT:
                assert await self.observe(self.base) == seen
            else:
                assert await self.observe(PLAIN) == seen


def _fields(
    settings: SubscriptionConfig | Backoff | Retention | PublishOptions | BusOptions,
) -> dict[str, object]:
    return {
        it.name: cast("object", getattr(settings, it.name)) for it in attrs.fields(type(settings))
    }


class Shop:
    """A bus in memory, and what its handlers did."""

    def __init__(self, options: BusOptions | None = None) -> None:
        self.backend = FlakyBackend()
        chosen = BusOptions(observer=Recorder()) if options is None else options
        self.bus = Bus(self.backend, chosen)
        self.starts: list[float] = []
        self.running = 0
        self.most = 0

    def calls(self, operation: str) -> int:
        """Count the calls of the backend."""
        return self.backend.calls.get(operation, 0)

    async def fail(self, _: Delivery) -> None:
        """Handle in vain."""
        self.starts.append(trio.current_time())
        raise ValueError("no good")

    async def work(self, _: Delivery) -> None:
        """Handle for ten seconds."""
        self.starts.append(trio.current_time())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await trio.sleep(10)
        finally:
            self.running -= 1

    async def finish(self, _: Delivery) -> None:
        """Handle at once."""
        self.starts.append(trio.current_time())

    async def subscribe(
        self,
        settings: SubscriptionConfig,
        handler: Callable[[Delivery], Awaitable[None]],
        *,
        count: int = 1,
        seconds: float = 100.0,
    ) -> None:
        """Let so many messages be handled, for so long."""
        async with open_subscription(self.bus, settings, handler):
            await publish(self.bus, count)
            await trio.sleep(seconds)


async def _topic(settings: SubscriptionConfig) -> object:
    shop = Shop()
    await shop.subscribe(settings, shop.finish)
    return len(shop.starts)


async def _group(settings: SubscriptionConfig) -> object:
    shop = Shop()
    await shop.subscribe(settings, shop.finish)
    return [group.name for group in (await shop.bus.info("orders")).groups]


async def _consumer(settings: SubscriptionConfig) -> object:
    async with open_subscription(Shop().bus, settings) as subscription:
        return subscription.name.rpartition("-")[0]


async def _two(settings: SubscriptionConfig) -> object:
    shop = Shop()
    async with open_subscription(shop.bus, settings, shop.finish):
        await shop.subscribe(settings, shop.finish)
        await trio.sleep(1)
    return len(shop.starts)


async def _expiry(settings: SubscriptionConfig) -> object:
    """Look at what is left of somebody who opened it and died."""
    shop = Shop()
    group = settings.group_of("ghost")
    await shop.backend.create_private("orders", group, None, settings.fan_out_expiry)
    async with open_subscription(shop.bus, SUBSCRIPTION, shop.finish):
        await trio.sleep(10)
        return group in [it.name for it in (await shop.bus.info("orders")).groups]


async def _start(settings: SubscriptionConfig) -> object:
    shop = Shop()
    await publish(shop.bus, 2)
    await shop.subscribe(settings, shop.finish)
    return len(shop.starts)


async def _ack_mode(settings: SubscriptionConfig) -> object:
    shop = Shop()
    pending: list[int] = []

    async def look(_: Delivery) -> None:
        (group,) = (await shop.bus.info("orders")).groups
        pending.append(group.pending)

    async with open_subscription(shop.bus, settings, look) as subscription:
        await publish(shop.bus, 1)
        await trio.sleep(1)
        return [*pending, subscription.statistics().in_flight]


async def _max_in_flight(settings: SubscriptionConfig) -> object:
    shop = Shop()
    await shop.subscribe(settings, shop.work, count=9)
    return shop.most


async def _max_in_flight_bytes(settings: SubscriptionConfig) -> object:
    shop = Shop()
    await shop.subscribe(attrs.evolve(settings, max_in_flight=1), shop.work, count=1)
    async with open_subscription(shop.bus, settings) as deliveries:
        await publish(shop.bus, 1)
        await deliveries.receive()
        await publish(shop.bus, 1)
        await trio.sleep(1)
        return deliveries.statistics().in_flight


async def _max_pending_acks(settings: SubscriptionConfig) -> object:
    shop = Shop()
    shop.backend.delay("settle", 50)
    async with open_subscription(shop.bus, settings, shop.finish) as subscription:
        await publish(shop.bus, 30)
        await trio.sleep(10)
        held = subscription.statistics().in_flight
        await trio.sleep(50)
    return held


async def _attempts(settings: SubscriptionConfig) -> object:
    shop = Shop()
    await shop.subscribe(settings, shop.fail)
    return len(shop.starts)


async def _failure_threshold(settings: SubscriptionConfig) -> object:
    shop = Shop()
    async with open_subscription(shop.bus, settings, shop.fail) as subscription:
        await publish(shop.bus, 2)
        await trio.sleep(1)
        return subscription.statistics().outage


def _reject(_: Exception, __: int) -> Decision:
    return Decision.reject()


async def _retry_backoff(settings: SubscriptionConfig) -> object:
    shop = Shop()
    await shop.subscribe(settings, shop.fail)
    return round(shop.starts[1] - shop.starts[0])


async def _dead_letter_topic(settings: SubscriptionConfig) -> object:
    shop = Shop()
    await shop.subscribe(settings, shop.fail)
    (group,) = (await shop.bus.info("orders")).groups
    return (await shop.bus.info("{orders}.dead")).length, group.dead


async def _handler_timeout(settings: SubscriptionConfig) -> object:
    shop = Shop()
    ends: list[float] = []

    async def hang(_: Delivery) -> None:
        began = trio.current_time()
        try:
            await trio.sleep(1000)
        finally:
            ends.append(round(trio.current_time() - began))

    await shop.subscribe(attrs.evolve(settings, drain_timeout=0), hang)
    return ends[0]


async def _claim_idle_timeout(settings: SubscriptionConfig) -> object:
    shop = Shop()
    await shop.backend.create_group("orders", "billing", EntryId(0))
    await publish(shop.bus, 1)
    ghost = Membership(topic="orders", group="billing", consumer="ghost", lease=1.0, max_attempt=9)
    async with shop.backend.join(ghost) as member:
        await member.read(1, 1.0)
    began = trio.current_time()
    async with open_subscription(shop.bus, settings, shop.finish):
        await trio.sleep(100)
    return round(shop.starts[0] - began)


async def _reclaim_interval(settings: SubscriptionConfig) -> object:
    """Who removes what is finished looks once in ten; a part of each interval is random."""
    shop = Shop()
    settings = attrs.evolve(settings, retention=Retention(max_length=9))
    async with open_subscription(shop.bus, settings, shop.finish):
        await trio.sleep(100)
    return shop.calls("look") > 10


async def _block_timeout(settings: SubscriptionConfig) -> object:
    shop = Shop()
    async with open_subscription(shop.bus, settings, shop.finish):
        await trio.sleep(99)
    return shop.calls("read")


async def _ack_batch_size(settings: SubscriptionConfig) -> object:
    shop = Shop()
    shop.backend.delay("settle", 1)  # meanwhile the others arrive
    await shop.subscribe(settings, shop.finish, count=9)
    return shop.calls("settle") > 5


async def _drain_timeout(settings: SubscriptionConfig) -> object:
    shop = Shop()

    async def hang(_: Delivery) -> None:
        await trio.sleep(1000)

    async with open_subscription(shop.bus, settings, hang):
        await publish(shop.bus, 1)
        await trio.sleep(1)
        left = trio.current_time()
    return round(trio.current_time() - left)


async def _shutdown_timeout(settings: SubscriptionConfig) -> object:
    shop = Shop()
    shop.backend.delay("settle", 1000)
    left = trio.current_time()
    try:
        async with open_subscription(shop.bus, settings, shop.finish):
            await publish(shop.bus, 1)
            await trio.sleep(1)
            left = trio.current_time()
    except SubscriptionError:
        return round(trio.current_time() - left)
    return "all was confirmed"


async def _output_topics(settings: SubscriptionConfig) -> object:
    shop = Shop()

    async def copy(delivery: Delivery) -> None:
        async with delivery.transaction() as tx:
            await tx.publish(Message("{orders}.copies", delivery.message.payload))

    await shop.subscribe(settings, copy)
    return (await shop.bus.info("{orders}.copies")).length


async def _retention(settings: SubscriptionConfig) -> object:
    shop = Shop()
    await shop.subscribe(settings, shop.finish, count=9)
    return (await shop.bus.info("orders")).length


ORDERED = attrs.evolve(SUBSCRIPTION, ordering_mode=OrderingMode.KEY)


async def _ordering_mode(settings: SubscriptionConfig) -> object:
    """Return which of two messages of one key are started together."""
    shop, started = Shop(), list[int]()

    async def start(_: Delivery) -> None:
        started.append(len(started) + 1)
        await trio.sleep_forever()

    async with open_subscription(shop.bus, attrs.evolve(settings, drain_timeout=0.0), start):
        for _ in range(2):
            await shop.bus.publish(Message("orders", key="ann"))
        await trio.sleep(1)
    return started


async def _max_parked(settings: SubscriptionConfig) -> object:
    """Return how many of five messages wait for their key."""
    shop = Shop()
    settings = attrs.evolve(settings, max_in_flight=5, drain_timeout=0.0)

    async def start(_: Delivery) -> None:
        await trio.sleep_forever()

    async with open_subscription(shop.bus, settings, start):
        for _ in range(6):
            await shop.bus.publish(Message("orders", key="ann"))
        await trio.sleep(3)
        (group,) = (await shop.bus.info("orders")).groups
        return group.parked


def subscription(
    option: str,
    expected: Expected,
    observe: Callable[[SubscriptionConfig], Awaitable[object]],
    base: SubscriptionConfig = SUBSCRIPTION,
) -> Effect[SubscriptionConfig]:
    """Return the effect of an option of a subscription."""
    return Effect(option, base, expected, observe)


OF_SUBSCRIPTIONS = [
    subscription("topic", [("orders", 1), ("others", 0)], _topic),
    subscription("group", [("billing", ["billing"]), ("mail", ["mail"])], _group),
    subscription("consumer", [("consumer", "consumer"), ("shop-7", "shop-7")], _consumer),
    subscription(
        "start",
        [
            (None, 3),
            (StartPosition.OLDEST, 3),
            (StartPosition.NEWEST, 1),
            (EntryId(2**50), 0),
        ],
        _start,
    ),
    subscription(
        "ack_mode",
        [
            (None, [1, 0]),
            (AckMode.AUTO_ON_HANDLER_SUCCESS, [1, 0]),
            (AckMode.MANUAL, [1, 1]),
            (AckMode.AUTO_ON_RECEIVE, [0, 0]),
        ],
        _ack_mode,
        PLAIN,
    ),
    _Balance("balance_mode", FAN_OUT, [(BalanceMode.COMPETING, 1), (BalanceMode.FAN_OUT, 2)], _two),
    subscription("fan_out_expiry", [(4.0, False), (300.0, True)], _expiry, FAN_OUT),
    subscription("max_in_flight", [(1, 1), (4, 4)], _max_in_flight),
    subscription("max_in_flight_bytes", [(1, 1), (1000, 2)], _max_in_flight_bytes),
    subscription(
        "max_pending_acks",
        [(1, 3), (5, 7), (None, 6)],
        _max_pending_acks,
        attrs.evolve(SUBSCRIPTION, max_in_flight=2),
    ),
    subscription("max_retry", [(0, 1), (3, 4), (7, 8)], _attempts),
    subscription(
        "retry_backoff",
        [(Backoff(first=0.0), 0), (Backoff(first=7.0, jitter=0.0), 7)],
        _retry_backoff,
    ),
    subscription("retry_on", [((Exception,), 4), ((OSError,), 1), ((), 1)], _attempts),
    subscription("on_failure", [(None, 4), (_reject, 1)], _attempts),
    subscription("failure_threshold", [(None, False), (2, True), (9, False)], _failure_threshold),
    subscription("reject_on", [((), 4), ((ValueError,), 1)], _attempts),
    subscription(
        "dead_letter_topic", [("{orders}.dead", (1, 0)), (None, (0, 1))], _dead_letter_topic
    ),
    subscription(
        "handler_timeout", [(None, 100), (7.0, 7), (0.0, 0), (math.inf, 100)], _handler_timeout
    ),
    subscription("claim_idle_timeout", [(2.0, 2), (50.0, 50)], _claim_idle_timeout),
    subscription("reclaim_interval", [(0.5, True), (30.0, False)], _reclaim_interval),
    subscription("block_timeout", [(10.0, 10), (50.0, 2), (math.inf, 1)], _block_timeout, LONG),
    subscription("ack_batch_size", [(1, True), (256, False)], _ack_batch_size),
    subscription("drain_timeout", [(0.0, 0), (7.0, 7), (math.inf, 999)], _drain_timeout),
    subscription("shutdown_timeout", [(0.0, 0), (7.0, 7)], _shutdown_timeout),
    subscription("output_topics", [((), 0), (("{orders}.copies",), 1)], _output_topics),
    subscription(
        "retention",
        [(None, 9), (Retention(max_length=4), 4), (Retention(max_age=9), 0)],
        _retention,
    ),
    subscription(
        "ordering_mode", [(OrderingMode.KEY, [1]), (OrderingMode.NONE, [1, 2])], _ordering_mode
    ),
    subscription("max_parked", [(1, 1), (2, 2)], _max_parked, ORDERED),
]


async def _left(retention: Retention) -> object:
    """Of nine messages, four of which were handled: how many are left after a minute."""
    shop = Shop()

    async def handle(delivery: Delivery) -> None:
        if int(delivery.message.payload) > 3:
            await trio.sleep_forever()

    settings = attrs.evolve(PLAIN, retention=retention, drain_timeout=0.0)
    async with open_subscription(shop.bus, settings, handle):
        await trio.sleep(1)
        await publish(shop.bus, 9)
        await trio.sleep(60)
        return (await shop.bus.info("orders")).length


def retention(option: str, expected: Expected, kept: int = 7) -> Effect[Retention]:
    """Return the effect of an option of a retention."""
    return Effect(option, Retention(max_length=kept), expected, _left)


OF_RETENTIONS = [
    retention("max_age", [(None, 7), (30.0, 5), (90.0, 7)]),
    retention("max_length", [(7, 7), (6, 6), (0, 5)]),
    retention("finished", [(True, 5), (False, 3)], kept=3),
]


async def _delays(settings: Backoff) -> object:
    await trio.lowlevel.checkpoint()
    return [settings.delay_after(attempt, lambda: 1.0) for attempt in (1, 2, 3)]


def backoff(option: str, expected: Expected) -> Effect[Backoff]:
    """Return the effect of an option of a backoff; `retry_backoff` shows that it is heeded."""
    return Effect(option, STEADY, expected, _delays)


OF_BACKOFFS = [
    backoff("first", [(1.0, [1.0, 2.0, 4.0]), (0.0, [0.0, 0.0, 0.0])]),
    backoff("factor", [(2.0, [1.0, 2.0, 4.0]), (1.0, [1.0, 1.0, 1.0])]),
    backoff("cap", [(300.0, [1.0, 2.0, 4.0]), (3.0, [1.0, 2.0, 3.0]), (0.0, [0.0, 0.0, 0.0])]),
    backoff("jitter", [(0.0, [1.0, 2.0, 4.0]), (0.5, [0.5, 1.0, 2.0]), (1.0, [0.0, 0.0, 0.0])]),
]


async def _metadata(options: PublishOptions) -> object:
    bus = Shop().bus
    async with open_subscription(bus, SUBSCRIPTION) as subscription:
        await bus.publish(Message("orders"), options)
        return dict((await subscription.receive()).message.headers)


async def _confirmation(options: PublishOptions) -> object:
    shop = Shop()
    await shop.bus.publish(Message("orders"), options)
    return shop.calls("append"), shop.calls("append_persisted")


async def _guarantee(options: PublishOptions) -> object:
    try:
        await Shop().bus.publish(Message("orders"), options)
    except ValidationError:
        return "needs a key"
    return "stored"


async def _replicas(options: PublishOptions) -> object:
    shop = Shop(BusOptions(observer=Recorder(), publish_timeout=0.0))
    shop.backend.fail("append_persisted", NotPersisted(EntryId(1), 1, 0, 0))
    try:
        await shop.bus.publish(Message("orders"), options)
    except NotPersisted as error:
        return error.wanted
    return "stored"


def publishing(
    option: str,
    expected: Expected,
    observe: Callable[[PublishOptions], Awaitable[object]],
    base: PublishOptions = PERSISTED,
) -> Effect[PublishOptions]:
    """Return the effect of an option of a publish."""
    return Effect(option, base, expected, observe)


OF_PUBLISHES = [
    publishing("metadata", [({}, {}), ({"a": "1"}, {"a": "1"})], _metadata, PublishOptions()),
    publishing(
        "confirmation",
        [(Confirmation.ACCEPTED, (1, 0)), (Confirmation.PERSISTED, (0, 1))],
        _confirmation,
    ),
    publishing(
        "guarantee",
        [(Guarantee.AT_LEAST_ONCE, "stored"), (Guarantee.EXACTLY_ONCE, "needs a key")],
        _guarantee,
    ),
    publishing("replicas", [(0, 0), (2, 2)], _replicas),
]


async def _max_payload_bytes(options: BusOptions) -> object:
    bus = Shop(options).bus
    found: list[str] = []
    for size in (0, 10):
        try:
            await bus.publish(Message("orders", bytes(size)))
        except ValidationError:
            found.append("refused")
        else:
            found.append("stored")
    return found


async def _codec(options: BusOptions) -> object:
    shop = Shop(options)
    await publish(shop.bus, 1)
    await shop.backend.create_group("orders", "billing", EntryId(0))
    us = Membership(topic="orders", group="billing", consumer="us", lease=1.0, max_attempt=9)
    async with shop.backend.join(us) as member:
        (entry,) = await member.read(1, 1.0)
    (name, _), *_ = entry.record
    return name


async def _observer(options: BusOptions) -> object:
    shop = Shop(options)
    async with open_subscription(shop.bus, SUBSCRIPTION):
        await trio.lowlevel.checkpoint()
    return isinstance(options.observer, Recorder) and len(options.observer.transitions) > 0


async def _connect_timeout(options: BusOptions) -> object:
    """The last pause is random, and 5 s at most."""
    began = trio.current_time()
    try:
        async with open_redis("unix:///nowhere/at.all", options):
            return "connected"
    except ConnectionLost:
        return trio.current_time() - began > 4


async def _command_timeout(options: BusOptions) -> object:
    shop = Shop(options)
    shop.backend.delay("forget", 1000)
    async with open_subscription(shop.bus, SUBSCRIPTION):
        left = trio.current_time()
    return round(trio.current_time() - left)


async def _publish_timeout(options: BusOptions) -> object:
    shop = Shop(options)
    shop.backend.fail("append", *[ConnectionLost("gone")] * 10_000)
    began = trio.current_time()
    try:
        await shop.bus.publish(Message("orders"))
    except ConnectionLost:
        return round(trio.current_time() - began)
    return "stored"


async def _dedup_window(options: BusOptions) -> object:
    bus = Shop(options).bus
    for _ in range(2):
        await bus.publish(Message("orders", idempotency_key="a"))
        await trio.sleep(10)
    return (await bus.info("orders")).length


async def _insecure_tls(options: BusOptions) -> object:
    await trio.lowlevel.checkpoint()
    tls = read_address(Secret("rediss://nowhere"), options).tls
    assert tls is not None
    return tls.context().verify_mode


@attrs.define(eq=False)
class _Giver(redis.credentials.CredentialProvider):
    """A provider that counts."""

    calls: int = 0

    def get_credentials(self) -> tuple[str, str]:
        """Give what nobody checks."""
        self.calls += 1
        return "me", "mine"


async def _credential_provider(options: BusOptions) -> object:
    cut = HELLO_OK.index(b"+OK")  # to HELLO, and to what follows it
    given = options.credential_provider
    async with pretender(HELLO_OK[:cut], HELLO_OK[cut:]) as (url, _), open_redis(url, options):
        return isinstance(given, _Giver) and given.calls > 0


def bus(
    option: str, expected: Expected, observe: Callable[[BusOptions], Awaitable[object]]
) -> Effect[BusOptions]:
    """Return the effect of an option of a bus."""
    return Effect(option, BusOptions(observer=Recorder()), expected, observe)


OF_BUSES = [
    bus(
        "max_payload_bytes",
        [(0, ["stored", "refused"]), (10, ["stored", "stored"])],
        _max_payload_bytes,
    ),
    bus("codec", [(BusOptions().codec, b"ce_specversion"), (EnvelopeCodec(), b"message")], _codec),
    bus("observer", [(Recorder(), True), (LoggingObserver(), False)], _observer),
    bus("connect_timeout", [(0.0, False), (20.0, True)], _connect_timeout),
    bus("command_timeout", [(0.0, 0), (7.0, 7)], _command_timeout),
    bus("publish_timeout", [(0.0, 0), (7.0, 7)], _publish_timeout),
    bus("dedup_window", [(5.0, 2), (50.0, 1)], _dedup_window),
    bus("insecure_tls", [(False, ssl.CERT_REQUIRED), (True, ssl.CERT_NONE)], _insecure_tls),
]
OF_CONNECTIONS = [
    bus("credential_provider", [(None, False), (_Giver(), True)], _credential_provider)
]
"""They need a peer, and so the time of this machine."""

VIRTUAL = [*OF_SUBSCRIPTIONS, *OF_BACKOFFS, *OF_RETENTIONS, *OF_PUBLISHES, *OF_BUSES]
REAL = OF_CONNECTIONS
