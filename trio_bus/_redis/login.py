"""Whom a new connection logs in as."""

from __future__ import annotations

import trio

from trio_bus._credentials import CredentialProvider, Login, Secret, as_login
from trio_bus._errors import ConnectionLost, ValidationError

from .address import Address


async def login_of(address: Address) -> Login | None:
    """Return user and password for the next connection to *address*; None where there are none.

    A provider is asked each time, in a thread, since it may block on the network.

    Raises:
      ConnectionLost: the provider raised something, which is the cause.
      ValidationError: what it gave are no credentials.

    Cancellation: its thread is left to end by itself.
    """
    if address.credential_provider is not None:
        return await _ask(address.credential_provider, address.provider_threads)
    await trio.lowlevel.checkpoint()
    if address.username is None and address.password is None:
        return None
    return Login(address.username or "default", Secret(address.password or ""))


async def _ask(provider: CredentialProvider, threads: trio.CapacityLimiter) -> Login:
    # What it raises and what it gives may be secret: neither is shown, nor kept in a local.
    try:
        login = as_login(
            await trio.to_thread.run_sync(
                provider.get_credentials, abandon_on_cancel=True, limiter=threads
            )
        )
    except Exception as error:
        kind = type(error).__name__
        raise ConnectionLost(f"no credentials: the credential provider raised {kind}") from error
    if login is None:
        raise ValidationError(
            "credential_provider: get_credentials() gave neither (password,) nor (user, password)"
        )
    return login
