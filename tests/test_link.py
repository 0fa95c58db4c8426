"""The connection that all share, where its end meets its beginning."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.harness import Recorder
from tests.servers import command
from trio_bus import BusOptions, ConnectionLost
from trio_bus._redis import open_redis
from trio_bus._redis.connecting import Session
from trio_bus._redis.link import connect_first


async def test_a_backend_that_is_closed_while_it_connects_again_ends(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new connection was there in the moment in which it was closed."""

    def ended() -> bool:
        pipeline = link._pipeline
        return link.is_closed and (pipeline is None or pipeline.ended.is_set())

    async with open_redis(server_url, BusOptions(observer=Recorder())) as backend:
        link = backend._link
        connect = link._connect

        async def connect_and_close(timeout: float) -> Session:
            session = await connect(timeout)
            link.close()
            return session

        monkeypatch.setattr(link, "_connect", connect_and_close)
        command(server_url, "CLIENT KILL TYPE normal SKIPME yes")
        with trio.move_on_after(10) as patience:
            while not ended():
                await trio.sleep(0.01)
        link.close()  # the new one too, should it be there
    assert not patience.cancelled_caught


@pytest.mark.parametrize(
    ("loads_until", "told"), [(9.0, "LOADING"), (0.05, "late"), (0.0, "late")], ids=str
)
async def test_an_attempt_that_is_cut_short_does_not_hide_what_the_one_before_it_met(
    autojump_clock: MockClock, loads_until: float, told: str
) -> None:
    """One that had time enough and got no answer is what there is to tell."""

    async def connect(timeout: float) -> Session:
        if trio.current_time() < loads_until:
            await trio.lowlevel.checkpoint()
            raise ConnectionLost("LOADING")
        await trio.sleep(timeout)
        raise ConnectionLost("late") from TimeoutError(f"within {timeout} s")

    with pytest.raises(ConnectionLost, match=told) as caught:
        await connect_first(connect, 10.0)
    assert (caught.value.__cause__ is None) == (told == "LOADING")
