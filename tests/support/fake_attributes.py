"""FreeBSD's extended attributes and file flags, remembered."""

import ctypes
import os
from typing import Any


class Function:
    """A C function: it can be called, and told what it returns."""

    def __init__(self, call: Any) -> None:
        self.call, self.restype = call, None

    def __call__(self, *arguments: Any) -> Any:
        return self.call(*arguments)


class FakeLibc:
    """Extended attributes and flags that remember, with C's calling convention.

    values: by (namespace, name). calls: of what sets flags. short: how many bytes less than asked are set. refuses: the
    namespaces that answer -1, and the errno they leave behind. acls: (kind, entries) by number; held: those not freed.
    """

    def __init__(self) -> None:
        self.values: dict[tuple[int, bytes], bytes] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.short, self.refuses = 0, dict[int, int]()
        self.acls: dict[int, tuple[int, str]] = {}
        self.held: set[int] = set()
        self.acl_get_file = Function(lambda _path, kind: self._acl(kind, "inherited"))
        self.acl_strip_np = Function(lambda acl, _mask: self._acl(self.acls[acl.value][0], "mode alone"))
        self.acl_set_file = Function(self._set_acl)
        self.acl_delete_def_file = Function(lambda path: self.calls.append(("delete default", path)) or 0)
        self.acl_free = Function(lambda acl: self.held.remove(acl.value) or 0)
        self.extattr_set_fd = Function(self._set)
        self.extattr_get_fd = Function(
            lambda _file, space, name, *room: self._fill(space, self.values[space, name], *room)
        )
        self.extattr_list_fd = Function(self._list)
        self.extattr_delete_fd = Function(self._delete)
        self.chflagsat = Function(self._chflagsat)
        self.fchflags = Function(lambda file, flags: self.calls.append(("fchflags", flags.value)) or 0)

    def _set(self, file: int, space: int, name: bytes, value: bytes, size: Any) -> int:
        assert os.fstat(file) and len(value) == size.value
        self.values[space, name] = value
        return len(value) - self.short

    def _acl(self, kind: int, entries: str) -> int:
        self.acls[number := len(self.acls) + 1] = (kind, entries)
        self.held.add(number)
        return number

    def _set_acl(self, path: bytes, kind: int, acl: Any) -> int:
        assert self.acls[acl.value][0] == kind
        self.calls.append(("set", path, *self.acls[acl.value]))
        return 0

    def _list(self, _file: int, space: int, *room: Any) -> int:
        return self._fill(
            space, b"".join(bytes([len(name)]) + name for where, name in self.values if where == space), *room
        )

    def _fill(self, space: int, data: bytes, buffer: Any, size: Any) -> int:
        if space in self.refuses:
            ctypes.set_errno(self.refuses[space])
            return -1
        if buffer is not None:
            assert size.value >= len(data)
            buffer[: len(data)] = data
        return len(data)

    def _delete(self, _file: int, space: int, name: bytes) -> int:
        del self.values[space, name]
        return 0

    def _chflagsat(self, directory: int, name: bytes, flags: Any, how: int) -> int:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
        self.calls.append(("chflagsat", name, flags.value, how))
        return 0
