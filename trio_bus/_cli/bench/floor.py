"""The floor: what a bare socket that blocks, and hiredis, can do. Nothing is ready to fail."""

from __future__ import annotations

import socket
from typing import final

import trio

from trio_bus._redis.address import Address
from trio_bus._redis.connecting import connect
from trio_bus._redis.resp import Parser, Reply, pack

from .meter import Meter, Tally
from .order import Figures, Order
from .program import serve
from .replies import entries
from .works import Kind

GROUP = "bench"
_PATIENCE = 10.0


@final
class Floor:
    """Speaks RESP over one socket."""

    def __init__(self, plain: socket.socket) -> None:
        self._socket = plain
        self._parser = Parser()

    def exchange(self, data: bytes, expected: int) -> list[Reply]:
        """Send commands and return their replies."""
        self._socket.sendall(data)
        replies: list[Reply] = []
        while len(replies) < expected:
            replies += self._parser.feed(self._socket.recv(65536))
        return replies

    def call(self, *command: bytes | str | int) -> Reply:
        """Send one command and return its reply."""
        return self.exchange(pack(command), 1)[0]


def open_floor(url: str) -> socket.socket:
    """Return a connection to the server that is logged in, and blocks."""
    return trio.run(_logged_in, url)


async def _logged_in(url: str) -> socket.socket:
    session = await connect(Address.parse(url), _PATIENCE)
    stream = session.wire.stream
    assert isinstance(stream, trio.SocketStream), "there is no floor for TLS"
    plain = socket.socket(fileno=stream.socket.dup().detach())
    await session.wire.aclose()
    plain.settimeout(_PATIENCE)
    return plain


def measure(order: Order) -> Figures:
    """Do what is asked on a new connection."""
    with open_floor(order.url) as plain:
        floor = Floor(plain)
        if order.work.kind is Kind.PUBLISH:
            return _publish(floor, order)
        return _consume(floor, order)


def _publish(floor: Floor, order: Order) -> Figures:
    """What tasks do at the same time goes out together: that is what a batch is."""
    work = order.work
    together = work.width * work.batch
    meter = Meter()
    meter.start()
    for _ in range(work.turns):
        add(floor, order, together)
    meter.stop()
    return meter.figures(work.published)


def add(floor: Floor, order: Order, count: int) -> None:
    """Append *count* entries whose only field is the payload, in one write."""
    payload = order.payload()
    packed = [pack(("XADD", order.topic, "*", "data", payload)) for _ in range(count)]
    floor.exchange(b"".join(packed), count)


def fill(floor: Floor, order: Order) -> None:
    """Give the topic what is to be consumed, and a group that has read none of it."""
    for first in range(0, order.work.count, 1000):
        add(floor, order, min(1000, order.work.count - first))
    floor.call("XGROUP", "CREATE", order.topic, GROUP, "0")


def _consume(floor: Floor, order: Order) -> Figures:
    """Acks go out with the next read."""
    fill(floor, order)
    topic, work = order.topic, order.work
    count = work.batch if work.kind is Kind.BATCHES else work.width
    read = ("XREADGROUP", "GROUP", GROUP, "c", "COUNT", count, "STREAMS", topic, ">")
    tally = Tally(work.count, lambda: None)
    tally.begin()
    (reply,) = floor.exchange(pack(read), 1)
    while ids := [entry for entry, _ in entries(reply)]:
        tally.count(len(ids))
        acks = pack(("XACK", topic, GROUP, *ids))
        _, reply = floor.exchange(acks + pack(read), 2)
        tally.meter.stop()
    return tally.figures()


if __name__ == "__main__":
    serve(measure)
