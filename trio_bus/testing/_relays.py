"""The connections through one proxy."""

from __future__ import annotations

from functools import partial

import trio

from trio_bus._redis.address import Address

from ._conditions import Conditions
from ._relay import Relay


class Relays:
    """Takes connections, and relays each to where *address* says when it comes."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.refuse: bool = False
        self.accepted: int = 0
        self._relays: set[Relay] = set()
        self.conditions: Conditions = Conditions()

    @property
    def open(self) -> int:
        """How many connections have not ended."""
        return sum(not relay.is_ended for relay in self._relays)

    async def serve(self, client: trio.SocketStream) -> None:
        """Relay one connection until it ends."""
        self.accepted += 1
        async with client:
            if self.refuse:
                return
            relay = Relay(client, self.conditions)
            self._relays.add(relay)
            try:
                await relay.run(partial(_dial, self.address))
            finally:
                self._relays.discard(relay)

    def end(self, *, reset: bool) -> None:
        """End all connections, now."""
        for relay in self._relays:
            relay.end(reset=reset)

    def resume(self) -> None:
        """Undo every stall."""
        self.conditions.gate.open()
        for relay in self._relays:
            relay.resume()


async def _dial(address: Address) -> trio.SocketStream:
    if address.path is not None:
        return await trio.open_unix_socket(address.path)
    return await trio.open_tcp_stream(address.host, address.port)
