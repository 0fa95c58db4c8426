"""Ends while the server fails, refuses or is silent, and the order of what an end does."""

# pyright: reportPrivateUsage=false
# What a member suspects is told by no public call.

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.end_rows import FATAL, WAYS, Way
from tests.ends import Conduct, Form, Scene, Times, our_tasks, run
from tests.harness import Recorder, config, open_world, publish, until
from tests.redis_world import US, joined, options
from tests.redis_world import publish as append
from tests.restartable import Restartable, running
from tests.watched import Call, Faults, WatchedBackend
from trio_bus import (
    AckMode,
    Bus,
    BusOptions,
    ConnectionLost,
    Delivery,
    MemoryBackend,
    RemoteError,
    Scope,
    SubscriptionError,
    Transition,
    TransitionEvent,
    open_redis,
    open_subscription,
)
from trio_bus import _parting as parting
from trio_bus._connect import open_backend
from trio_bus.abc import Release

VIRTUAL = Times(work=2.0, drain=8.0, stubborn=11.0, soon=1.0)
SHUTDOWN = 5.0


@attrs.frozen
class Trouble:
    """What the server does when the subscription ends, and how long that holds up the end."""

    name: str
    start: Faults
    command_timeout: float
    cause: type[BaseException] | None
    bound: float

    def __str__(self) -> str:
        """Name it."""
        return self.name


TROUBLES = [
    Trouble(
        "lost",
        Faults(errors={"settle": ConnectionLost("away")}),
        10.0,
        ConnectionLost,
        SHUTDOWN + 10.0,
    ),
    Trouble("refused", Faults(refusal=RemoteError("MISCONF")), 10.0, RemoteError, SHUTDOWN),
    Trouble("silent", Faults(silent=True, patience=3.0), 3.0, None, 3.0 + SHUTDOWN + 3.0),
    Trouble(
        "silent for ever",
        Faults(silent=True, patience=10.0),
        float("inf"),
        None,
        10.0 + SHUTDOWN + 10.0,
    ),
]


@attrs.define(eq=False, kw_only=True)
class TroubledScene(Scene):
    """Every handler has finished, and its ack cannot be confirmed, when the end begins."""

    trouble: Trouble

    async def all_started(self) -> None:
        """Begin the trouble."""
        await super().all_started()
        faults, wanted = self.backend.faults, self.trouble.start
        faults.errors |= wanted.errors
        faults.refusal, faults.silent = wanted.refusal, wanted.silent
        faults.patience = wanted.patience
        self.go.set()
        await trio.sleep(0.1)


@pytest.mark.parametrize("trouble", TROUBLES, ids=str)
@pytest.mark.parametrize("way", [way for way in WAYS if way.forms != (Form.PULL_OUTSIDE,)], ids=str)
def test_what_is_not_confirmed_is_told_and_holds_up_no_end(way: Way, trouble: Trouble) -> None:
    """One error leaves the block; whichever it is, the observer hears of each settlement."""
    if trouble.start.silent and way.error is type(FATAL):
        return  # a server that says nothing does not say that either

    async def main() -> None:
        before = our_tasks()
        async with trio.open_nursery() as nursery:
            scene = TroubledScene(
                backend=WatchedBackend(MemoryBackend()),
                form=Form.HANDLER,
                conducts=(Conduct.FINISHES, Conduct.FINISHES),
                times=VIRTUAL,
                nursery=nursery,
                command_timeout=trouble.command_timeout,
                shutdown_timeout=SHUTDOWN,
                spares=0,
                trouble=trouble,
            )
            await scene.publish()
            with suppress(ExceptionGroup):  # `scene.error` is looked at below
                await way.act(scene)
        assert type(scene.error) is (way.error or SubscriptionError)
        if isinstance(scene.error, SubscriptionError):
            causes = [type(error.__cause__) for error in scene.error.exceptions]
            assert causes == [trouble.cause or type(None)] * 2
        assert our_tasks() == before
        took, patience = scene.ended - scene.began, scene.command_timeout
        if way.takes:  # it waits twice: in `drain`, then when it is left
            assert took <= VIRTUAL.drain + 2 * (SHUTDOWN + min(patience, 10.0)) + 0.1
        else:
            assert trouble.bound - 0.1 < took < trouble.bound + VIRTUAL.soon + 0.1
        told = [it for it in scene.recorder.errors if "is not confirmed" in str(it.error)]
        assert {(it.scope, it.entry_id) for it in told} == {
            (Scope.SETTLE, entry_id) for entry_id in scene.ids
        }
        assert scene.life == [Transition.OPENED, Transition.DRAINING, Transition.CLOSED]

    run(main)


@pytest.mark.parametrize("way", ["cancelled", "left"])
async def test_handlers_do_not_wait_for_the_end_of_a_read(
    autojump_clock: MockClock, way: str
) -> None:
    """They are cancelled at once, or drain, while a silent server does not end it."""
    backend = WatchedBackend(MemoryBackend(), Faults(patience=3.0))
    bus = Bus(backend, BusOptions(observer=Recorder(), command_timeout=3.0))
    ends: list[float] = []

    async def hang(_: Delivery) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ends.append(trio.current_time())

    began = 0.0
    settings = attrs.evolve(config(), drain_timeout=8.0)
    with trio.CancelScope() as scope:
        try:
            async with open_subscription(bus, settings, hang) as subscription:
                await publish(bus, 2)
                await until(lambda: subscription.statistics().in_flight == 2)
                backend.faults.silent = True
                began = trio.current_time()
                if way == "cancelled":
                    scope.cancel()
        except SubscriptionError:
            assert way == "left"
    drained = 0.0 if way == "cancelled" else 8.0
    assert ends == [pytest.approx(began + drained, abs=0.01)] * 2
    bound = max(drained, 3.0) + 5.0 + 3.0
    assert trio.current_time() - began == pytest.approx(bound, abs=0.1)


async def test_giving_back_is_tried_again_after_a_lost_connection(
    autojump_clock: MockClock,
) -> None:
    """Also what was given up before: else it waits for the lease."""
    backend = WatchedBackend(MemoryBackend())
    bus = Bus(backend, BusOptions(observer=Recorder()))
    hasty = attrs.evolve(config(), shutdown_timeout=1.0)
    async with trio.open_nursery() as nursery:
        with pytest.raises(SubscriptionError):
            async with open_subscription(bus, hasty, _ok) as subscription:
                backend.faults.errors |= {
                    "settle": ConnectionLost("away"),
                    "forget": ConnectionLost("away"),
                }
                await publish(bus, 2)
                await until(lambda: subscription.statistics().pending_acks == 2)
                nursery.start_soon(_heal, backend.faults)
    (group,) = (await bus.info("orders")).groups
    assert (group.pending, group.released, group.consumers) == (0, 2, ())


async def _heal(faults: Faults) -> None:
    """Let calls succeed, some time after settlements were given up."""
    await trio.sleep(4.0)
    del faults.errors["settle"]
    await trio.sleep(1.0)
    del faults.errors["forget"]


async def test_nobody_waits_for_ever_for_what_could_not_be_given_back(
    autojump_clock: MockClock,
) -> None:
    """It is told to the observer, and to whoever waits until nothing is held."""
    backend, recorder = WatchedBackend(MemoryBackend()), Recorder()
    bus = Bus(backend, BusOptions(observer=recorder, command_timeout=1.0))
    idle = trio.Event()

    async with trio.open_nursery() as nursery:
        async with open_subscription(bus, config()) as deliveries:
            (entry_id,) = await publish(bus, 1)
            await deliveries.receive()

            async def wait() -> None:
                await deliveries.wait_idle()
                idle.set()

            nursery.start_soon(wait)
            backend.faults.silent = True
        with trio.fail_after(1):
            await idle.wait()
    assert [it.entry_id for it in recorder.errors if it.scope is Scope.RELEASE] == [entry_id]


async def _ok(_: Delivery) -> None:
    await trio.lowlevel.checkpoint()


@attrs.define
class Marking:
    """An observer that notes in a list of calls when the end began."""

    faults: Faults

    def on_error(self, _: object, /) -> None:
        """Take no notice."""

    def on_transition(self, event: TransitionEvent, /) -> None:
        """Note when the end begins."""
        if event.transition is Transition.DRAINING:
            self.faults.calls.append(Call("draining", trio.current_time()))


async def test_the_five_steps_come_in_order(backend_url: str) -> None:
    """No read and no claim after the first; renewals until the fourth; forgotten at the end."""
    async with open_backend(backend_url, BusOptions(observer=Recorder())) as inner:
        backend = WatchedBackend(inner)
        bus = Bus(backend, BusOptions(observer=Marking(backend.faults)))

        def names() -> list[str]:
            return [call.name for call in backend.faults.calls]

        def renewals() -> int:
            return names()[names().index("draining") :].count("renew")

        started: list[Delivery] = []

        async def handler(delivery: Delivery) -> None:
            started.append(delivery)
            if delivery.message.payload == b"0":
                await until(lambda: "draining" in names() and renewals() >= 3, patience=60)
                await delivery.ack()

        manual = attrs.evolve(config(), ack_mode=AckMode.MANUAL, claim_idle_timeout=1.0)
        async with open_subscription(bus, manual, handler) as subscription:
            await publish(bus, 2)
            await until(lambda: len(started) == subscription.statistics().in_flight == 2)
            await until(lambda: {"read", "look"} <= set(names()))
        calls = names()
        after = calls[calls.index("draining") :]
        assert not {"read", "look", "take_over", "tend"} & set(after)
        assert after.count("renew") >= 3
        steps = [name for name in after if name != "renew"]
        assert steps == ["draining", "settle", "settle back", "forget"]
        assert after[-2:] == ["settle back", "forget"], "no renewal from the fourth step on"
        (group,) = (await bus.info("orders")).groups
        assert (group.pending, group.released, group.consumers) == (0, 1, ())


@pytest.fixture
def server(server_kind: str) -> Iterator[Restartable]:
    """Give a server that may be frozen."""
    with running(server_kind) as server:
        yield server


@pytest.mark.parametrize("timeout", [0.5, float("inf")])
async def test_a_frozen_server_holds_up_no_end(
    server: Restartable, timeout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where commands may take for ever; thawed, nothing is lost."""
    monkeypatch.setattr(parting, "LONGEST_PARTING", 0.5)
    thawed = trio.Event()

    async def thaw_in_the_end() -> None:
        await trio.sleep(30)
        server.send(signal.SIGCONT)
        thawed.set()

    bus_options = BusOptions(observer=Recorder(), command_timeout=timeout)
    async with open_backend(server.url, bus_options) as backend, trio.open_nursery() as nursery:
        bus = Bus(backend, bus_options)
        nursery.start_soon(thaw_in_the_end)
        lasting = attrs.evolve(config(), shutdown_timeout=0.5, drain_timeout=0.1)
        assert lasting.claim_idle_timeout > 20, "nothing is lost before it is unconfirmed"
        begun: list[Delivery] = []

        async def hang(delivery: Delivery) -> None:
            begun.append(delivery)
            await trio.sleep_forever()

        with pytest.raises(SubscriptionError):
            async with open_subscription(bus, lasting, hang):
                await publish(bus, 2)
                await until(lambda: len(begun) == 2)  # what no handler had may go without a word
                server.send(signal.SIGSTOP)
        assert not thawed.is_set()
        nursery.cancel_scope.cancel()
        server.send(signal.SIGCONT)
    async with open_world(server.url) as world:
        handled: list[bytes] = []

        async def handle(delivery: Delivery) -> None:
            handled.append(delivery.message.payload)

        hasty = attrs.evolve(config(), claim_idle_timeout=1.0)
        async with open_subscription(world.bus(), hasty, handle):
            await until(lambda: sorted(handled) == [b"0", b"1"], patience=60)


async def test_a_claim_that_a_frozen_server_does_not_answer_is_given_up(
    server: Restartable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it took all the same is given back before the member is forgotten."""
    monkeypatch.setattr(parting, "LONGEST_PARTING", 0.2)
    async with open_redis(server.url, options(timeout=60.0)) as backend:
        await backend.create_group(US.topic, US.group, None)
        await append(backend, 1)
        async with joined(backend, attrs.evolve(US, consumer="them")) as them:
            (entry,) = await them.read(1, 5.0)
            await them.settle([Release(entry.receipt)])
        async with joined(backend, US) as member:
            server.send(signal.SIGSTOP)
            try:
                with trio.move_on_after(0.1) as scope:
                    await member.take_over(1)
                assert scope.cancelled_caught
                assert member._holdings.is_suspected
            finally:
                server.send(signal.SIGCONT)
            assert await member.forget()
        (group,) = (await backend.info(US.topic)).groups
        assert (group.pending, group.released) == (0, 1)
