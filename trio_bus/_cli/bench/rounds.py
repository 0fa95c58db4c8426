"""The measuring: clients take turns, so that all see the same day."""

from __future__ import annotations

import platform
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack

import attrs

from trio_bus._cli.failing import CommandError
from trio_bus._uid import new_uid

from .clients import FLOOR, OURS, PEERS, TRIO_FLOOR, Client
from .order import Figures, Order
from .process import Process, running
from .report import Report, rows
from .server import Server, open_server
from .works import Work


@attrs.frozen(kw_only=True)
class Bench:
    """Lets each client do each work that it can do, again and again."""

    size: int
    rounds: int
    works: tuple[Work, ...]
    peers: bool

    def clients(self, url: str) -> list[Client]:
        """Return who is measured there: without a server, and over TLS, not everybody."""
        if _is_memory(url):
            return [OURS]
        if url.startswith(("rediss:", "valkeys:")):
            return [OURS, TRIO_FLOOR]
        peers = [peer for peer in PEERS if self.peers and peer.is_installed]
        return [OURS, TRIO_FLOOR, FLOOR, *peers]

    def missing(self) -> list[str]:
        """Name the peers that are asked for and are not here."""
        return [peer.name for peer in PEERS if self.peers and not peer.is_installed]

    async def run(self, url: str, advance: Callable[[], None]) -> Report:
        """Measure on the server of *url*; call *advance* for each measurement that is done."""
        found: dict[tuple[Work, Client], list[Figures]] = defaultdict(list)
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(open_server(url))
            processes = {
                client: await stack.enter_async_context(running(client))
                for client in self.clients(url)
            }
            for work, client in self.pairs(url) * self.rounds:
                found[work, client].append(await measure(server, processes[client], client, work))
                advance()
            name = server.name
        return Report(
            server=name,
            python=f"{platform.python_implementation()} {platform.python_version()}",
            machine=f"{platform.system()} {platform.machine()}",
            size=self.size,
            rounds=self.rounds,
            missing=self.missing(),
            rows=rows(found),
        )

    def pairs(self, url: str) -> list[tuple[Work, Client]]:
        """Return the measurements of one round."""
        return [
            (work, client)
            for work in self.works
            for client in self.clients(url)
            if client.does(work) and not (work.pending and _is_memory(url))
        ]


def _is_memory(url: str) -> bool:
    return url.startswith("memory:")  # where nobody else can hold anything


async def measure(server: Server, process: Process, client: Client, work: Work) -> Figures:
    """Measure; once more, in a new process, where another library failed, or did not end.

    Raises:
      CommandError: it could not be measured.
    """
    try:
        return await _measure(server, process, client, work)
    except CommandError:
        if client not in PEERS:
            raise
    await process.restart()
    return await _measure(server, process, client, work)


async def _measure(server: Server, process: Process, client: Client, work: Work) -> Figures:
    """Measure once, and take from the server what was stored."""
    topic = f"bench-{new_uid()}"
    try:
        return await process.measure(Order(server.url, topic, client.order(work)))
    finally:
        await server.forget(topic)
