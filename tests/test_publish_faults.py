"""Publishing on servers that are slow, silent, cut off or gone."""

# pyright: reportPrivateUsage=false
# Faults are aimed at connections, which only the inside knows by name.

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncGenerator, Generator
from math import inf

import attrs
import pytest
import trio
import trio.testing

from tests.harness import Recorder, numbered, until
from tests.redis_world import command
from tests.restartable import Restartable, running
from tests.servers import command as inline
from trio_bus import (
    Bus,
    BusClosed,
    BusOptions,
    ConnectionLost,
    EntryId,
    Message,
    OutcomeUnknown,
    RedisBackend,
    RemoteError,
    Scope,
    WrongType,
    open_bus,
)
from trio_bus._fields import DATA
from trio_bus._redis.link import WINDOW_COMMANDS
from trio_bus._redis.replies import as_entry_id, as_list, as_record, as_row
from trio_bus._redis.resp import pack


@attrs.define
class Desk:
    """A bus on a server, and ways to be cut off from it."""

    bus: Bus
    backend: RedisBackend
    recorder: Recorder

    async def stored(self, topic: str = "t") -> dict[EntryId, bytes]:
        """Return the payloads in the stream, in its order."""
        rows = as_list(await command(self.backend, "XRANGE", topic, "-", "+"))
        pairs = [as_row(row, 2) for row in rows]
        return {as_entry_id(one): dict(as_record(two))[DATA] for one, two in pairs}

    def mute(self, seconds: float = 0.5) -> None:
        """Let the server execute what comes, and answer nothing: until the connection is lost."""
        words = pack(("CLIENT", "REPLY", "OFF"))
        self.backend._link.connected().submit(words, 1, seconds)

    def heard(self) -> list[type[BaseException]]:
        """The errors of publishing that the observer heard."""
        found = [event for event in self.recorder.errors if event.scope is Scope.PUBLISH]
        assert {event.topic for event in found} <= {"t", "text"}
        return [type(event.error) for event in found]


@contextlib.asynccontextmanager
async def desk(
    url: str, *, command_timeout: float = 5.0, publish_timeout: float = 20.0
) -> AsyncGenerator[Desk]:
    """Open a bus."""
    recorder = Recorder()
    options = BusOptions(
        observer=recorder, command_timeout=command_timeout, publish_timeout=publish_timeout
    )
    async with open_bus(url, options) as bus:
        assert isinstance(bus.backend, RedisBackend)
        yield Desk(bus, bus.backend, recorder)


@pytest.fixture
def restartable(server_kind: str) -> Generator[Restartable]:
    """Give a server that may be stopped."""
    with running(server_kind) as server:
        yield server


def keyed(key: str, payload: bytes = b"") -> Message:
    """Make a message with an idempotency key."""
    return Message("t", payload, idempotency_key=key)


async def test_a_message_with_a_key_whose_answer_is_lost_is_stored_once(server_url: str) -> None:
    """The server had stored it: publishing again finds it. Without a key, nobody knows."""
    async with desk(server_url) as here:
        here.mute()
        first = await here.bus.publish(keyed("a", b"once"))
        assert await here.stored() == {first: b"once"}
        assert here.heard() == [OutcomeUnknown]
        here.mute()
        with pytest.raises(OutcomeUnknown):
            await here.bus.publish(Message("t", b"perhaps"))
        assert list((await here.stored()).values()) == [b"once", b"perhaps"]


async def test_a_batch_whose_answers_are_lost_keeps_its_order(server_url: str) -> None:
    """All of it has keys: it is stored once, in order, though the connection breaks in the middle.

    More than one chunk: the first is executed and not answered, the rest is not sent.
    """
    async with desk(server_url) as here:
        payloads = numbered(2500)
        here.mute()
        outcome = await here.bus.publish_batch([keyed(it.decode(), it) for it in payloads])
        outcome.raise_errors()
        stored = await here.stored()
        assert list(stored.values()) == payloads
        assert tuple(stored) == outcome.results


async def test_a_batch_without_keys_goes_on_behind_what_is_unknown(server_url: str) -> None:
    """The first chunk may be stored, so that it is not sent again; what was not sent is."""
    async with desk(server_url) as here:
        payloads = numbered(2500)
        here.mute()
        outcome = await here.bus.publish_batch([Message("t", it) for it in payloads])
        kinds = [type(result) for result in outcome.results]
        assert kinds == [OutcomeUnknown] * 1000 + [EntryId] * 1500
        assert list((await here.stored()).values()) == payloads


async def test_publishers_go_on_while_connections_are_killed(server_url: str) -> None:
    """Each message with a key is stored exactly once."""
    async with desk(server_url) as here:
        ids: dict[bytes, EntryId] = {}

        async def work(number: int) -> None:
            for round_ in range(10):
                payload = b"%d.%d" % (number, round_)
                ids[payload] = await here.bus.publish(keyed(payload.decode(), payload))

        async def kill() -> None:
            while True:
                await trio.sleep(0.02)
                inline(server_url, "CLIENT KILL TYPE normal")

        async with trio.open_nursery() as killing:
            killing.start_soon(kill)
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(work, number)
            killing.cancel_scope.cancel()
        assert {payload: one for one, payload in (await here.stored()).items()} == ids
        assert len(ids) == 200


async def test_a_server_that_comes_back_is_waited_for(restartable: Restartable) -> None:
    """Messages without a key wait too, since nothing was sent."""
    async with desk(restartable.url, command_timeout=1.5) as here:
        restartable.kill()
        await until(lambda: here.backend._link.current is None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.bus.publish, Message("t", b"waits"))
            await until(lambda: bool(here.heard()))
            restartable.start()
        assert list((await here.stored()).values()) == [b"waits"]
        assert set(here.heard()) == {ConnectionLost}


async def test_a_single_attempt(restartable: Restartable) -> None:
    """With publish_timeout=0 the error comes as soon as there is one."""
    async with desk(restartable.url, command_timeout=0.3, publish_timeout=0) as here:
        restartable.kill()
        await until(lambda: here.backend._link.current is None)
        for message in Message("t"), keyed("a"):
            with pytest.raises(ConnectionLost):
                await here.bus.publish(message)
        assert here.heard() == [ConnectionLost] * 2


async def test_nowait_is_stored_in_the_order_of_the_calls(server_url: str) -> None:
    """Between them, and with what is published later on; once with a key."""
    async with desk(server_url) as here:
        for payload in numbered(100):
            here.bus.publish_nowait(Message("t", payload))
        here.bus.publish_nowait(keyed("a", b"keyed"))
        here.bus.publish_nowait(keyed("a", b"keyed again"))
        last = await here.bus.publish(Message("t", b"last"))
        stored = await here.stored()
        assert list(stored.values()) == [*numbered(100), b"keyed", b"last"]
        assert max(stored) == last
        assert here.heard() == []


async def test_nowait_beyond_the_window_would_block(server_url: str) -> None:
    """Nothing is queued then; there is room again when answers have come."""
    async with desk(server_url) as here:
        count = 0
        with pytest.raises(trio.WouldBlock):
            while count <= WINDOW_COMMANDS:
                here.bus.publish_nowait(Message("t"))
                count += 1
        assert count == WINDOW_COMMANDS
        await here.bus.publish(Message("t"))
        assert len(await here.stored()) == count + 1
        here.bus.publish_nowait(Message("t"))
        big = Message("t", bytes(3 * 1024 * 1024))
        with pytest.raises(trio.WouldBlock):
            for _ in range(4):
                here.bus.publish_nowait(big)


async def test_nowait_tells_the_observer_of_what_failed_later(server_url: str) -> None:
    """A refusal, and a lost answer; neither is tried again."""
    async with desk(server_url) as here:
        assert await command(here.backend, "SET", "text", "x") == b"OK"
        here.bus.publish_nowait(Message("text"))
        here.bus.publish_nowait(Message("t", b"fine"))
        await until(lambda: here.heard() == [WrongType])
        here.mute()
        here.bus.publish_nowait(keyed("a", b"lost"))
        await until(lambda: here.heard() == [WrongType, OutcomeUnknown])
        assert list((await here.stored()).values()) == [b"fine", b"lost"]


async def test_nowait_without_a_connection(restartable: Restartable) -> None:
    """Raised at once, not queued."""
    async with desk(restartable.url) as here:
        restartable.kill()
        await until(lambda: here.backend._link.current is None)
        with pytest.raises(ConnectionLost, match="no connection now"):
            here.bus.publish_nowait(Message("t"))
        assert here.heard() == []


@pytest.mark.parametrize("how", ["left", "failed", "cancelled"])
async def test_leaving_the_bus_sends_what_is_queued(server_url: str, how: str) -> None:
    """Written and answered before the connection closes, however the block is left."""
    scope = trio.CancelScope()
    left: list[Desk] = []

    async def queue_and_leave() -> None:
        async with desk(server_url) as here:
            left.append(here)
            for payload in numbered(1000):
                here.bus.publish_nowait(Message("t", payload))
            if how == "failed":
                raise KeyError
            if how == "cancelled":
                scope.cancel()
                await trio.sleep_forever()

    with contextlib.suppress(KeyError), scope:
        await queue_and_leave()
    assert scope.cancelled_caught is (how == "cancelled")
    assert left[0].heard() == []
    with pytest.raises(BusClosed):
        left[0].bus.publish_nowait(Message("t"))
    async with desk(server_url) as here:
        assert list((await here.stored()).values()) == numbered(1000)


@pytest.mark.parametrize("cancelled", [False, True], ids=["left", "cancelled"])
async def test_leaving_a_silent_server_takes_no_longer_than_a_command(
    restartable: Restartable, *, cancelled: bool
) -> None:
    """The observer hears what is not known then."""
    left: list[tuple[Desk, float]] = []
    with trio.CancelScope() as scope:
        async with desk(restartable.url, command_timeout=0.5) as here:
            restartable.send(signal.SIGSTOP)
            for payload in numbered(3):
                here.bus.publish_nowait(Message("t", payload))
            left.append((here, trio.current_time()))
            if cancelled:
                scope.cancel()
    ((here, since),) = left
    assert 0.4 < trio.current_time() - since < 5
    assert here.heard() == [OutcomeUnknown] * 3


async def test_leaving_is_bounded_where_commands_are_not(
    restartable: Restartable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block must end, also with command_timeout=inf."""
    monkeypatch.setattr("trio_bus._redis.unconfirmed._LONGEST_FLUSH", 0.3)
    async with desk(restartable.url, command_timeout=inf) as here:
        restartable.send(signal.SIGSTOP)
        here.bus.publish_nowait(Message("t"))
        left = trio.current_time()
    assert 0.2 < trio.current_time() - left < 5
    assert here.heard() == [OutcomeUnknown]


async def test_leaving_does_not_wait_for_nothing(server_url: str) -> None:
    """Where all is answered, leaving is at once."""
    async with desk(server_url, command_timeout=60.0) as here:
        here.bus.publish_nowait(Message("t"))
        await here.bus.info("t")
        left = trio.current_time()
    assert trio.current_time() - left < 20


async def test_cancelled_publishes_leave_a_connection_that_works(server_url: str) -> None:
    """Whoever is cancelled while waiting takes no answer along that belongs to another."""
    async with desk(server_url) as here:
        for round_ in range(20):
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(here.bus.publish, keyed(f"{round_}.{number}"))
                    nursery.start_soon(here.bus.publish_batch, [Message("t")] * 3)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        last = await here.bus.publish(Message("t", b"last"))
        assert max(await here.stored()) == last
        assert here.heard() == []
        link = here.backend._link.connected()
        assert link._credit.held == (0, 0)


async def test_a_script_that_runs_for_long_is_waited_for(restartable: Restartable) -> None:
    """BUSY is a matter of time."""
    async with desk(restartable.url) as here:
        inline(restartable.url, "CONFIG SET lua-time-limit 1")
        async with trio.open_nursery() as nursery:

            async def loop() -> None:
                async with desk(restartable.url) as other:
                    with pytest.raises(RemoteError):
                        await _loop(other)

            async def stop() -> None:
                await until(lambda: RemoteError in here.heard())
                inline(restartable.url, "SCRIPT KILL")

            nursery.start_soon(loop)
            with trio.fail_after(10):
                while inline(restartable.url, "PING") == "+PONG":
                    await trio.sleep(0.01)
            nursery.start_soon(stop)
            await here.bus.publish(Message("t", b"waits"))
        assert list((await here.stored()).values()) == [b"waits"]


async def _loop(other: Desk) -> None:
    reply = await command(other.backend, "EVAL", "while true do end", 0)
    raise RemoteError(str(reply))
