"""What a URL says, what it must not say, and what it never shows."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import inspect
import math
import re
import ssl
from traceback import TracebackException
from typing import cast

import attrs
import pytest
import redis.connection

from trio_bus._connect import open_backend
from trio_bus._credentials import Secret
from trio_bus._errors import ValidationError
from trio_bus._options import BusOptions
from trio_bus._redis.address import Address
from trio_bus._redis.tls import TlsOptions

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
        ("redis://me@h", {"username": "me", "password": None}),
        ("redis://@h", {"username": None, "password": None}),
        ("redis://:@h", {"username": None, "password": None}),
        ("redis://h?client_name=billing-1", {"client_name": "billing-1"}),
        ("redis://h/2?db=2", {"db": 2}),
        ("redis://h?protocol=3", {"host": "h"}),
        ("redis://h?socket_timeout=2.5", {"command_timeout": 2.5, "connect_timeout": math.inf}),
        ("redis://h?socket_timeout=inf", {"command_timeout": math.inf}),
        ("redis://h?socket_connect_timeout=1", {"connect_timeout": 1.0, "command_timeout": None}),
        ("redis://h?socket_keepalive=no", {"keepalive": False}),
        ("redis://h?socket_keepalive=1", {"keepalive": True}),
        ("redis://h?lib_name=a&lib_version=2", {"lib_name": "a", "lib_version": "2"}),
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
        ("redis://h?socket_timeout=0", "socket_timeout"),
        ("redis://h?socket_timeout=nan", "socket_timeout"),
        ("redis://h?socket_timeout=soon", "socket_timeout"),
        ("redis://h?socket_connect_timeout=-1", "socket_connect_timeout"),
        ("redis://h?max_connections=3", "all tasks share one connection"),
        ("redis://h?retry_on_timeout=true", "come back by themselves"),
        ("redis://h?health_check_interval=3", "health_check_interval has no effect here: "),
        ("rediss://h?ssl_validate_ocsp=true", "OCSP"),
        ("redis://h?host=i", "before the '?'"),
        ("redis://h?nonsense=1", "unknown option 'nonsense'"),
        ("unix:///s?socket_keepalive=false", "socket_keepalive has no effect with unix://"),
        ("redis://h/3?db=4", "db is given twice"),
        ("redis://h/99999999999999999999", "database"),
        ("redis://h?lib_name=a%20b", "lib_name"),
        ("rediss://h?ssl_min_version=769", "ssl_min_version"),
        ("rediss://h?ssl_include_verify_flags=VERIFY_NOTHING", "ssl_include_verify_flags"),
        ("redis://[::1", "host"),
        ("redis://[no.address]", "host"),
        ("redis://::1:6379", "port"),
        ("redis://h?protocol=2", "protocol"),
        ("redis://h?ssl_ca_certs=ca.pem", "ssl_ca_certs"),
        ("unix:///s?ssl_certfile=c.pem", "ssl_certfile"),
        ("unix://", "path"),
        ("unix://run/redis.sock", "path"),
        ("unix:///run/%00", "path"),
        ("redis://h?client_name=a%20b", "client_name"),
        ("redis://h?client_name=a%0Ab", "client_name"),
        ("redis://h#frag", "%23"),
        ("redis://h#", "%23"),
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


def test_every_option_of_redis_py_has_a_meaning_or_a_reason() -> None:
    """Those of URLs; none is unknown."""
    known = cast("dict[str, object]", vars(redis.connection)["URL_QUERY_ARGUMENT_PARSERS"])
    connections = (redis.connection.Connection, redis.connection.SSLConnection)
    plain = redis.connection.AbstractConnection
    names = set(known) | {
        name for kind in (*connections, plain) for name in inspect.signature(kind).parameters
    }
    assert len(names) > 40
    for name in sorted(name for name in names if not _is_an_object(name)):
        value = {"protocol": "3", "db": "1", "ssl_cert_reqs": "required"}.get(name, "1")
        try:
            Address.parse(f"rediss://h?{name}={value}")
        except ValidationError as error:
            assert "unknown option" not in str(error), name  # noqa: PT017 - not all raise


def _is_an_object(name: str) -> bool:
    """Tell whether redis-py takes it in code alone: no text in a URL could be one."""
    parts = ("handler", "registry", "dispatcher", "func", "packer", "maint", "orig_", "kwargs")
    return any(part in name for part in parts)


def test_what_a_url_says_of_timeouts_goes_before_the_options() -> None:
    """As in redis-py."""
    options = BusOptions(command_timeout=3, connect_timeout=4)
    told = Address.parse("redis://h?socket_timeout=1.5&socket_connect_timeout=2").refine(options)
    assert (told.command_timeout, told.connect_timeout) == (1.5, 4)
    assert Address.parse("redis://h").refine(options) is options


def test_verify_flags_are_read_as_redis_py_reads_them() -> None:
    """A list in brackets."""
    strict, partial = ssl.VerifyFlags.VERIFY_X509_STRICT, ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    url = "rediss://h?ssl_include_verify_flags=[VERIFY_X509_STRICT,%20VERIFY_X509_PARTIAL_CHAIN]"
    tls = Address.parse(url).tls
    assert tls is not None
    assert tls.context().verify_flags & (strict | partial) == strict | partial
    tls = Address.parse(f"{url}&ssl_exclude_verify_flags=VERIFY_X509_STRICT").tls
    assert tls is not None
    assert tls.context().verify_flags & (strict | partial) == partial
    lowest = Address.parse("rediss://h?ssl_min_version=772").tls
    assert lowest is not None
    assert lowest.context().minimum_version is ssl.TLSVersion.TLSv1_3


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
    "url",
    [
        f"redis://me:{QUOTED}@h:port",
        f"ftp://me:{QUOTED}@h",
        f"me:{QUOTED}@h",
        f"redis://[{QUOTED}@h",
        "redis://me:1/s3cr3t@h",
        "redis://me:1/s3cr3t",
        "redis://me:1?s3cr3t@h",
        "redis://me:1?s3cr3t=x@h",
        "redis://me:1#s3cr3t@h",
        "redis://h?S3cr3t%40=1",
        "redis://h?db=s3cr3t",
        "redis://h?ssl_min_version=s3cr3t",
        "embedded:s3cr3t",
        "memory:s3cr3t",
    ],
)
async def test_not_even_a_broken_url_is_shown(url: str) -> None:
    """What cannot be read may still hold a password: not even in a traceback with its locals."""
    hidden = Secret(url)
    del url
    with pytest.raises(ValidationError) as caught:
        async with open_backend(hidden.reveal(), BusOptions()):
            pytest.fail("it cannot be read")
    shown = "".join(TracebackException.from_exception(caught.value, capture_locals=True).format())
    frames = [part for part in shown.split("  File ") if "_redis" in part or "_connect" in part]
    assert frames
    assert not [part for part in frames if re.search("s3cr3t", part, re.IGNORECASE)]
    assert "s3cr3t" not in f"{caught.value!r} {caught.value.__context__!r}".lower()


@pytest.mark.parametrize(
    "url",
    ["embedded:events", "embedded:///", "embedded://host/dir", "embedded:/dir", "embedded:///a?b"],
)
async def test_an_embedded_directory_is_named_from_the_root(url: str) -> None:
    """Anything else would be another one wherever the program is started."""
    with pytest.raises(ValidationError, match="from the root"):
        async with open_backend(url, BusOptions()):
            pytest.fail("this names no directory")


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
