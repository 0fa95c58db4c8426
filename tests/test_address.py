"""What a URL says, what it must not say, and what it never shows."""

from __future__ import annotations

import ssl

import attrs
import pytest

from trio_bus._errors import ValidationError
from trio_bus._redis.address import Address, TlsOptions

SECRET = "s3cr3t/p@ss"  # noqa: S105 - of nobody
QUOTED = "s3cr3t%2Fp%40ss"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://", {"host": "localhost", "port": 6379, "db": 0}),
        ("redis://example.org", {"host": "example.org"}),
        ("valkey://example.org:7000/3", {"host": "example.org", "port": 7000, "db": 3}),
        ("redis://[::1]:7000", {"host": "::1", "port": 7000}),
        ("redis://h?db=4", {"db": 4}),
        (f"redis://:{QUOTED}@h", {"username": None, "password": SECRET}),
        (f"redis://me:{QUOTED}@h", {"username": "me", "password": SECRET}),
        (f"redis://h?username=me&password={QUOTED}", {"username": "me", "password": SECRET}),
        ("redis://h?client_name=billing-1", {"client_name": "billing-1"}),
        ("unix:///run/redis.sock", {"path": "/run/redis.sock"}),
        ("unix:///a%20b.sock?db=2", {"path": "/a b.sock", "db": 2}),
        (f"unix://me:{QUOTED}@/run/r.sock", {"path": "/run/r.sock", "password": SECRET}),
    ],
)
def test_urls_are_read_as_redis_py_reads_them(url: str, wanted: dict[str, object]) -> None:
    """Host, port, path, database, user: where redis-py looks for them."""
    address = Address.parse(url)
    found = {name: value for name, value in _fields(address).items() if name in wanted}
    assert found == wanted
    assert address.tls is None


def _fields(address: Address) -> dict[str, object]:
    return attrs.asdict(address, recurse=False)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://h", "scheme"),
        ("localhost:6379", "scheme"),
        ("redis:h", "scheme"),
        ("redis://h:port", "port"),
        ("redis://h:0", "port"),
        ("redis://h:70000", "port"),
        ("redis://h/one", "database"),
        ("redis://h?db=x", "db"),
        ("redis://h?db=-1", "db"),
        ("redis://h?db=", "db"),
        ("redis://h?db=1&db=2", "db"),
        ("redis://h?decode_responses=true", "decode_responses"),
        ("redis://h?socket_timeout=3", "socket_timeout"),
        ("redis://h?max_connections=3", "max_connections"),
        ("redis://h?protocol=2", "protocol"),
        ("redis://h?ssl_ca_certs=ca.pem", "ssl_ca_certs"),
        ("unix:///s?ssl_certfile=c.pem", "ssl_certfile"),
        ("unix://", "path"),
        ("unix://run/redis.sock", "path"),
        ("unix:///run/%00", "path"),
        ("redis://h?client_name=a%20b", "client_name"),
        ("redis://h?client_name=a%0Ab", "client_name"),
        ("redis://h#frag", "%23"),
        ("rediss://h?ssl_cert_reqs=none", "ssl_cert_reqs"),
        ("rediss://h?ssl_cert_reqs=optional", "ssl_cert_reqs"),
        ("rediss://h?ssl_check_hostname=false", "ssl_check_hostname"),
        ("valkeys://h?ssl_check_hostname=0", "ssl_check_hostname"),
        ("rediss://h?ssl_keyfile=k.pem", "ssl_keyfile"),
    ],
)
def test_what_has_no_effect_is_refused_by_name(url: str, named: str) -> None:
    """No option of a URL is dropped in silence."""
    with pytest.raises(ValidationError) as caught:
        Address.parse(url)
    assert named in str(caught.value)


SECRETIVE = [
    f"redis://me:{QUOTED}@h:7000/1?client_name=c",
    f"redis://:{QUOTED}@h",
    f"rediss://h?password={QUOTED}&ssl_certfile=c.pem&ssl_password={QUOTED}",
    f"unix://me:{QUOTED}@/run/r.sock?db=1",
]


@pytest.mark.parametrize("url", SECRETIVE)
def test_no_secret_is_shown(url: str) -> None:
    """Neither in a repr nor in the URL that is handed on."""
    address = Address.parse(url)
    for text in (repr(address), str(address), address.safe_url, repr(address.tls)):
        assert "s3cr3t" not in text


@pytest.mark.parametrize("url", SECRETIVE)
@pytest.mark.parametrize("flaw", ["nonsense=1", "db=x", "db=1&db=2", "ssl_cert_reqs=none"])
def test_no_refusal_shows_a_secret(url: str, flaw: str) -> None:
    """An error names the option, never the URL."""
    with pytest.raises(ValidationError) as caught:
        Address.parse(f"{url}{'&' if '?' in url else '?'}{flaw}")
    shown = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert "s3cr3t" not in shown


@pytest.mark.parametrize(
    "url", [f"redis://me:{QUOTED}@h:port", f"ftp://me:{QUOTED}@h", f"me:{QUOTED}@h"]
)
def test_not_even_a_broken_url_is_shown(url: str) -> None:
    """What cannot be read may still hold a password."""
    with pytest.raises(ValidationError) as caught:
        Address.parse(url)
    shown = f"{caught.value!r} {caught.value.__cause__!r}"
    assert "s3cr3t" not in shown


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("redis://h", "redis://h"),
        ("valkey://me:pw@h:7000/2?client_name=c", "valkey://me@h:7000/2?client_name=c"),
        ("redis://:pw@h?password=x&db=1", "redis://h?db=1"),
        ("unix://:pw@/run/r.sock", "unix:///run/r.sock"),
        ("unix:///run/r.sock?db=2", "unix:///run/r.sock?db=2"),
        ("rediss://h?ssl_ca_certs=/etc/ca.pem", "rediss://h?ssl_ca_certs=/etc/ca.pem"),
    ],
)
def test_the_safe_url_leads_to_the_same_place(url: str, safe: str) -> None:
    """It says all but the passwords, and can be read again."""
    assert Address.parse(url).safe_url == safe
    again = attrs.evolve(Address.parse(safe), password=Address.parse(url).password)
    assert again == Address.parse(url)


def test_tls_verifies_unless_told_otherwise_in_code() -> None:
    """A URL with TLS checks certificate and host name."""
    tls = Address.parse("rediss://h").tls
    assert tls is not None
    context = tls.context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_insecure_tls_switches_verification_off() -> None:
    """Only `BusOptions` can say so, and it means nothing without TLS."""
    tls = Address.parse("valkeys://h?ssl_cert_reqs=required", insecure_tls=True).tls
    assert tls is not None
    context = tls.context()
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname
    assert Address.parse("redis://h", insecure_tls=True).tls is None


def test_tls_files_that_cannot_be_used_are_a_validation_error() -> None:
    """The text says which option family is wrong."""
    with pytest.raises(ValidationError, match="TLS options"):
        TlsOptions(ssl_ca_certs="/does/not/exist.pem").context()
    with pytest.raises(ValidationError, match="TLS options"):
        TlsOptions(ssl_ca_data="not a certificate").context()
    with pytest.raises(ValidationError, match="TLS options"):
        TlsOptions(ssl_ciphers="no such cipher").context()
    with pytest.raises(ValidationError, match="TLS options"):
        TlsOptions(ssl_min_version=7).context()
