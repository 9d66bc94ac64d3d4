"""An image in a registry, to be pulled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from runjail.errors import Corrupt, ImageError, ImageNotFound, RegistryError
from runjail.image import digest as digests
from runjail.image import media_types, model
from runjail.image.model import Descriptor
from runjail.image.registry import referrers
from runjail.image.registry.client import Registry
from runjail.image.registry.connections import Answer
from runjail.image.registry.endpoint import Call, Endpoint
from runjail.image.registry.retry import Failures, Temporary

ACCEPT = ", ".join((*media_types.MANIFESTS, *media_types.INDEXES))
VAGUE = ("", "application/json", "application/octet-stream", "text/plain")  # what servers call what they do not know
PROGRESS = 1 << 20  # bytes after which a connection that broke is as good as one that never did
NO_RANGES = (400, 403, 405, 416, 501)  # what servers answer that cannot send the rest of a blob, or will not


class RegistrySource:
    """One reference, a tag or a digest, of a repository; a `transport.Source`. Closing it closes the registry."""

    def __init__(self, registry: Registry, repository: str, reference: str) -> None:
        self._registry, self._repository, self._reference = registry, repository, reference
        self._top: tuple[Descriptor, bytes] | None = None
        self._mirrored: dict[str, list[Endpoint]] = {}  # the mirrors that sent something of a blob

    def top(self) -> Descriptor:
        """Return the descriptor of what the reference names now; asked once.

        Raises ImageNotFound, Corrupt for content that is not what its digest or its type says, RegistryError.
        """
        if self._top is None:
            self._top = self._registry.read(self._read_top)
        return self._top[0]

    def _read_top(self, endpoint: Endpoint) -> tuple[Descriptor, bytes]:
        answer, content = endpoint.fetch(self._manifest(self._reference), model.LARGEST)
        announced = answer.header("docker-content-digest")
        known = self._reference if ":" in self._reference else announced
        name = self._name(self._reference)
        if known:
            digests.verify(content, known, name)
        kind = answer.header("content-type").partition(";")[0].strip().lower()
        if kind not in (*VAGUE, *media_types.MANIFESTS, *media_types.INDEXES):
            raise ImageError(f"{name}: media type {kind[:100]} is not supported")
        document = model.parse_manifest(content, "" if kind in VAGUE else kind, name)
        return Descriptor(document.media_type, known or digests.of(content), len(content)), content

    def document(self, descriptor: Descriptor) -> bytes:
        """Return a manifest, index or config whose size and digest are right. Raises ImageNotFound, Corrupt, ..."""
        top, content = self._top or (None, b"")
        if top and top.digest == descriptor.digest and top.size == descriptor.size:
            return content
        if descriptor.size > model.LARGEST:
            raise Corrupt(f"{self._name(descriptor.digest)}: longer than {model.LARGEST >> 20} MiB")
        return self._registry.read(lambda endpoint: self._read_document(endpoint, descriptor))

    def _read_document(self, endpoint: Endpoint, descriptor: Descriptor) -> bytes:
        manifest = descriptor.media_type in (*media_types.MANIFESTS, *media_types.INDEXES)
        call = self._manifest(descriptor.digest) if manifest else self._blob(descriptor)
        _answer, content = endpoint.fetch(call, model.LARGEST)
        if len(content) != descriptor.size:
            raise Corrupt(f"{call.what}: {len(content)} bytes, not {descriptor.size}")
        digests.verify(content, descriptor.digest, call.what)
        return content

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """Yield a blob from an offset on, as one stream however often connections break; not verified.

        Raises Corrupt when it is longer than announced, ImageNotFound, RegistryError.
        """
        digests.parse(descriptor.digest)
        download = _Download(self._blob(descriptor), descriptor.size, offset)
        mirrors, last = self._registry.places()
        for mirror in mirrors:
            try:
                for block in download.blocks(mirror):
                    self._note(descriptor, mirror)
                    yield block
                return
            except ImageError as error:
                self._registry.pass_over(mirror, error)
        yield from download.blocks(last)

    def _note(self, descriptor: Descriptor, mirror: Endpoint) -> None:
        senders = self._mirrored.setdefault(descriptor.digest, [])
        if mirror not in senders:
            senders.append(mirror)

    def sibling(self, reference: str) -> RegistrySource:
        """Return another reference of the same repository, in the same registry. Only one of them is to be closed."""
        return RegistrySource(self._registry, self._repository, reference)

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """Return the manifests that refer to a manifest (distribution-spec, Listing Referrers; one page of them).

        Registries without that list have it under a tag. Raises RegistryError, Corrupt.
        """
        what = f"{self._name(digest)}, what refers to it"
        call = Call(what, "GET", self._repository, f"referrers/{digest}", {"Accept": media_types.OCI_INDEX})
        try:
            content = self._registry.read(lambda endpoint: endpoint.fetch(call, model.LARGEST))[1]
        except ImageNotFound:
            listed = self.sibling(referrers.tag(digest))
            try:
                content = listed.document(listed.top())
            except ImageNotFound:
                return ()
        return referrers.parse(content, what).manifests

    def again(self, descriptor: Descriptor) -> bool:
        """Whether another server may have a blob right that arrived corrupt: another than the mirrors that sent it."""
        senders = self._mirrored.pop(descriptor.digest, [])
        for mirror in senders:
            wrong = Corrupt(f"{mirror.host}: {self._name(descriptor.digest)}: other content than its digest says")
            self._registry.pass_over(mirror, wrong)
        return bool(senders)

    def close(self) -> None:
        """Close connections."""
        self._registry.close()

    def _name(self, reference: str) -> str:
        return self._repository + ("@" if ":" in reference else ":") + reference

    def _manifest(self, reference: str) -> Call:
        path = f"manifests/{reference}"
        return Call(self._name(reference), "GET", self._repository, path, {"Accept": ACCEPT})

    def _blob(self, descriptor: Descriptor) -> Call:
        path = f"blobs/{descriptor.digest}"
        return Call(self._name(descriptor.digest), "GET", self._repository, path, accept=(200, 206))


class _Download:
    """One blob on its way: how far it has come survives connections and servers."""

    def __init__(self, call: Call, size: int, position: int) -> None:
        self._call, self._size, self._position, self._ranges = call, size, position, True

    def blocks(self, endpoint: Endpoint) -> Iterator[bytes]:
        """Yield the rest, resumed after each break until there were too many without much between them."""
        failures, since = Failures(endpoint.retry), self._position
        while self._position < self._size:
            start = endpoint.retry.clock()
            try:
                yield from self._connection(endpoint)
            except Temporary as lost:
                if self._position - since >= PROGRESS:
                    failures = Failures(endpoint.retry)
                since = self._position
                failures.add(lost, endpoint.retry.clock() - start)

    def _connection(self, endpoint: Endpoint) -> Iterator[bytes]:
        """Yield what one connection brings."""
        start = self._position
        call, answer = self._call, self._ask(endpoint, start)
        try:
            skip = start - self._check_start(answer)
            for block in answer.blocks():
                useful = block[skip:] if skip else block
                skip -= len(block) - len(useful)
                if len(useful) > self._size - self._position:
                    raise Corrupt(f"{call.what}: longer than {self._size} bytes")
                self._position += len(useful)
                if useful:
                    yield useful
        finally:
            answer.close()
        if self._position < self._size:
            raise Temporary(RegistryError(f"{call.what}: ends after {self._position} of {self._size} bytes"))

    def _ask(self, endpoint: Endpoint, start: int) -> Answer:
        """Ask for the blob from a byte on, and for all of it where that is refused."""
        if start and self._ranges:
            try:
                return endpoint.exchange(replace(self._call, headers={"Range": f"bytes={start}-"}))
            except RegistryError as error:
                if error.status not in NO_RANGES:
                    raise
                self._ranges = False
        return endpoint.exchange(self._call)

    def _check_start(self, answer: Answer) -> int:
        """Return at which byte an answer starts. Raises Corrupt when it tells of another blob than ours."""
        if answer.status == 200:  # everything, asked for or not
            length = answer.header("content-length") or str(self._size)
            if length != str(self._size):
                raise Corrupt(f"{self._call.what}: {length[:20]} bytes, not {self._size}")
            return 0
        stretch = answer.header("content-range")
        if not stretch.startswith(f"bytes {self._position}-") or stretch.rpartition("/")[2] not in (
            "*",
            str(self._size),
        ):
            wanted = f"bytes {self._position}-{self._size - 1}/{self._size}"
            raise Corrupt(f"{self._call.what}: answered with {stretch[:60]!r}, not {wanted}")
        return self._position
