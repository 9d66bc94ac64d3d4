"""A layer of what a container changed: entries, and whiteouts of what is gone.

Form: image-spec, layer.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from runjail.errors import ImageError, reason
from runjail.image.layers import tar_directory, tar_writer
from runjail.image.layers.tar_directory import WHITEOUT
from runjail.image.layers.tree import GONE
from runjail.rootfs import DIRECTORY


def layer(root: str, changes: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yield the archive. changes: "A", "C" or "D" and a path, sorted by path. Raises ImageError.

    What is gone by the time that it is read is left out, and so are devices and sockets.
    """
    try:
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ImageError(f"cannot read {root}: {reason(error)}") from error
    entries = tar_directory.Entries(root, top)
    try:
        for kind, path in changes:
            above, _, name = path.rpartition(b"/")
            if name.startswith(WHITEOUT):
                raise ImageError(f"a layer cannot hold a file called {os.fsdecode(path)}")
            if kind == "D":
                yield tar_writer.header((above + b"/" if above else b"") + WHITEOUT + name, mode=0)
            else:
                yield from _entry(entries, top, above, name)
        yield tar_writer.END
    except OSError as error:
        raise ImageError(f"cannot read {error.filename or root}: {reason(error)}") from error
    finally:
        os.close(top)


def _entry(entries: tar_directory.Entries, top: int, above: bytes, name: bytes) -> Iterator[bytes]:
    """Yield one entry; it is passed over when it, or a directory on its way, is gone by now or has become a link."""
    directory = os.dup(top)
    try:
        for part in above.split(b"/") if above else ():
            inner = os.open(part, DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = inner
        yield from entries.one(directory, name, (above + b"/" if above else b"") + name)
    except OSError as error:
        if error.errno not in GONE:
            raise
    finally:
        os.close(directory)
