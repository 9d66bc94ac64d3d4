"""A disk of a bench's own: ext4 in a sparse file.

For minutes after files were deleted, by anybody on the same file system, ext4 makes new ones several times slower. A
file system that was just made knows of no deletions.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = 40 << 30  # bytes; what is written takes room, the rest does not
INODE_RATIO = 8192  # bytes of the disk for each inode: half of what is usual, as files here are small


@contextmanager
def own_disk(where: str | None) -> Iterator[str]:
    """Make it in a directory and mount it; the context is its place. Takes root."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=where) as top:
        image, place = Path(top, "image"), Path(top, "d")
        place.mkdir()
        with image.open("wb") as file:
            file.truncate(SIZE)
        # all tables now, not by the kernel later, while others are measured
        tables = "lazy_itable_init=0,lazy_journal_init=0"
        subprocess.run(["mkfs.ext4", "-q", "-i", str(INODE_RATIO), "-E", tables, str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
        try:
            yield str(place)
        finally:
            subprocess.run(["umount", str(place)], check=True)
