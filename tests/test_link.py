"""The connection that all share, where its end meets its beginning."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import pytest
import trio

from tests.harness import Recorder
from tests.servers import command
from trio_bus import BusOptions
from trio_bus._redis import open_redis
from trio_bus._redis.connecting import Session


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
