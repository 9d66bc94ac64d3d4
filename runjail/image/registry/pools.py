"""What urllib3's pools do differently for us.

The head of an answer comes in time as a whole: Python's time-out counts anew with every byte of it. A request's target
is sent byte for byte: urllib3 encodes it anew, and signatures cover its spelling.
"""

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from urllib3 import PoolManager


def adapt(manager: "PoolManager") -> None:
    """Let a manager's connections give up when a head takes longer than their time-out.

    Its pools take another argument of urlopen. target: what to send as it is; it has to be free of blanks.
    """
    pools: dict[str, Any] = dict(manager.pool_classes_by_scheme)
    for scheme, pool in pools.items():
        connection = type("Watched", (_Watched, pool.ConnectionCls), {})
        pools[scheme] = type("WatchedPool", (_Exact, pool), {"ConnectionCls": connection})
    manager.pool_classes_by_scheme = pools


class _Exact:
    """Mixed into urllib3's pools."""

    def _make_request(self, conn: "Any", method: str, _url: str, *, target: str, **options: "Any") -> "Any":
        return super()._make_request(conn, method, target, **options)  # type: ignore[misc]  # urllib3's


class _Watched:
    """Mixed into urllib3's connections."""

    sock: "socket.socket"
    timeout: float

    def getresponse(self) -> "Any":
        """Read the head. Raises TimeoutError."""
        late = threading.Event()
        timer = threading.Timer(self.timeout, self._give_up, (self.sock, late))
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()  # type: ignore[misc]  # urllib3's
        except Exception:
            if late.is_set():
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()
        return response

    def _give_up(self, sock: "socket.socket", late: threading.Event) -> None:
        late.set()
        try:
            sock.shutdown(2)  # SHUT_RDWR: wakes the reader
        except OSError:  # it ended by itself
            pass
