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
    namespaces that answer -1, and the errno they leave behind.
    """

    def __init__(self) -> None:
        self.values: dict[tuple[int, bytes], bytes] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.short, self.refuses = 0, dict[int, int]()
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
