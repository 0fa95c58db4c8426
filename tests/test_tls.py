"""TLS: whom we trust, who trusts us, and what is said when it fails."""

# pyright: reportUnknownMemberType=false
# trustme's methods take two kinds of contexts, one of which is not installed.

from __future__ import annotations

import socket
import ssl
import struct
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import cast
from urllib.parse import quote

import attrs
import pytest
import trio
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.harness import Recorder, config, messages, publish, until
from tests.tls_relay import TlsRelay, server_context, tls_relay, write_ca_directory
from trio_bus import (
    BusError,
    BusOptions,
    ConnectionLost,
    Delivery,
    Scope,
    TlsFailed,
    ValidationError,
    open_bus,
    open_subscription,
)

HOST = "localhost"
PASSWORD = "s3cr3t-key"  # noqa: S105 - of nobody


@attrs.define
class Authority:
    """A CA that we trust, as a file, and what it gives out."""

    ca: trustme.CA
    home: Path

    @property
    def trusted(self) -> str:
        """The option that names it."""
        return f"ssl_ca_certs={quote(str(self.home / 'ca.pem'))}"

    def context(self, *names: str) -> ssl.SSLContext:
        """Return what a server shows that has a certificate for these names."""
        return server_context(self.ca.issue_cert(*(names or (HOST,))))

    def client(self, ca: trustme.CA, password: str | None = None) -> list[str]:
        """Write a certificate of a client, signed by *ca*; return the options that name it."""
        cert = ca.issue_cert("billing@example.org")
        cert.cert_chain_pems[0].write_to_path(str(self.home / "client.pem"))
        key = cert.private_key_pem.bytes()
        options = [f"ssl_certfile={quote(str(self.home / 'client.pem'))}"]
        if password is not None:
            encryption = BestAvailableEncryption(password.encode())
            plain = load_pem_private_key(key, None)
            key = plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        (self.home / "client.key").write_bytes(key)
        return [*options, f"ssl_keyfile={quote(str(self.home / 'client.key'))}"]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Give a CA that clients know as ``ca.pem``."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return Authority(ca, tmp_path)


def options(recorder: Recorder | None = None, *, insecure: bool = False) -> BusOptions:
    """Return settings for tests."""
    return BusOptions(
        observer=recorder or Recorder(),
        connect_timeout=10.0,
        command_timeout=10.0,
        insecure_tls=insecure,
    )


async def fails(url: str, chosen: BusOptions | None = None) -> BusError:
    """Open, and return what it raises: one line, soon."""
    with trio.fail_after(9), pytest.raises(BusError) as caught:
        async with open_bus(url, chosen or options()):
            pytest.fail("it was opened")
    assert "\n" not in str(caught.value)
    assert "_ssl.c" not in str(caught.value)
    return caught.value


@asynccontextmanager
async def listening(
    talk: Callable[[trio.SocketStream], Awaitable[object]],
) -> AsyncGenerator[int]:
    """Run somebody who is no server; give the port."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await talk(stream)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield cast("tuple[str, int]", listener.socket.getsockname())[1]
        nursery.cancel_scope.cancel()


async def test_everything_works_over_tls(server_url: str, authority: Authority) -> None:
    """Publish, subscribe, lose both connections, go on, close; nothing stays open."""
    handled = list[bytes]()
    recorder = Recorder()

    async def handle(delivery: Delivery) -> None:
        handled.append(delivery.message.payload)

    async with tls_relay(server_url, authority.context()) as relay:
        url = relay.url(authority.trusted)
        async with (
            open_bus(url, options(recorder)) as bus,
            open_subscription(bus, config(), handle),
        ):
            assert bus.url == url
            await publish(bus, 50)
            await until(lambda: len(handled) == 50)
            relay.kill()
            await until(lambda: any(event.scope is Scope.CONNECT for event in recorder.errors))
            await publish(bus, 50)
            await until(lambda: len(handled) >= 100)
        await until(lambda: not relay.alive)
    assert relay.opened >= 4


async def test_a_large_message_goes_through(server_url: str, authority: Authority) -> None:
    """Many records of TLS."""
    large = attrs.evolve(messages(1)[0], payload=b"x" * 3_000_000)
    async with (
        tls_relay(server_url, authority.context()) as relay,
        open_bus(relay.url(authority.trusted), options()) as bus,
        open_subscription(bus, config()) as deliveries,
    ):
        await bus.publish(large)
        async with await deliveries.receive() as delivery:
            assert delivery.message.payload == large.payload


async def test_the_authority_may_be_a_file_a_directory_or_text(
    server_url: str, authority: Authority
) -> None:
    """As redis-py takes them."""
    write_ca_directory(authority.ca, authority.home)
    text = authority.ca.cert_pem.bytes().decode()
    async with tls_relay(server_url, authority.context()) as relay:
        for option in (
            authority.trusted,
            f"ssl_ca_path={quote(str(authority.home))}",
            f"ssl_ca_data={quote(text)}",
        ):
            async with open_bus(relay.url(option, "ssl_min_version=772"), options()) as bus:
                await publish(bus, 1)


def _unknown(authority: Authority) -> ssl.SSLContext:
    return server_context(trustme.CA().issue_cert(HOST))


def _other_host(authority: Authority) -> ssl.SSLContext:
    return authority.context("example.org")


def _expired(authority: Authority) -> ssl.SSLContext:
    past = datetime(2021, 1, 1)  # noqa: DTZ001 - trustme wants it so
    return server_context(authority.ca.issue_cert(HOST, not_before=past, not_after=past))


MISTRUSTED: list[tuple[Callable[[Authority], ssl.SSLContext], str]] = [
    (_unknown, "unable to get local issuer certificate"),
    (_other_host, "Hostname mismatch, certificate is not valid for 'localhost'"),
    (_expired, "certificate has expired"),
]


@pytest.mark.parametrize(("make", "reason"), MISTRUSTED, ids=["unknown", "host", "expired"])
async def test_a_certificate_that_is_not_trusted_fails_at_once(
    server_url: str,
    authority: Authority,
    make: Callable[[Authority], ssl.SSLContext],
    reason: str,
) -> None:
    """One try, one line that says why; and `insecure_tls` takes it."""
    async with tls_relay(server_url, make(authority)) as relay:
        error = await fails(relay.url(authority.trusted))
        assert type(error) is TlsFailed
        assert str(error).startswith(f"the certificate of localhost:{relay.port} is not trusted: ")
        assert reason in str(error)
        assert relay.opened == 1
        async with open_bus(relay.url(), options(insecure=True)) as bus:
            await publish(bus, 1)
        await until(lambda: not relay.alive)


async def test_our_own_authorities_do_not_know_it(server_url: str, authority: Authority) -> None:
    """Without an option the system's are asked."""
    async with tls_relay(server_url, authority.context()) as relay:
        assert type(await fails(relay.url(scheme="valkeys"))) is TlsFailed


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_may_demand_a_certificate(
    server_url: str, authority: Authority, version: ssl.TLSVersion
) -> None:
    """Given, missing, of somebody else: with TLS 1.3 the refusal comes after the handshake."""
    context = authority.context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version
    authority.ca.configure_trust(context)
    async with tls_relay(server_url, context) as relay:
        mine = authority.client(authority.ca)
        async with open_bus(relay.url(authority.trusted, *mine), options()) as bus:
            await publish(bus, 1)
        missing = await fails(relay.url(authority.trusted))
        assert type(missing) is TlsFailed
        assert "certificate" in str(missing) or "handshake failure" in str(missing)
        wrong = await fails(relay.url(authority.trusted, *authority.client(trustme.CA())))
        assert type(wrong) is TlsFailed
        assert "unknown ca" in str(wrong)


async def test_the_key_of_a_client_may_have_a_password(
    server_url: str, authority: Authority
) -> None:
    """A wrong one is a mistake in the settings, which do not show it."""
    context = authority.context()
    context.verify_mode = ssl.CERT_REQUIRED
    authority.ca.configure_trust(context)
    mine = authority.client(authority.ca, PASSWORD)
    async with tls_relay(server_url, context) as relay:
        url = relay.url(authority.trusted, *mine)
        async with open_bus(f"{url}&ssl_password={PASSWORD}", options()) as bus:
            await publish(bus, 1)
            assert "s3cr3t" not in str(bus.url)
        for wrong in ("", "&ssl_password=s3cr3t-wrong"):
            error = await fails(f"{url}{wrong}")
            assert type(error) is ValidationError
            assert "s3cr3t" not in str(error)
    assert type(await fails("rediss://h?ssl_certfile=/none.pem")) is ValidationError


async def test_a_server_of_another_age_is_refused(server_url: str, authority: Authority) -> None:
    """TLS 1.1 at most, where the local OpenSSL can play such a server."""
    context = authority.context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with tls_relay(server_url, context) as relay:
        error = await fails(relay.url(authority.trusted))
        assert type(error) is TlsFailed
        assert str(error).startswith(f"no TLS with localhost:{relay.port}: ")


async def test_the_wrong_scheme_is_named(server_url: str, authority: Authority) -> None:
    """TLS spoken to a plain port, and the other way round."""
    async with tls_relay(server_url, authority.context()) as relay:
        error = await fails(relay.url(scheme="redis"), attrs.evolve(options(), connect_timeout=1))
        assert "TLS" in str(error)
    async with tls_relay(server_url) as relay:
        error = await fails(relay.url(), attrs.evolve(options(), connect_timeout=1))
        assert "TLS" in str(error)
        async with open_bus(relay.url(scheme="redis"), options()) as bus:
            await publish(bus, 1)


async def test_a_port_that_speaks_tls_is_recognized() -> None:
    """By the alert that many servers send to those who do not greet them in TLS."""

    async def alert(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"\x15\x03\x01\x00\x02\x02\x46")

    async with listening(alert) as port:
        error = await fails(f"redis://127.0.0.1:{port}")
        assert type(error) is TlsFailed
        assert str(error) == (
            f"127.0.0.1:{port} speaks TLS: the URL must begin with rediss:// or valkeys://"
        )


async def test_a_plain_error_in_the_handshake_is_recognized() -> None:
    """It is no TLS: at once, and with the way out."""

    async def refuse(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"-ERR Protocol error: too big mbulk count string\r\n")

    async with listening(refuse) as port:
        error = await fails(f"rediss://127.0.0.1:{port}")
        assert type(error) is TlsFailed
        assert "begins with redis://" in str(error)


async def test_a_reset_in_the_handshake_is_tried_again(
    server_url: str, authority: Authority
) -> None:
    """It is a lost connection, which heals."""
    resets = 0

    async def reset(stream: trio.SocketStream) -> None:
        nonlocal resets
        resets += 1
        await stream.receive_some()
        linger = struct.pack("ii", 1, 0)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    async with listening(reset) as port:
        error = await fails(
            f"rediss://127.0.0.1:{port}", attrs.evolve(options(), connect_timeout=2.0)
        )
        assert type(error) is ConnectionLost
        assert f"127.0.0.1:{port}" in str(error)
    assert resets > 1


async def test_a_handshake_that_nobody_answers_is_bounded() -> None:
    """Plain servers wait for more of what they take for a command."""

    async def hold(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with listening(hold) as port:
        error = await fails(
            f"rediss://127.0.0.1:{port}", attrs.evolve(options(), connect_timeout=1.0)
        )
        assert type(error) is ConnectionLost
        assert "no answer to the TLS handshake" in str(error)
        assert "does this port speak TLS?" in str(error)


async def test_a_cancelled_handshake_leaves_nothing_open() -> None:
    """The other side sees the end of it."""
    begun, ended = trio.Event(), trio.Event()

    async def watch(stream: trio.SocketStream) -> None:
        async for _ in stream:
            begun.set()
        ended.set()

    async with listening(watch) as port:

        async def enter() -> None:
            async with open_bus(f"rediss://127.0.0.1:{port}", options()):
                pytest.fail("it was opened")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter)
            with trio.fail_after(20):
                await begun.wait()
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            await ended.wait()


async def test_a_certificate_that_goes_bad_is_told_and_heals(
    server_url: str, authority: Authority
) -> None:
    """On connecting again nothing is fatal: someone will renew it. No error loop runs hot."""
    recorder = Recorder()
    async with tls_relay(server_url, authority.context()) as relay:
        url = relay.url(authority.trusted)
        chosen = attrs.evolve(options(recorder), command_timeout=30.0)
        async with open_bus(url, chosen) as bus, open_subscription(bus, config()) as deliveries:
            good, relay.context = relay.context, _expired(authority)
            relay.kill()
            await until(lambda: _told(recorder, relay) >= 2)
            tried = relay.opened
            await trio.sleep(0.3)
            assert relay.opened - tried < 40
            relay.context = good
            await publish(bus, 1)
            async with await deliveries.receive():
                pass


def _told(recorder: Recorder, relay: TlsRelay) -> int:
    wanted = f"the certificate of localhost:{relay.port} is not trusted: certificate has expired"
    return sum(
        event.scope is Scope.CONNECT and str(event.error) == wanted for event in recorder.errors
    )
