"""libzfs_core of FreeBSD's base system: what of it a store needs.

Sources: libzfs_core.h, libnvpair(3), and sys/zfs_ioctl.h for what is read, by the requests of zfs-get(8). A channel
program (zfs-program(8)) could read it, too, but the kernel writes each into the history of its pool. Through the C half
of ctypes: pyzfs would take thirty times as long to import as one of these calls takes.
"""

from __future__ import annotations

import _ctypes
import _struct
import errno
import os

from runjail.host.freebsd.libc import Library, buffer, string_behind
from runjail.scope import scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    Values = Mapping[str, str | int | None]  # of an nvlist; None: present without a value
    Property = tuple[str | int, str]  # its value, and the dataset that it is set at; "" for what nobody sets

PATH = "/lib/libzfs_core.so.2"  # which brings libnvpair along
SIGNATURES = {
    "libzfs_core_init": "",
    "libzfs_core_fini": "",
    "lzc_ioctl_fd": "iNP",
    "lzc_get_bookmarks": "zPP",
    "lzc_create": "ziPPI",
    "lzc_clone": "zzP",
    "lzc_snapshot": "PPP",
    "lzc_destroy": "z",
    "lzc_destroy_snaps": "PiP",
    "nvlist_alloc": "PIi",
    "nvlist_free": "P",
    "nvlist_add_boolean": "Pz",
    "nvlist_add_uint64": "Pzq",
    "nvlist_add_string": "Pzz",
    "nvlist_empty": "P",
    "nvlist_unpack": "PNPi",
    "nvlist_lookup_nvlist": "PzP",
    "nvlist_lookup_uint64": "PzP",
    "nvlist_lookup_string": "PzP",
}
NV_UNIQUE_NAME, LZC_DATSET_TYPE_ZFS = 1, 2
DEVICE = "/dev/zfs"
OBJSET_STATS, DATASET_LIST_NEXT, SNAPSHOT_LIST_NEXT = 0x12, 0x14, 0x15  # zfs_ioc_t of sys/fs/zfs.h
# zfs_cmd_t: more than its length, which the library knows; zc_name[MAXPATHLEN]; where zc_nvlist_dst and its size are.
COMMAND_SIZE, NAME_SIZE, ANSWER = 64 << 10, 1024, 1040
USUAL_SIZE = 64 << 10  # bytes of an nvlist


class ZfsLibrary:
    """Its calls, which raise OSError. Device /dev/zfs is open during each of them only: whoever is forked has none."""

    def __init__(self, find: Callable[[str], int]) -> None:
        self._library = Library(find, SIGNATURES)

    def exists(self, name: str) -> bool:
        """Whether there is this dataset or snapshot."""
        with self._command() as command:
            return command.send(OBJSET_STATS, name) is not None

    def properties(self, name: str, keys: Iterable[str]) -> dict[str, Property] | None:
        """Return those that a dataset or a snapshot has or inherits; None when it is not there.

        What has its default is left out. Sizes, times and index properties are numbers.
        """
        with self._command() as command, self._result() as result:
            answer = command.ask(OBJSET_STATS, name)
            if answer is None:
                return None
            self._do("nvlist_unpack", _ctypes.addressof(answer), len(answer), _ctypes.addressof(result), 0)
            found = ((key, self._property(_pointer(result), key)) for key in keys)
            return {key: value for key, value in found if value}

    def below(self, name: str) -> list[str]:
        """Return the snapshots of a dataset and the datasets immediately below it."""
        found = []
        for request in (SNAPSHOT_LIST_NEXT, DATASET_LIST_NEXT):
            with self._command() as command:
                while (below := command.send(request, name)) is not None:
                    found.append(below)
        return found

    def has_bookmarks(self, name: str) -> bool:
        """Whether a dataset has bookmarks."""
        with self._opened(), self._list({}) as wanted, self._result() as result:
            self._do("lzc_get_bookmarks", name.encode(), wanted, _ctypes.addressof(result))
            return not self._library.call("nvlist_empty", _pointer(result))

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

    def _property(self, properties: int, key: str) -> Property | None:
        """Return one of an nvlist of properties."""
        place = buffer(8)
        if self._library.call("nvlist_lookup_nvlist", properties, key.encode(), _ctypes.addressof(place)):
            return None
        found, source = _pointer(place), self._string(_pointer(place), b"source")
        if (value := self._string(found, b"value")) is not None:
            return value, source or ""
        self._do("nvlist_lookup_uint64", found, b"value", _ctypes.addressof(place))
        number: int = _struct.unpack("Q", bytes(place))[0]
        return number, source or ""

    def _string(self, nvlist: int, key: bytes) -> str | None:
        place = buffer(8)
        if self._library.call("nvlist_lookup_string", nvlist, key, _ctypes.addressof(place)):
            return None
        return string_behind(place).decode("utf-8", "surrogateescape")

    @scope
    def _command(self) -> Iterator[_Command]:
        with self._opened():
            device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
            try:
                yield _Command(self._library, device)
            finally:
                os.close(device)

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


class _Command:
    """A zfs_cmd_t, in which the kernel also keeps how far a list is."""

    def __init__(self, library: Library, device: int) -> None:
        self._library, self._device, self._memory = library, device, buffer(COMMAND_SIZE)

    def send(self, request: int, name: str, answer: _ctypes.Array[Any] | None = None) -> str | None:
        """Return the name that comes back; None when there is no such dataset, or no more. Raises OSError.

        answer: room for an nvlist. ENOMEM: it was too small.
        """
        if len(name.encode()) >= NAME_SIZE:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        _struct.pack_into(f"{NAME_SIZE}s", self._memory, 0, name.encode())
        room = (_ctypes.addressof(answer), len(answer)) if answer else (0, 0)
        _struct.pack_into("QQ", self._memory, ANSWER, *room)
        if self._library.call("lzc_ioctl_fd", self._device, request, _ctypes.addressof(self._memory)):
            number = _ctypes.get_errno()
            if number in (errno.ENOENT, errno.ESRCH):
                return None
            raise OSError(number, os.strerror(number))
        return bytes(self._memory)[:NAME_SIZE].partition(b"\0")[0].decode()

    def ask(self, request: int, name: str) -> _ctypes.Array[Any] | None:
        """Return the packed nvlist that is the answer; None when there is no such dataset."""
        size = USUAL_SIZE
        while True:
            answer = buffer(size)
            try:
                return answer if self.send(request, name, answer) is not None else None
            except OSError as error:
                needed = _struct.unpack_from("Q", self._memory, ANSWER + 8)[0]
                if error.errno != errno.ENOMEM or needed <= size:
                    raise
                size = needed


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
