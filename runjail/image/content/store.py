"""The store's content: an OCI layout of our own, which several processes and threads use at once.

Locks are flock(2), so that they end with their holder, and on what a layout has anyway: on the directory while
index.json is replaced, on `blobs` (shared) while an image comes in, on a partial file by who writes it. A blob appears
by rename(2) when it is whole and on disk; a name appears last. So what a crash leaves is at most unreferenced.

A blob whose digest was verified carries a mark: the nanoseconds of its time, which whoever writes to the file changes.
One without is hashed before it is taken for what its name says; who finds a damaged one takes the mark away. So what is
damaged is fetched again by the next pull, which replaces it, and a pull of what is there does not read it all.
"""

from __future__ import annotations

import os
import time

from runjail import locks
from runjail.errors import Corrupt, ImageError, ImageNotFound, reason
from runjail.files import write_file
from runjail.image import digest as digests
from runjail.image import media_types, model
from runjail.image.content.ingest import Ingest, Temporary
from runjail.image.content.layout import LayoutDirectory, unnamed
from runjail.image.model import Descriptor, Index
from runjail.scope import scope
from runjail.storage.durable import sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

GRACE = 3600.0  # seconds that something new may be unreferenced while other images come in
MARK = 314_159_265  # nanoseconds of the time of a blob that was verified
REMEDY = "it is fetched again by runjail image pull, or image import; what was made here has to be made again"


class ContentStore(LayoutDirectory):
    """An OCI layout to write to; it is made when it does not exist. mode: of its directory then."""

    def __init__(self, directory: str, mode: int = 0o700) -> None:
        super().__init__(directory)
        self._verified: dict[str, tuple[int, ...]] = {}  # digest: the file that this process hashed, as it was then
        try:
            os.makedirs(os.path.dirname(os.path.abspath(directory)), exist_ok=True)
            if not os.path.isdir(directory):
                os.mkdir(directory, mode)
        except FileExistsError:
            pass  # by another process, or it is no directory, which comes to light below
        except OSError as error:
            raise ImageError(f"cannot make {directory}: {reason(error)}") from error
        with self.locked():
            self._complete()
        self.index()

    def _complete(self) -> None:
        """Write what a layout needs and this one does not have yet."""
        try:
            if not os.path.isdir(f"{self.directory}/blobs"):
                os.mkdir(f"{self.directory}/blobs")
            if not os.path.lexists(f"{self.directory}/index.json"):
                self._replace("index.json", Index(()).document())
            if not os.path.lexists(f"{self.directory}/oci-layout"):
                self._replace("oci-layout", {"imageLayoutVersion": "1.0.0"})
        except OSError as error:
            raise ImageError(f"cannot write to {self.directory}: {reason(error)}") from error

    def ingest(self, descriptor: Descriptor, check: Callable[[], None] | None = None) -> Ingest:
        """Return a context in which a blob is written; see Ingest. check: raises when waiting makes no sense."""
        return Ingest(self, descriptor, check)

    def temporary(self) -> Temporary:
        """Return a context with an empty file on the same file system: `commit_file` can make a blob of it."""
        return Temporary(self)

    def add(self, content: bytes, media_type: str = "") -> Descriptor:
        """Store a small blob. Return its descriptor."""
        descriptor = Descriptor(media_type, digests.of(content), len(content))
        with self.ingest(descriptor) as blob:
            if not blob.complete:
                blob.write(content[blob.offset :])
        return descriptor

    def commit_file(self, file: Temporary, digest: str) -> None:
        """Make a blob of a file that we wrote and whose digest we computed while writing."""
        self.place(file.fd, file.path, digest)
        file.path = ""

    def place(self, fd: int, path: str, digest: str) -> None:
        """Turn a whole file, which was verified, into a blob: sync it, then rename it."""
        target = self.path(digest)
        try:
            _mark(fd)
            os.fsync(fd)
            self._make_algorithm(os.path.dirname(target))
            os.rename(path, target)
            self._verified[digest] = _identity(fd)
            sync_directory(os.path.dirname(target))
        except OSError as error:
            raise ImageError(f"cannot store blob {digest}: {reason(error)}") from error

    def _make_algorithm(self, directory: str) -> None:
        """Make a directory below `blobs`. Raises OSError."""
        try:
            os.mkdir(directory)
        except FileExistsError:
            return
        sync_directory(f"{self.directory}/blobs")

    def touch_if_present(self, blob: Descriptor) -> bool:
        """Whether a blob is there, of its size, and not damaged; if so it counts as new.

        Nobody collects it then before it gets a name. Raises ImageError when it cannot be read.
        """
        verified = False
        while True:
            with self.locked(shared=True):
                if not self.has(blob.digest) or self.size(blob.digest) != blob.size:
                    return False
                if verified or os.lstat(self.path(blob.digest)).st_mtime_ns % 1_000_000_000 == MARK:
                    _mark(self.path(blob.digest))
                    return True
            if not self.intact(blob.digest):
                return False
            verified = True

    def intact(self, digest: str) -> bool:
        """Whether a blob is there and has this digest: all of it is read."""
        found = digests.new(digest)
        try:
            for block in self.blob(Descriptor("", digest, 0)):
                found.update(block)
        except ImageNotFound:
            return False
        return digest.endswith(f":{found.hexdigest()}")

    def is_verified(self, file: int, blob: Descriptor) -> bool:
        """Whether an open file is the blob that this process itself has hashed, and nobody has touched since.

        With soft updates UFS sets ctime once more when a rename has reached the disk: who then looks has to hash again.
        """
        return os.fstat(file).st_size == blob.size and self._verified.get(blob.digest) == _identity(file)

    @scope
    def reading(self, digest: str) -> Iterator[int]:
        """Yield a descriptor of a blob's file.

        When the context raises Corrupt because the blob is damaged, the next pull replaces it, and the error says so.
        """
        file = self.open(digest)
        try:
            yield file
        except Corrupt as error:
            self._doubt(digest, error)
            raise
        finally:
            os.close(file)

    def read(self, descriptor: Descriptor) -> bytes:
        """Return a manifest, index or config, verified. Raises Corrupt as `reading` does, ImageNotFound."""
        try:
            return super().read(descriptor)
        except Corrupt as error:
            self._doubt(descriptor.digest, error)
            raise

    def _doubt(self, digest: str, error: Corrupt) -> None:
        """Take a damaged blob's mark away, and add what to do to the error."""
        if self.intact(digest):
            return
        error.hint = error.hint or REMEDY
        try:
            os.utime(self.path(digest))
        except OSError:  # gone, or on a disk that cannot be written: then it cannot be fetched either
            pass

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Give content a name, which it may take from other content; "" is the one entry that may have none.

        Raises ImageNotFound when the content is not there.
        """
        with self.locked():
            if not self.has(descriptor.digest):
                raise ImageNotFound(f"{self.directory}: blob {descriptor.digest}")
            named = dict(unnamed(descriptor).annotations) | ({model.REF_NAME: name} if name else {})
            self._write_entries([*self._others(name), descriptor.replace(annotations=named)])

    def untag(self, name: str) -> None:
        """Take a name away; the content stays until `garbage_collect`. Raises ImageNotFound."""
        with self.locked():
            others = self._others(name)
            if len(others) == len(self.index().manifests):
                raise ImageNotFound(name)
            self._write_entries(others)

    def _others(self, name: str) -> list[Descriptor]:
        return [entry for entry in self.index().manifests if entry.annotations.get(model.REF_NAME, "") != name]

    def _write_entries(self, entries: list[Descriptor]) -> None:
        self._replace("index.json", self.index().replace(manifests=tuple(entries)).document())

    def _replace(self, name: str, document: dict[str, object]) -> None:
        """Write one of our two documents: beside, to disk, renamed."""
        beside = f"{self.directory}/.{name}.new"  # one at a time: the lock is held
        try:
            write_file(f"{self.directory}/{name}", model.encode(document), 0o644, beside, synced=True)
            sync_directory(self.directory)
        except OSError as error:
            unlink(beside)
            raise ImageError(f"cannot write {self.directory}/{name}: {reason(error)}") from error

    def garbage_collect(
        self,
        keep: Iterable[Descriptor] = (),
        grace: float = GRACE,
        among: Iterable[str] | None = None,
        *,
        partial: bool = False,
    ) -> tuple[list[str], int]:
        """Remove blobs that neither names nor `keep` lead to. Return their digests and how many bytes that freed.

        among: the digests in question, None for all. While other images come in, what is younger than `grace` seconds
        stays, because it may belong to them. Partial files stay as long in any case: they are what a pull resumes.
        partial: remove those as well, unless somebody writes them.
        """
        with self.locked(), Lock(f"{self.directory}/blobs", wait=False) as alone:
            before = time.time() - grace
            reachable = self.reachable([*self.index().manifests, *keep])
            removed, freed = [], 0
            for digest in self.digests() if among is None else filter(self.has, set(among)):
                found = os.lstat(self.path(digest))
                if digest not in reachable and (alone.held or found.st_mtime < before):
                    os.unlink(self.path(digest))
                    unlink(self.arrivals_path(digest))
                    removed.append(digest)
                    freed += found.st_size
            return removed, freed + self._sweep(time.time() + 1 if partial else before)

    def _sweep(self, before: float) -> int:
        """Remove old partial files that nobody writes. Return their bytes."""
        freed = 0
        for name in os.listdir(f"{self.directory}/ingest") if os.path.isdir(f"{self.directory}/ingest") else ():
            path = f"{self.directory}/ingest/{name}"
            try:
                with Lock(path, wait=False) as lock:
                    found = os.lstat(path)
                    if lock.held and found.st_mtime < before:
                        os.unlink(path)
                        freed += found.st_size
            except (OSError, ImageError):  # finished meanwhile
                continue
        return freed

    def digests(self) -> list[str]:
        """Return the digests of all blobs."""
        return [
            f"{algorithm}:{encoded}"
            for algorithm in digests.LENGTHS
            if os.path.isdir(f"{self.directory}/blobs/{algorithm}")
            for encoded in os.listdir(f"{self.directory}/blobs/{algorithm}")
            if len(encoded) == digests.LENGTHS[algorithm] and digests.HEXADECIMAL.issuperset(encoded)
        ]

    def reachable(self, roots: Iterable[Descriptor]) -> set[str]:
        """Return the digests that documents lead to. What is not here leads nowhere: one platform of many is enough."""
        found: set[str] = set()
        pending = list(roots)
        while pending:
            entry = pending.pop()
            if entry.digest in found:
                continue
            found.add(entry.digest)
            if entry.media_type in media_types.INDEXES + media_types.MANIFESTS and self.has(entry.digest):
                document = model.parse_manifest(self.read(entry), entry.media_type, f"blob {entry.digest}")
                pending += document.manifests if isinstance(document, Index) else (document.config, *document.layers)
        return found

    def lease(self) -> Lock:
        """Return a context in which garbage collection keeps new blobs although nothing names them yet."""
        return Lock(f"{self.directory}/blobs", shared=True)

    def arrivals_path(self, digest: str) -> str:
        """Return where is written down where a manifest came from: trust.records."""
        return f"{self.directory}/arrivals/{'-'.join(digests.parse(digest))}"

    def locked(self, *, shared: bool = False) -> Lock:
        """Return a context in which nobody else changes names."""
        return Lock(self.directory, shared=shared)


class Lock:
    """A lock on a file or directory that is there. held: whether we got it. wait: until we get it."""

    def __init__(self, path: str, *, shared: bool = False, wait: bool = True) -> None:
        self.path, self.shared, self.wait, self.held = path, shared, wait, False

    def __enter__(self) -> Lock:
        try:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ImageError(f"cannot open {self.path}: {reason(error)}") from error
        try:
            if self.wait:
                locks.lock(self.fd, self.shared)
            self.held = self.wait or locks.try_lock(self.fd, self.shared)
        except BaseException:
            os.close(self.fd)
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self.fd)


def _identity(file: int) -> tuple[int, ...]:
    """Return what differs for another file, or after a write: nobody can set ctime, the last of these, back."""
    found = os.fstat(file)
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def _mark(file: int | str) -> None:
    """Give a blob, which was verified, a new time that says so. Raises OSError."""
    os.utime(file, ns=(time.time_ns(), int(time.time()) * 1_000_000_000 + MARK))


def unlink(path: str) -> None:
    """Remove a file that may be gone."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
