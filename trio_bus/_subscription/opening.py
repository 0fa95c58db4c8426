"""Opening a subscription."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, overload

import trio

from trio_bus._backend import Membership
from trio_bus._chance import chance
from trio_bus._config import SubscriptionConfig
from trio_bus._errors import SubscriptionError, ValidationError
from trio_bus._modes import AckMode, BalanceMode
from trio_bus._naming import naming
from trio_bus._one_error import one_error
from trio_bus._outputs import Outputs
from trio_bus._parting import parting
from trio_bus._slots import check_one_slot

from .buffer import Buffer
from .core import Core
from .dispatcher import BatchDispatcher, BatchHandler, Dispatcher, Handler
from .group import open_group
from .life import Life
from .subscription import PullSubscription, Subscription

if TYPE_CHECKING:
    from trio_bus._bus import Bus


@overload
def open_subscription(
    bus: Bus, config: SubscriptionConfig, handler: None = None
) -> AbstractAsyncContextManager[PullSubscription]: ...


@overload
def open_subscription(
    bus: Bus, config: SubscriptionConfig, handler: Handler
) -> AbstractAsyncContextManager[Subscription]: ...


@overload
def open_subscription(
    bus: Bus, config: SubscriptionConfig, handler: None = None, *, batch_handler: BatchHandler
) -> AbstractAsyncContextManager[Subscription]: ...


def open_subscription(
    bus: Bus,
    config: SubscriptionConfig,
    handler: Handler | None = None,
    *,
    batch_handler: BatchHandler | None = None,
) -> AbstractAsyncContextManager[Subscription] | AbstractAsyncContextManager[PullSubscription]:
    """Subscribe for the length of an ``async with`` block.

    With a handler, it is called with each `Delivery`, at most ``max_in_flight`` at a time. With a
    ``batch_handler``, it is called with a `Batch` of what one read or claim brought.
    Without, the block gets a `PullSubscription` to iterate over. Once entered, the group exists:
    what is published later is delivered.

    Leaving goes through five bounded steps: nothing more is taken in; started handlers run on for
    up to ``drain_timeout``; settlements are confirmed for up to ``shutdown_timeout``; what nobody
    finished is given back, uncounted, for another consumer to start at once; the consumer is
    removed from its group. All together it takes at most ``drain_timeout``, ``shutdown_timeout``,
    the time that handlers take to honour their cancellation, and, where the server is silent,
    twice the ``command_timeout`` or 20 seconds, whichever is less.

    The body's own error leaves as itself; else what ended the subscription; else the settlements
    that were not confirmed, in one group. The observer hears of each of them in any case.

    Entering and leaving are checkpoints.

    Raises:
      ValidationError: the acknowledgement mode needs a handler, or one for single deliveries; or
        there are two handlers; or an output topic has another slot than the topic.
      ConnectionLost: the server could not be reached when it was opened; later losses are told to
        the observer and healed.
      WrongType: the topic's key holds something else. Ends the block, whenever it is found.
      PermissionDenied: the user may not do this. Ends the block, whenever it is found.
      SubscriptionError: settlements were still unconfirmed at the end.

    Cancellation: handlers are cancelled at once instead of drained, also when it comes during the
    drain; the other steps are the same. `trio.Cancelled` is replaced by no error of ours.
    """
    if handler is None and batch_handler is None:
        return _open_pull(bus, config)
    return _open_push(bus, config, handler, batch_handler)


@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def _open_push(
    bus: Bus,
    config: SubscriptionConfig,
    handler: Handler | None,
    batch_handler: BatchHandler | None,
) -> AsyncGenerator[Subscription, None]:
    async with _run_push(bus, config, handler, batch_handler) as (subscription, _):
        yield subscription


@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def _run_push(
    bus: Bus,
    config: SubscriptionConfig,
    handler: Handler | None,
    batch_handler: BatchHandler | None,
) -> AsyncGenerator[tuple[Subscription, Life], None]:
    ack_mode = config.ack_mode or AckMode.AUTO_ON_HANDLER_SUCCESS
    outlet = _outlet(ack_mode, handler, batch_handler)
    async with _core(bus, config, ack_mode) as (core, name):
        life = Life(core, bus.backend, outlet(core), _parting(bus))
        async with _alive(core, life):
            yield Subscription(core, life, name), life


def _outlet(
    ack_mode: AckMode, handler: Handler | None, batch_handler: BatchHandler | None
) -> Callable[[Core], Dispatcher | BatchDispatcher]:
    if batch_handler is None:
        assert handler is not None, "without any it is pulled"
        return partial(Dispatcher, handler=handler)
    if handler is not None:
        raise ValidationError("batch_handler: there is a handler for single deliveries already")
    if ack_mode is AckMode.AUTO_ON_RECEIVE:
        raise ValidationError(f"ack_mode: {ack_mode.name} is for single deliveries")
    return partial(BatchDispatcher, handler=batch_handler)


@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def _open_pull(
    bus: Bus, config: SubscriptionConfig
) -> AsyncGenerator[PullSubscription, None]:
    ack_mode = config.ack_mode or AckMode.MANUAL
    if ack_mode is not AckMode.MANUAL:
        raise ValidationError(f"ack_mode: {ack_mode.name} needs a handler")
    async with _core(bus, config, ack_mode) as (core, name):
        buffer = Buffer(core)
        life = Life(core, bus.backend, buffer, _parting(bus))
        async with _alive(core, life):
            yield PullSubscription(core, life, name, buffer)


def _parting(bus: Bus) -> float:
    return parting(bus.options.command_timeout)


@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def _core(
    bus: Bus, config: SubscriptionConfig, ack_mode: AckMode
) -> AsyncGenerator[tuple[Core, str], None]:
    """Create the group and join it."""
    bus.check_open()
    check_one_slot(config.topic, config.output_topics, "output_topics")
    name = f"{config.consumer}-{chance.getrandbits(32):08x}"
    group, is_private = config.group_of(name), config.balance_mode is BalanceMode.FAN_OUT
    notifier = bus.notifier.at(config.topic, group, name)
    membership = Membership(
        topic=config.topic,
        group=group,
        consumer=name,
        lease=config.claim_idle_timeout,
        max_attempt=config.max_attempt,
        dead_letter_topic=config.dead_letter_topic,
        tend_every=config.reclaim_interval / 2,  # whoever ticks alone does it at each tick
        expiry=config.fan_out_expiry if is_private else None,
        retention=config.retention,
        retain_every=config.reclaim_interval * 10,
    )
    with naming(config.topic):
        progress = await open_group(bus.backend, config, name)
    async with bus.backend.join(membership) as member:
        core = Core(
            config,
            ack_mode,
            group=group,
            progress=progress,
            member=member,
            gate=bus.gate,
            notifier=notifier,
            now=bus.clock.now,
            outputs=Outputs(config.output_topics, bus.prepare),
        )
        yield core, name


@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def _alive(core: Core, life: Life) -> AsyncGenerator[None, None]:
    """Run the tasks around the body; then decide which error leaves."""
    with one_error():
        async with trio.open_nursery() as nursery:
            try:
                life.start(nursery)
                with life.body_scope:
                    yield
            finally:
                await life.close()
    await trio.lowlevel.checkpoint_if_cancelled()  # nothing replaces a cancellation
    if core.fatal is not None:
        raise core.fatal
    unconfirmed = [item for item in life.unconfirmed if not item.holding.lost]
    if unconfirmed:
        raise SubscriptionError(
            "settlements were not confirmed", [item.unconfirmed() for item in unconfirmed]
        )


async def run_subscription(
    bus: Bus,
    config: SubscriptionConfig,
    handler: Handler | None = None,
    *,
    batch_handler: BatchHandler | None = None,
    task_status: trio.TaskStatus[Subscription] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Subscribe until somebody drains the subscription: the form for ``nursery.start``.

    ``await nursery.start(run_subscription, bus, config, handler)`` returns the `Subscription`
    once the group exists. Raises and behaves like `open_subscription`.
    """
    if handler is None and batch_handler is None:
        raise ValidationError("handler: None, and there is no batch_handler")
    async with _run_push(bus, config, handler, batch_handler) as (subscription, life):
        task_status.started(subscription)
        await life.wait_draining()
