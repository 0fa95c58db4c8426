"""Credentials that change while the program runs."""

import trio
from redis.credentials import CredentialProvider

from trio_bus import BusOptions, Message, open_bus, open_embedded


class Vault(CredentialProvider):
    """Fetches a token that is valid for a while; it may block on the network."""

    def get_credentials(self) -> tuple[str, str]:
        print("a connection asks for credentials")
        return "default", "a token of today"


async def main() -> None:
    async with (
        open_embedded() as server,  # it has no passwords, and so takes any
        open_bus(server.url, BusOptions(credential_provider=Vault())) as bus,
    ):
        await bus.publish(Message("orders", b"7"))
        print("published")


trio.run(main)
