"""libzfs_core of FreeBSD's base system: what of it a store needs.

Sources: libzfs_core.h, libnvpair(3), and zfs-program(8) for what is asked of the kernel in Lua. Through the C half of
ctypes: pyzfs would take thirty times as long to import as one of these calls takes.
"""

from __future__ import annotations

import _ctypes
import _struct
import os

from runjail.host.freebsd.libc import Library, buffer, string_behind
from runjail.scope import scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    Values = Mapping[str, str | int | None]  # of an nvlist; None: present without a value

PATH = "/lib/libzfs_core.so.2"  # which brings libnvpair along
SIGNATURES = {
    "libzfs_core_init": "",
    "libzfs_core_fini": "",
    "lzc_exists": "z",
    "lzc_create": "ziPPI",
    "lzc_clone": "zzP",
    "lzc_snapshot": "PPP",
    "lzc_destroy": "z",
    "lzc_destroy_snaps": "PiP",
    "lzc_channel_program_nosync": "zzqqPP",
    "nvlist_alloc": "PIi",
    "nvlist_free": "P",
    "nvlist_add_boolean": "Pz",
    "nvlist_add_uint64": "Pzq",
    "nvlist_add_string": "Pzz",
    "nvlist_lookup_string": "PzP",
}
NV_UNIQUE_NAME, LZC_DATSET_TYPE_ZFS = 1, 2
MOST_STEPS, MOST_MEMORY = 100_000_000, 100 << 20  # of a program: the kernel's own limits


class ZfsLibrary:
    """Its calls, which raise OSError. Device /dev/zfs is open during each of them only: whoever is forked has none."""

    def __init__(self, find: Callable[[str], int]) -> None:
        self._library = Library(find, SIGNATURES)

    def exists(self, name: str) -> bool:
        """Whether there is this dataset or snapshot."""
        with self._opened():
            return bool(self._library.call("lzc_exists", name.encode()))

    def create(self, name: str, properties: Values) -> None:
        """Create a file system, which is not mounted. properties: index properties and sizes are numbers."""
        with self._opened(), self._list(properties) as wanted:
            self._do("lzc_create", name.encode(), LZC_DATSET_TYPE_ZFS, wanted, None, 0)

    def clone(self, snapshot: str, name: str, properties: Values) -> None:
        """Clone a snapshot; the clone is not mounted."""
        with self._opened(), self._list(properties) as wanted:
            self._do("lzc_clone", name.encode(), snapshot.encode(), wanted)

    def snapshot(self, name: str) -> None:
        """Take a snapshot."""
        with self._opened(), self._list({name: None}) as names, self._result() as refused:
            self._do("lzc_snapshot", names, None, _ctypes.addressof(refused))

    def destroy(self, name: str) -> None:
        """Destroy a dataset that is not mounted (EBUSY) and has nothing below it, or a snapshot without clones."""
        with self._opened():
            if "@" not in name:
                self._do("lzc_destroy", name.encode())
                return
            with self._list({name: None}) as names, self._result() as refused:
                self._do("lzc_destroy_snaps", names, 0, _ctypes.addressof(refused))

    def program(self, pool: str, text: str, arguments: Values) -> str:
        """Run a channel program that changes nothing, and return the string that it returns."""
        answer = buffer(8)
        with self._opened(), self._list(arguments) as given, self._result() as result:
            limits, place = (MOST_STEPS, MOST_MEMORY), _ctypes.addressof(result)
            self._do("lzc_channel_program_nosync", pool.encode(), text.encode(), *limits, given, place)
            self._do("nvlist_lookup_string", _pointer(result), b"return", _ctypes.addressof(answer))
            return string_behind(answer).decode("utf-8", "surrogateescape")

    @scope
    def _opened(self) -> Iterator[None]:
        self._do("libzfs_core_init")
        try:
            yield
        finally:
            self._library.call("libzfs_core_fini")

    @scope
    def _list(self, values: Values) -> Iterator[int]:
        """Have an nvlist in the library's memory. Yields its address."""
        place = buffer(8)
        self._do("nvlist_alloc", _ctypes.addressof(place), NV_UNIQUE_NAME, 0)
        address = _pointer(place)
        try:
            for key, value in values.items():
                if value is None:
                    self._do("nvlist_add_boolean", address, key.encode())
                elif isinstance(value, int):
                    self._do("nvlist_add_uint64", address, key.encode(), value)
                else:
                    self._do("nvlist_add_string", address, key.encode(), value.encode())
            yield address
        finally:
            self._library.call("nvlist_free", address)

    @scope
    def _result(self) -> Iterator[_ctypes.Array[Any]]:
        """Have room for the address of an nvlist that a call makes, also one that fails."""
        place = buffer(8)
        try:
            yield place
        finally:
            if address := _pointer(place):
                self._library.call("nvlist_free", address)

    def _do(self, name: str, *arguments: int | bytes | None) -> None:
        """Make a call that returns an error's number."""
        if number := self._library.call(name, *arguments):
            raise OSError(number, f"{name}: {os.strerror(number)}")


def _pointer(memory: _ctypes.Array[Any]) -> int:
    found: int = _struct.unpack("P", bytes(memory))[0]
    return found


def load() -> ZfsLibrary | None:
    """Return the library of this system, None where it is not there or lacks any of that."""
    try:
        handle = _ctypes.dlopen(PATH, 0)
        for name in SIGNATURES:
            _ctypes.dlsym(handle, name)
    except OSError:
        return None
    return ZfsLibrary(lambda name: _ctypes.dlsym(handle, name))
