"""What urllib3's pools do differently for us.

- The head of an answer comes in time as a whole, and after few interim answers (RFC 9110, 15.2), which are passed over.
- An answer may have as many headers as registries behind several proxies give it.
- Connections may be a SOCKS proxy's.
- A request's target is sent byte for byte: urllib3 encodes it anew, and signatures cover its spelling.
"""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING, Any

from runjail.errors import RegistryError
from runjail.image.registry.socks import Socks
from runjail.image.registry.watch import Watch

if TYPE_CHECKING:
    from urllib3 import PoolManager

MOST_INTERIM = 16  # answers before the one that counts
MOST_LINES = 128  # of an interim answer
LONGEST_LINE = 64 << 10
http.client._MAXHEADERS = 512  # type: ignore[attr-defined]  # of 100: Go's clients, for which registries are made, count bytes


def adapt(manager: PoolManager, watch: Watch, proxy: Socks | None = None) -> None:
    """Let a manager's connections give up when a head takes longer than their time-out. proxy: makes them, if any.

    urlopen of its pools takes one more argument, `target`: what to send as it is, which has to be free of blanks. Its
    answers have one more attribute, `sock`: the socket that they are read from.
    """
    pools: dict[str, Any] = dict(manager.pool_classes_by_scheme)
    for scheme, pool in pools.items():
        connection = type("Watched", (_Watched, pool.ConnectionCls), {"watch": watch, "proxy_of_sockets": proxy})
        pools[scheme] = type("WatchedPool", (_Exact, pool), {"ConnectionCls": connection})
    manager.pool_classes_by_scheme = pools


class _Exact:
    """Mixed into urllib3's pools."""

    def _make_request(self, conn: Any, method: str, _url: str, *, target: str, **options: Any) -> Any:
        return super()._make_request(conn, method, target, **options)  # type: ignore[misc]  # urllib3's


class _Watched:
    """Mixed into urllib3's connections."""

    sock: socket.socket
    timeout: float
    made: http.client.HTTPResponse | None = None  # whose head is being read
    watch: Watch
    proxy_of_sockets: Socks | None
    host: str
    port: int

    def _new_conn(self) -> socket.socket:
        """Return a new connection; urllib3 asks for it."""
        if not self.proxy_of_sockets:
            return super()._new_conn()  # type: ignore[misc, no-any-return]  # urllib3's
        from urllib3.exceptions import NewConnectionError

        try:
            return self.proxy_of_sockets.connect(self.host, self.port, self.timeout)
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error  # type: ignore[arg-type]

    def getresponse(self) -> Any:
        """Read the head. Raises TimeoutError."""
        sock = self.sock
        with self.watch.limit(sock, self.timeout) as limit:
            try:
                response = super().getresponse()  # type: ignore[misc]  # urllib3's
            except Exception:
                if self.made:  # urllib3 leaves it open when it does not like the head
                    self.made.close()
                if limit.late:
                    raise TimeoutError from None
                raise
        response.sock, self.made = sock, None
        return response

    def response_class(self, *arguments: Any, **options: Any) -> http.client.HTTPResponse:
        """Return what reads an answer; http.client asks for it."""
        self.made = _Response(*arguments, **options)
        return self.made


class _Response(http.client.HTTPResponse):
    """Passes over interim answers, of which http.client knows one kind, and no end."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MOST_INTERIM):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == 101:  # we never ask for another protocol
                return version, status, reason
            self._pass_over()
        raise RegistryError(f"more than {MOST_INTERIM} interim answers")

    def _pass_over(self) -> None:
        """Read an interim answer's headers."""
        for _ in range(MOST_LINES):
            line = self.fp.readline(LONGEST_LINE)
            if line in (b"\r\n", b"\n", b""):
                return
            if not line.endswith(b"\n"):
                break
        raise RegistryError("an interim answer with endless headers")
