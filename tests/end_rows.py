"""The ways in which a subscription ends."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio

from tests.ends import Form, Scene, Times
from trio_bus import WrongType, run_subscription

FATAL = WrongType("WRONGTYPE of the test")
HANDLERS = (Form.HANDLER, Form.MANUAL, Form.AT_MOST_ONCE)
EVERY = tuple(Form)
PULLS = (Form.PULL_INSIDE, Form.PULL_OUTSIDE)


class BodyError(Exception):
    """What the body of a test raises."""


@attrs.frozen
class Way:
    """One way to end.

    ``patience`` is how long handlers may run on; where several tasks iterate, ``pull_patience``.
    ``takes``: those tasks are not cancelled, what they handle is taken away from them.
    """

    act: Callable[[Scene], Awaitable[None]]
    error: type[BaseException] | None
    forms: tuple[Form, ...]
    patience: Callable[[Times], float]
    pull_patience: Callable[[Times], float]
    takes: bool

    def __str__(self) -> str:
        """Name it."""
        return self.act.__name__

    def has(self, form: Form, times: Times) -> float:
        """Say how long handlers may run on."""
        return self.pull_patience(times) if form.pulls else self.patience(times)


def drain(times: Times) -> float:
    """All of the drain timeout."""
    return times.drain


def none(times: Times) -> float:
    """No time at all."""
    return 0.0


def soon(times: Times) -> float:
    """Until somebody loses patience."""
    return times.soon


WAYS: list[Way] = []


def way(
    error: type[BaseException] | None = None,
    patience: Callable[[Times], float] = none,
    pull: Callable[[Times], float] | None = None,
    forms: tuple[Form, ...] = EVERY,
    *,
    takes: bool = False,
) -> Callable[[Callable[[Scene], Awaitable[None]]], Callable[[Scene], Awaitable[None]]]:
    """Note a way to end."""

    def note(act: Callable[[Scene], Awaitable[None]]) -> Callable[[Scene], Awaitable[None]]:
        WAYS.append(Way(act, error, forms, patience, pull or patience, takes))
        return act

    return note


async def press_ctrl_c() -> None:
    """Press it while no code of the user runs: trio raises it in the main task."""
    signal.raise_signal(signal.SIGINT)


async def press_later(seconds: float) -> None:
    """Press it then."""
    await trio.sleep(seconds)
    await press_ctrl_c()


@way(patience=drain, pull=none, forms=(*HANDLERS, Form.PULL_OUTSIDE))
async def left(scene: Scene) -> None:
    """Leave the block."""
    async with scene.block():
        scene.begin()


@way(patience=drain, takes=True)
async def drained(scene: Scene) -> None:
    """Drain, and leave."""
    async with scene.block() as subscription:
        scene.begin()
        await subscription.drain()


@way(takes=True)
async def closed(scene: Scene) -> None:
    """Close it, and leave."""
    async with scene.block() as subscription:
        scene.begin(patient=False)
        await subscription.aclose()


@way(BodyError, drain, none)
async def failed(scene: Scene) -> None:
    """Raise in the body."""
    with pytest.raises((BodyError, ExceptionGroup)):
        async with scene.block():
            scene.begin()
            raise BodyError


@way(trio.Cancelled)
async def cancelled(scene: Scene) -> None:
    """Cancel the scope around."""
    with trio.CancelScope() as scope:
        async with scene.block():
            scene.begin(patient=False)
            scope.cancel()
            await trio.sleep_forever()


@way(trio.Cancelled)
async def cancelled_twice(scene: Scene) -> None:
    """Cancel the scope around, and the one around that."""
    with trio.CancelScope() as outer, trio.CancelScope() as inner:
        async with scene.block():
            scene.begin(patient=False)
            inner.cancel()
            outer.cancel()
            await trio.sleep_forever()


@way(trio.Cancelled, soon, forms=HANDLERS)
async def cancelled_while_left(scene: Scene) -> None:
    """Leave the block; cancel during the drain, and once more."""
    with trio.CancelScope() as outer, trio.CancelScope() as inner:
        async with scene.block():
            scene.begin(patient=False)
            inner.deadline = scene.began + scene.times.soon
            outer.deadline = scene.began + 2 * scene.times.soon


@way(trio.Cancelled, soon)
async def cancelled_while_draining(scene: Scene) -> None:
    """Drain in the body, and cancel that."""
    with trio.CancelScope() as scope:
        async with scene.block() as subscription:
            scene.begin(patient=False)
            scope.deadline = scene.began + scene.times.soon
            await subscription.drain()


@way(BodyError, soon, forms=HANDLERS)
async def failed_and_cancelled(scene: Scene) -> None:
    """Raise in the body, and cancel during the drain: the error must not get lost."""
    with trio.CancelScope() as scope, pytest.raises(BodyError):
        async with scene.block():
            scene.begin(patient=False)
            scope.deadline = scene.began + scene.times.soon
            raise BodyError


@way(trio.Cancelled)
async def timed_out(scene: Scene) -> None:
    """Let a deadline pass."""
    with trio.CancelScope() as scope:
        async with scene.block():
            scope.deadline = trio.current_time() + scene.times.soon
            with scene.beginning(patient=False):
                await trio.sleep_forever()


@way(KeyboardInterrupt, drain, none)
async def interrupted(scene: Scene) -> None:
    """Press Ctrl-C while the body runs."""
    with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)):
        async with scene.block():
            scene.begin()
            signal.raise_signal(signal.SIGINT)


@way(KeyboardInterrupt, drain, none)
async def interrupted_asleep(scene: Scene) -> None:
    """Press Ctrl-C while the body sleeps."""
    with pytest.raises((KeyboardInterrupt, BaseExceptionGroup)):
        async with scene.block():
            trio.lowlevel.spawn_system_task(press_ctrl_c)
            with scene.beginning():
                await trio.sleep_forever()


@way(KeyboardInterrupt, soon, forms=HANDLERS)
async def interrupted_while_left(scene: Scene) -> None:
    """Press Ctrl-C during the drain."""
    with pytest.raises(KeyboardInterrupt):
        async with scene.block():
            scene.begin(patient=False)
            trio.lowlevel.spawn_system_task(press_later, scene.times.soon)


@way(KeyboardInterrupt, soon, forms=HANDLERS)
async def interrupted_twice(scene: Scene) -> None:
    """Press Ctrl-C while the body runs, and again during the drain."""
    with pytest.raises(KeyboardInterrupt):
        async with scene.block():
            scene.begin(patient=False)
            trio.lowlevel.spawn_system_task(press_later, scene.times.soon)
            signal.raise_signal(signal.SIGINT)


@way(trio.Cancelled)
async def nursery_cancelled(scene: Scene) -> None:
    """Cancel the nursery in which the subscription runs."""
    async with trio.open_nursery() as nursery:

        async def subscribe(task_status: trio.TaskStatus[None]) -> None:
            async with scene.block():
                task_status.started()
                await trio.sleep_forever()

        await nursery.start(subscribe)
        scene.begin(patient=False)
        nursery.cancel_scope.cancel()


@way(trio.Cancelled, forms=HANDLERS)
async def run_and_cancelled(scene: Scene) -> None:
    """Cancel the nursery of `run_subscription`."""
    async with trio.open_nursery() as nursery:
        await nursery.start(run, scene)
        await scene.all_started()
        scene.begin(patient=False)
        nursery.cancel_scope.cancel()


@way(patience=drain, forms=HANDLERS)
async def run_and_drained(scene: Scene) -> None:
    """Drain a `run_subscription`."""
    async with trio.open_nursery() as nursery:
        subscription = await nursery.start(run, scene)
        await scene.all_started()
        scene.begin()
        await subscription.drain()


async def run(
    scene: Scene, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED
) -> None:
    """Run it, and note how it ends."""
    try:
        await run_subscription(scene.bus, scene.config, scene.handle, task_status=task_status)
    except BaseException as error:
        scene.error = error
        raise
    finally:
        scene.ended = trio.current_time()


@way(WrongType, drain, none)
async def broken(scene: Scene) -> None:
    """Find that it cannot go on."""
    with pytest.raises((WrongType, ExceptionGroup)):
        async with scene.block():
            scene.backend.faults.errors["look"] = FATAL
            with scene.beginning():
                await trio.sleep_forever()
