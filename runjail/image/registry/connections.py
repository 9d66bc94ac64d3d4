"""The border to urllib3: one request out, one answer in.

Its exceptions end here, and no other module imports it.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from runjail.errors import ImageError, RegistryError, reason
from runjail.image.registry import certificates, socks, urls
from runjail.image.registry.pools import adapt
from runjail.image.registry.proxy import proxy_for
from runjail.image.registry.retry import Temporary
from runjail.image.registry.watch import Watch

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager


class Content(Protocol):
    """A body that is read as it is sent, and from its start each time."""

    length: int

    def open(self) -> Reader:
        """Start anew."""


class Reader(Protocol):
    """What is left of one body."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to size bytes, b"" at the end."""


BLOCK = 256 << 10  # bytes read at a time
SENT = 32 << 10  # bytes sent at a time: what has to go within the time for a connection
SPARE = 64 << 10  # bytes of an answer nobody wants that are read to keep its connection
SPARE_TIME = 2.0  # seconds in which they have to arrive


@dataclass(frozen=True)
class Timeouts:
    """connect, read: seconds without any progress; slowest: bytes a second, below which an answer counts as stuck.

    connect is for TLS too. read is twice as long before the answer to a change. stored: seconds a server may take to
    answer after it has received a blob, which some of them copy once more.
    """

    connect: float = 15.0
    read: float = 30.0
    stored: float = 600.0
    slowest: int = 1024


@dataclass(frozen=True)
class Request:
    """What is asked. url: absolute."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Content | None = None

    def with_header(self, name: str, value: str) -> Request:
        """Return the same with one more header, none for an empty value."""
        return replace(self, headers={**self.headers, name: value}) if value else self


class Answer:
    """A status, headers, and a body that is still on its way. `close` must be called; reading to the end does it."""

    def __init__(self, request: Request, response: BaseHTTPResponse, owner: Connections) -> None:
        self.request, self.status, self.headers = request, response.status, response.headers
        self._response: Any = response  # with a `sock`: pools.py
        self._owner = owner
        self.what = _name(request)  # for errors; whoever knows better says so

    def header(self, name: str) -> str:
        """Return a header, "" when it is absent."""
        return self.headers.get(name, "")

    def challenges(self) -> list[str]:
        """Return every WWW-Authenticate header."""
        return self.headers.getlist("www-authenticate")

    def join(self, location: str) -> urls.Url:
        """Return what the answer names, as an absolute URL. Raises ValueError when it is none that we would ask."""
        return urls.parse(self.request.url).join(location)

    def blocks(self, patience: float = 0.0) -> Iterator[bytes]:
        """Yield the body as it arrives. Raises Temporary when it breaks or gets stuck, RegistryError when closed.

        patience: seconds that a block may take, and in which some have to arrive; 0 for the usual time.
        """
        patience, slowest = patience or self._owner.timeouts.read, self._owner.timeouts.slowest
        waited, arrived = 0.0, 0
        try:
            while True:
                self._owner.check_open()
                start = time.monotonic()
                block = self._read(patience)
                if not block:
                    break
                waited, arrived = waited + time.monotonic() - start, arrived + len(block)
                if waited > patience:
                    if arrived < slowest * waited:
                        raise Temporary(RegistryError(f"{self.what}: stuck: {arrived} bytes in {waited:.0f} s"))
                    waited, arrived = 0.0, 0
                yield block
        finally:
            self._response.close()

    def _read(self, patience: float) -> bytes:
        """Return what has arrived, b"" at the end. What belongs to no block, as endless trailers, takes no longer."""
        from urllib3.exceptions import HTTPError

        with self._owner.watch.limit(self._response.sock, patience) as limit:
            try:  # read1: whatever there is, so that time can be looked at
                block: bytes = self._response.read1(BLOCK, decode_content=False)
            except (HTTPError, OSError) as error:
                cause = "no answer in time" if limit.late else _cause(error)
                raise Temporary(RegistryError(f"{self.what}: {cause}"), silent=limit.late) from None
        if limit.late and not block:
            raise Temporary(RegistryError(f"{self.what}: no answer in time"), silent=True)
        return block

    def read(self, limit: int, patience: float = 0.0) -> bytes:
        """Return the whole body. Raises RegistryError when it is longer than limit bytes. patience: as for `blocks`."""
        body = bytearray()
        for block in self.blocks(patience):
            body += block
            if len(body) > limit:
                raise RegistryError(f"{self.what}: longer than {limit} bytes")
        return bytes(body)

    def drain(self) -> None:
        """Let go of an answer whose body does not matter; a short one is read, to use the connection again."""
        try:
            if (self._response.length_remaining or 0) <= SPARE:
                self.read(SPARE, SPARE_TIME)
        except (Temporary, RegistryError):
            pass
        self.close()

    def close(self) -> None:
        """Let go at once."""
        self._response.close()


class Connections:
    """Pools of connections to any server, for several threads."""

    def __init__(self, user_agent: str, timeouts: Timeouts, environ: Mapping[str, str]) -> None:
        self._agent, self.timeouts, self._environ = user_agent, timeouts, environ
        self._managers: dict[tuple[bool, bool, str, str], PoolManager] = {}
        self._lock = threading.Lock()
        self.watch = Watch()
        self.closed = threading.Event()

    def check_open(self) -> None:
        """Raise RegistryError once everything has been closed: another thread gave up."""
        if self.closed.is_set():
            raise RegistryError("given up")

    def send(self, request: Request, *, verify: bool = True, authorities: bool = True) -> Answer:
        """Send one request and return the head of its answer, whatever its status. verify: check certificates.

        authorities: believe those that the system knows; without them no certificate is right, and reading them all,
        which takes two starts of Python, is spared. A server that has certificates of its own has the system's with
        them. Raises Temporary for a connection that broke, RegistryError for one that cannot be made; from the first
        cause.
        """
        urllib3 = _library()
        self.check_open()
        url = urls.parse(request.url)
        proxy = proxy_for(request.url, self._environ)
        own = certificates.directory_of(url, self._environ)
        authorities = bool(authorities or own) and verify and (url.scheme == "https" or proxy.startswith("https:"))
        pool = self._manager(verify, authorities, proxy, own).connection_from_host(url.name, url.port, url.scheme)
        target = str(url) if proxy and not socks.is_one(proxy) and url.scheme == "http" else url.target
        headers = {"Host": url.authority, "User-Agent": self._agent, "Accept-Encoding": "identity", **request.headers}
        patience, body = self.timeouts.read * (1 if request.method in ("GET", "HEAD") else 2), request.body
        sent: Any
        if body is None or isinstance(body, bytes):
            sent = body
        else:
            sent, patience = body.open(), self.timeouts.stored
            headers["Content-Length"] = str(body.length)
        timeout = urllib3.Timeout(connect=self.timeouts.connect, read=patience)
        try:
            response = pool.urlopen(
                request.method, target, body=sent, headers=headers, redirect=False, retries=False, timeout=timeout,
                assert_same_host=False, preload_content=False, decode_content=False, target=target,
            )  # fmt: skip
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _failure(request, error) from _innermost(error)
        return Answer(request, response, self)

    def _manager(self, verify: bool, authorities: bool, proxy: str, own: str) -> PoolManager:
        """Return the pool of what has certificates in common. own: the directory of a server's, "" for none."""
        with self._lock:
            key = (verify, authorities, proxy, own)
            if key not in self._managers:
                context = _context(verify, authorities)
                if own:
                    certificates.load(own, context)
                self._managers[key] = _make_manager(context, proxy, self.watch)
            return self._managers[key]

    def close(self) -> None:
        """Close the connections that are not in use; what is still being read ends with RegistryError."""
        self.closed.set()
        self.watch.close()
        with self._lock:
            for manager in self._managers.values():
                manager.clear()
            self._managers.clear()


def _library() -> ModuleType:
    """Import urllib3. Raises ImageError when it is absent, or older than 2.2, which cannot read what has arrived."""
    try:
        import urllib3

        if hasattr(urllib3.HTTPResponse, "read1"):
            return urllib3
    except ImportError:
        pass
    raise ImageError("registries need urllib3 2.2 or newer", "install the port net/py-urllib3, or urllib3 with pip")


def _context(verify: bool, authorities: bool) -> ssl.SSLContext:
    """Return how to speak TLS. Certificates are the system's, or those of $SSL_CERT_FILE."""
    if authorities:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _make_manager(context: ssl.SSLContext, proxy: str, watch: Watch) -> PoolManager:
    urllib3 = _library()
    if context.verify_mode == ssl.CERT_NONE:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the endpoint has said so, once
    options = {"num_pools": 16, "maxsize": 16, "ssl_context": context, "blocksize": SENT}
    if socks.is_one(proxy):
        manager: PoolManager = urllib3.PoolManager(**options)
        adapt(manager, watch, _read_socks(proxy))
        return manager
    manager = _make_proxy(proxy, options) if proxy else urllib3.PoolManager(**options)
    adapt(manager, watch)
    return manager


def _read_socks(proxy: str) -> socks.Socks:
    try:
        return socks.read(proxy)
    except ValueError as error:
        raise RegistryError(f"proxy {proxy.rpartition('@')[2]}: cannot be used: {error}") from None


def _make_proxy(proxy: str, options: dict[str, Any]) -> PoolManager:
    urllib3 = _library()
    scheme, _, place = proxy.partition("://")
    userinfo, _, place = place.rpartition("@")
    user, _, password = userinfo.partition(":")
    try:
        headers = urllib3.make_headers(proxy_basic_auth=f"{unquote(user)}:{unquote(password)}") if user else None
        origin = urls.parse(f"{scheme}://{place}").origin
        return urllib3.ProxyManager(origin, proxy_headers=headers, **options)  # type: ignore[no-any-return]
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise RegistryError(f"proxy {scheme}://{place}: cannot be used: {error}") from None


def _failure(request: Request, error: Exception) -> Exception:
    """Return what to raise for an exception of urllib3: Temporary for what may pass."""
    from urllib3 import exceptions

    known = RegistryError(f"{_name(request)}: {_cause(error)}")
    broken = (exceptions.ProtocolError, exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError, ConnectionError)
    final = (exceptions.NewConnectionError, exceptions.ProxyError)
    first = _innermost(error)
    cut_off = isinstance(first, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
    if cut_off or (isinstance(error, broken) and not isinstance(error, final)):
        return Temporary(known, silent=isinstance(first, TimeoutError))
    return known


def _name(request: Request) -> str:
    """Return what a request is called: without the query, which may be a key to the content, and without secrets."""
    return f"{request.method} {urls.parse(request.url).bare}"


def _innermost(error: BaseException) -> BaseException:
    """Return the first cause: urllib3 wraps exceptions in others."""
    while inner := next((arg for arg in error.args if isinstance(arg, BaseException)), error.__cause__):
        error = inner
    return error


def _cause(error: BaseException) -> str:
    """Return the first cause in a few words; urllib3's own show objects with their addresses."""
    first = _innermost(error)
    if isinstance(first, TimeoutError):
        return "no answer in time"
    if isinstance(first, http.client.IncompleteRead):
        return "the connection ended too early"
    if isinstance(first, ssl.SSLError):
        return f"TLS: {getattr(first, 'verify_message', '') or first.reason or first}"
    if isinstance(first, OSError):
        return reason(first)
    return str(first).rpartition(">: ")[2] or type(first).__name__
