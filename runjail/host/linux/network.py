"""The one interface of a network namespace that was just made."""

from __future__ import annotations

import fcntl
import sys

from runjail.errors import HostError, reason

SIOCSIFFLAGS = 0x8914
IFF_UP = 1
INTERFACE = b"lo".ljust(16, b"\0")  # struct ifreq: the name, then a union of 24 bytes
UNION = 24


def raise_loopback() -> None:
    """Bring `lo` up in our network namespace; the kernel gives it 127.0.0.1 and ::1 then."""
    import _socket

    door = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(door, SIOCSIFFLAGS, INTERFACE + IFF_UP.to_bytes(2, sys.byteorder).ljust(UNION, b"\0"))
    except OSError as error:
        raise HostError(f"bringing up lo: {reason(error)}") from error
    finally:
        door.close()
