"""OpenSSL's libcrypto of the system, loaded, and the errors that stand for what it refuses."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from runjail.image import system_library
from runjail.image.crypto.libcrypto.functions import FUNCTIONS

# Of FreeBSD 15 and 14, and of OpenSSL's own builds
LIBRARIES = ("libcrypto.so.35", "libcrypto.so.30", "libcrypto.so.3")
OLDEST = 0x30000000


class InvalidTag(Exception):
    """What was opened is not genuine."""


class InvalidUnwrap(Exception):
    """It was not wrapped with this key."""


class InvalidSignature(Exception):
    """It was not signed by this key."""


class UnsupportedAlgorithm(Exception):
    """A key of a kind that nobody here knows."""


@lru_cache(maxsize=1)
def library() -> Any:
    """Return the library, None where there is none, or an older one."""
    return system_library.load(LIBRARIES, FUNCTIONS, "OpenSSL_version_num", OLDEST)


def version() -> str:
    """Return what the library says that it is, "" without one."""
    found = library()
    return found.OpenSSL_version(0).decode("ascii", "replace") if found else ""


def must(result: int, error: Exception | None = None) -> None:
    """Raise `error`, ValueError by default, unless a function has returned 1 or more, which is success.

    The thread's queue of errors is emptied: ssl and hashlib of Python read the same one.
    """
    if result < 1:
        library().ERR_clear_error()
        raise error or ValueError("libcrypto refuses it")
