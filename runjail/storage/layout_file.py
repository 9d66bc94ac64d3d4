"""Which driver made the store in a directory: a file in it.

So no second driver ever fills the same place. PATH/store.json   {"driver": NAME, "location": what open_store takes, and
what else the driver has to know again}
"""

from __future__ import annotations

import os

from runjail import jsonio
from runjail.errors import StorageError, reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "store.json"
DIRECTORY = "dir"  # the driver of stores that were made before there was such a file


def read(path: str) -> dict[str, str]:
    """Return what the file in a store's directory says, nothing where there is none. Raises StorageError."""
    try:
        with open(f"{path}/{NAME}", "rb") as file:
            found = jsonio.loads(file.read(1 << 16))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise StorageError(f"{path}/{NAME}: cannot be read: {reason(error)}") from error
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise StorageError(f"{path}/{NAME} is damaged: it does not say what kind of store this is")
    return found


def driver_at(path: str) -> str:
    """Return the driver of the store in a directory, "" where there is none."""
    return read(path).get("driver", "") or (DIRECTORY if os.path.isdir(f"{path}/layers") else "")


def refuse_other(path: str, driver: str, *, known: bool) -> None:
    """Raise StorageError when the store in a directory is another driver's.

    known: it is this driver's by what it is in, a dataset, where there is no file yet.
    """
    found = read(path)
    holds = found.get("driver", "") or ("" if known else driver_at(path))
    if holds not in ("", driver):
        place = found.get("location", "") if holds == "zfs" else f"{holds}:{path}"  # a directory may have moved
        raise StorageError(f"{path} is a store of the kind {holds}, not {driver}", f"--store {place} opens it")


def write(path: str, beside: str, document: Mapping[str, str]) -> None:
    """Write the file whole, unless there is one. beside: a name to write it under first. Raises StorageError."""
    try:
        while not os.path.exists(f"{path}/{NAME}"):
            try:  # a signal may come at any instant
                with open(beside, "x", encoding="utf-8") as file:
                    file.write(jsonio.dumps(dict(document)) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                try:
                    os.link(beside, f"{path}/{NAME}")
                except (FileExistsError, FileNotFoundError):  # somebody was faster; a sweep took ours away
                    pass
            finally:
                if os.path.exists(beside):
                    os.unlink(beside)
    except OSError as error:
        raise StorageError(f"{path}/{NAME}: cannot be written: {reason(error)}") from error
