"""An image on its way into a registry."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode

from runjail.errors import Corrupt, ImageError, ImageNotFound, RegistryError
from runjail.image import digest as digests
from runjail.image import model
from runjail.image.model import Descriptor, Index, Manifest
from runjail.image.registry import referrers
from runjail.image.registry.client import Registry
from runjail.image.registry.connections import Answer
from runjail.image.registry.endpoint import Call
from runjail.image.registry.request_body import RequestBody, UploadProgress
from runjail.image.registry.retry import Temporary
from runjail.image.registry.source import RegistrySource
from runjail.image.transport import Progress

BOTH = "pull,push"
STREAM = {"Content-Type": "application/octet-stream"}
CHUNK = 16 << 20  # bytes, where a server does not take a blob at once, and does not ask for more
UNABLE = (405, 413, 501)  # to take a blob at once


class RegistrySink:
    """One reference of a repository; a `transport.Sink`. Closing it closes the registry.

    reference: a tag, or "" for an image that is known by its digest only. mount_from: repositories of the same registry
    that may have the blobs already.
    """

    def __init__(self, registry: Registry, repository: str, reference: str, mount_from: tuple[str, ...] = ()) -> None:
        self._registry, self._repository, self._reference = registry, repository, reference
        self._mount_from = tuple(name for name in mount_from if name != repository)
        self._endpoint = registry.endpoint
        self._in_chunks, self._chunk = False, CHUNK

    def sibling(self, reference: str) -> RegistrySink:
        """Return another reference of the same repository, in the same registry. Only one of them is to be closed."""
        return RegistrySink(self._registry, self._repository, reference)

    def source(self, reference: str) -> RegistrySource:
        """Return the same to read from."""
        return RegistrySource(self._registry, self._repository, reference)

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the repository has a blob of this digest and size. Raises RegistryError."""
        call = self._call(descriptor.digest, "HEAD", f"blobs/{descriptor.digest}", accept=(200, 404))
        answer = self._endpoint.finish(call)
        return answer.status == 200 and answer.header("content-length") in ("", str(descriptor.size))

    def put_blob(self, descriptor: Descriptor, content: int, progress: Progress, *, known: bool = False) -> None:
        """Mount a blob from another repository, or upload it from an open file, from scratch after each failure.

        The registry verifies what it gets; whose digest is not known is hashed here too, to say which side is wrong.
        Raises Corrupt when the file is not what the descriptor says, RegistryError.
        """
        size = os.fstat(content).st_size
        if size != descriptor.size:
            raise Corrupt(f"{descriptor.digest}: the file has {size} bytes, not {descriptor.size}")
        meter = UploadProgress(descriptor, progress)
        session = self._mount(descriptor)
        if session is None:
            meter(size)
            return

        def work() -> None:
            nonlocal session
            url, session = session or self._begin(descriptor), ""
            try:
                self._upload(url, descriptor, content, meter, "" if known else descriptor.digest)
            except Exception:
                self._cancel(url)
                raise

        self._endpoint.retry.run(work)

    def put_document(self, descriptor: Descriptor, content: bytes, *, top: bool) -> None:
        """Store an index or manifest: the named one under our reference, others under their digest.

        Where the registry does not say that it has noted what it refers to, we do (registry.referrers).
        """
        answer = self._put(descriptor, content, top=top)
        what = f"{self._repository}@{descriptor.digest}"
        if not answer.header("oci-subject") and (subject := referrers.subject(content, what)):
            self._note_referrer(subject, descriptor, model.parse_manifest(content, descriptor.media_type, what))

    def _put(self, descriptor: Descriptor, content: bytes, *, top: bool) -> Answer:
        what = f"{self._repository}@{descriptor.digest}"
        if len(content) != descriptor.size:
            raise Corrupt(f"{what}: {len(content)} bytes, not {descriptor.size}")
        digests.verify(content, descriptor.digest, what)
        reference = (top and self._reference) or descriptor.digest
        headers = {"Content-Type": descriptor.media_type}
        call = self._call(reference, "PUT", f"manifests/{reference}", headers, content, accept=(200, 201))
        answer = self._endpoint.finish(call)
        self._check_digest(answer, descriptor)
        return answer

    def _note_referrer(self, subject: str, descriptor: Descriptor, document: Index | Manifest) -> None:
        tag = referrers.tag(subject)
        there = self.source(tag)
        try:
            before = referrers.parse(there.document(there.top()), f"{self._repository}:{tag}")
        except ImageNotFound:
            before = referrers.EMPTY
        listed = referrers.added(before, descriptor, document)
        if listed is not before:
            content = model.encode(listed.document())
            written = Descriptor(listed.media_type, digests.of(content), len(content))
            self.sibling(tag)._put(written, content, top=True)  # whatever the list refers to: it is the registry's

    def close(self) -> None:
        """Close connections: the top document was the commit."""
        self._registry.close()

    def abort(self) -> None:
        """Close connections. Nothing appeared under the name; the registry sweeps blobs that nothing refers to."""
        self._registry.close()

    # Uploads -----------------------------------------------------------------------------------------------------

    def _mount(self, descriptor: Descriptor) -> str | None:
        """Ask for the blob of another repository. None: it is here now; else an upload's URL, "" without one."""
        session = ""
        for source in self._mount_from:
            if session:
                self._cancel(session)
                session = ""
            query = urlencode({"mount": descriptor.digest, "from": source})
            try:
                answer = self._start(descriptor, f"blobs/uploads/?{query}", (source,), (201, 202))
            except ImageError:  # we may not read there; uploading tells whether we may write here
                continue
            if answer.status == 201:
                return None
            session = self._location(answer)
        return session

    def _begin(self, descriptor: Descriptor) -> str:
        algorithm = digests.parse(descriptor.digest)[0]
        query = "" if algorithm == "sha256" else "?" + urlencode({"digest-algorithm": algorithm})
        answer = self._start(descriptor, f"blobs/uploads/{query}", (), (202,))
        least = answer.header("oci-chunk-min-length")
        if least.isdecimal():
            self._chunk = max(CHUNK, int(least[:12]))
        return self._location(answer)

    def _start(self, descriptor: Descriptor, path: str, sources: tuple[str, ...], accept: tuple[int, ...]) -> Answer:
        call = self._call(descriptor.digest, "POST", path, body=b"", accept=accept)
        return self._endpoint.finish(replace(call, sources=sources))

    def _upload(self, url: str, descriptor: Descriptor, content: int, meter: UploadProgress, digest: str) -> None:
        """Send the whole blob into an upload. digest: as of RequestBody.

        Raises Temporary for what may pass with a new one.
        """
        if self._in_chunks:
            url = self._send_chunks(url, descriptor, content, meter)
            body: RequestBody | bytes = b""
        else:
            body = RequestBody(content, 0, descriptor.size, meter, digest)
        path = url + ("&" if "?" in url else "?") + urlencode({"digest": descriptor.digest})
        try:
            call = self._call(descriptor.digest, "PUT", path, STREAM, body, accept=(201,))
            answer = self._endpoint.exchange(call)
        except RegistryError as error:
            if error.status in UNABLE and not self._in_chunks:
                self._in_chunks = True
                raise Temporary(error, 0) from None
            if error.status == 404:  # the upload is gone: a registry that was started again forgets them
                raise Temporary(error) from None
            raise
        answer.drain()
        self._check_digest(answer, descriptor)

    def _send_chunks(self, url: str, descriptor: Descriptor, content: int, meter: UploadProgress) -> str:
        """Send the blob in pieces; the registry verifies the whole. Returns where to close the upload."""
        for start in range(0, descriptor.size, self._chunk):
            length = min(self._chunk, descriptor.size - start)
            headers = {**STREAM, "Content-Range": f"{start}-{start + length - 1}"}
            body = RequestBody(content, start, length, meter)
            answer = self._endpoint.exchange(self._call(descriptor.digest, "PATCH", url, headers, body, accept=(202,)))
            answer.drain()
            url = self._location(answer)
        return url

    def _cancel(self, url: str) -> None:
        try:
            self._endpoint.exchange(self._call("upload", "DELETE", url, accept=(200, 202, 204, 404))).drain()
        except (ImageError, Temporary):  # it was only tidying up
            pass

    # Words -------------------------------------------------------------------------------------------------------

    def _call(
        self,
        reference: str,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | RequestBody | None = None,
        *,
        accept: tuple[int, ...],
    ) -> Call:
        what = self._repository + ("@" if ":" in reference else ":") + reference
        return Call(what, method, self._repository, path, headers or {}, body, actions=BOTH, accept=accept)

    def _location(self, answer: Answer) -> str:
        try:
            return str(answer.join(answer.header("location")))
        except ValueError as error:
            why = f"an upload without a location that can be used: {error}"
            raise RegistryError(f"registry {self._registry.host}: {self._repository}: {why}") from None

    def _check_digest(self, answer: Answer, descriptor: Descriptor) -> None:
        stored = answer.header("docker-content-digest")
        if stored not in ("", descriptor.digest):
            raise Corrupt(f"registry {self._registry.host}: stored {stored[:100]!r} instead of {descriptor.digest}")
