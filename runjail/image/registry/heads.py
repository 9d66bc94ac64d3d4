"""The head of an answer comes in time as a whole: Python's time-out counts anew with every byte of it."""

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from urllib3 import PoolManager


def watch_heads(manager: "PoolManager") -> None:
    """Let a pool's connections give up when a head takes longer than their time-out."""
    pools: dict[str, Any] = dict(manager.pool_classes_by_scheme)
    for scheme, pool in pools.items():
        connection = type("Watched", (_Watched, pool.ConnectionCls), {})
        pools[scheme] = type("WatchedPool", (pool,), {"ConnectionCls": connection})
    manager.pool_classes_by_scheme = pools


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
