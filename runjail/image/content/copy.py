"""Images on their way into the store's content, and out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from runjail.errors import Corrupt, ImageError
from runjail.image import media_types, model, parallel, platform, resolve
from runjail.image.content.recompress import recompress
from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor, Index, Platform
from runjail.image.transport import Progress, Sink, Source

Read = Callable[[Descriptor], bytes]
Admit = Callable[[Sequence[Descriptor]], Callable[[], None]]
Sign = Callable[[Sink, Sequence[Descriptor]], None]
Arrived = Callable[[str], None]  # waits until what has this digest is there, whole

LARGEST_TOGETHER = 64 << 20  # bytes of all manifests and indexes of one image


def _silent(_descriptor: Descriptor, _count: int) -> None:
    """Progress nobody asked for."""


@dataclass(frozen=True)
class ImageGraph:
    """All that belongs to an image. documents: manifests and indexes with their bytes, inner ones first, the top last.

    blobs: layers and configs, each once.
    """

    documents: tuple[tuple[Descriptor, bytes], ...]
    blobs: tuple[Descriptor, ...]


def parts(read: Read, top: Descriptor) -> ImageGraph:
    """Read an image's documents and name its blobs. read: returns a document, verified. Raises ImageError, Corrupt."""
    documents: dict[str, tuple[Descriptor, bytes]] = {}
    blobs: dict[str, Descriptor] = {}
    left = LARGEST_TOGETHER
    for descriptor, content, inside in _walk(read, top, set(), platform.DEEPEST):
        documents.setdefault(descriptor.digest, (descriptor, content))
        left -= len(content)
        if left < 0:
            raise Corrupt(f"{top.digest}: its manifests are longer than {LARGEST_TOGETHER >> 20} MiB together")
        for blob in inside:
            blobs.setdefault(blob.digest, blob)
    return ImageGraph(tuple(documents.values()), tuple(blobs.values()))


def _walk(
    read: Read, top: Descriptor, seen: set[str], depth: int
) -> Iterator[tuple[Descriptor, bytes, tuple[Descriptor, ...]]]:
    """Yield (descriptor, bytes, blobs) of every document below `top`, each once, `top` last."""
    if top.digest in seen:
        return
    seen.add(top.digest)
    content = read(top)
    if top.media_type not in media_types.INDEXES + media_types.MANIFESTS:  # an index may name what we do not know
        yield top, content, ()
        return
    document = model.parse_manifest(content, top.media_type, f"manifest {top.digest}")
    if isinstance(document, Index):
        if not depth:
            raise Corrupt(f"index {top.digest}: indexes are nested deeper than {platform.DEEPEST} levels")
        for entry in document.manifests:
            yield from _walk(read, entry, seen, depth - 1)
        yield top, content, ()
    else:
        yield top, content, (document.config, *document.layers)


def copy_in(
    source: Source,
    content: ContentStore,
    name: str,
    *,
    platforms: Sequence[Platform] | None = None,
    jobs: int = 3,
    progress: Progress = _silent,
    meanwhile: Callable[[Descriptor, Arrived], None] | None = None,
    admit: Admit | None = None,
) -> Descriptor:
    """Bring an image into the content, under a name. Return what was named.

    name: "" for none, with the content's lease held by the caller, who uses the image at once. platforms: which image
    of an index, best first; None for all of them. Blobs that are there are not fetched, what an interrupted try left is
    resumed, and progress hears of both as of bytes that arrive. The name is written last.
    meanwhile: makes use of what comes before all of it is there: it is given what will be named, and a function that
    waits for a digest. When it fails, the rest is not fetched, and nothing is named.
    admit: told the manifests before anything is stored; it raises to refuse them. What it returns is called once they
    are there.
    Raises ImageError's family, and what `meanwhile` raises.
    """
    top = _top(source)
    if platforms is not None:
        top = platform.choose(source.document, top, platforms)
    found = parts(source.document, top)
    noted = admit([each for each, _ in found.documents if each.media_type in media_types.MANIFESTS]) if admit else None
    with content.lease():
        for descriptor, document in found.documents:
            _store(content, descriptor, document)
        if noted:
            noted()
        tasks = [_fetching(source, content, blob, progress) for blob in found.blobs]
        parallel.run(tasks, jobs, _using(meanwhile, top, found.blobs) if meanwhile else None)
        if name:
            resolve.every(content.read, name, top)  # what cannot be read later gets no name
            content.tag(name, top)
    return top


def _using(
    use: Callable[[Descriptor, Arrived], None], top: Descriptor, blobs: Sequence[Descriptor]
) -> Callable[[parallel.Wait], None]:
    numbers = {blob.digest: number for number, blob in enumerate(blobs)}

    def meanwhile(wait: parallel.Wait) -> None:
        def arrived(digest: str) -> None:
            if digest in numbers:  # documents are there already
                wait(numbers[digest])

        use(top, arrived)

    return meanwhile


def _top(source: Source) -> Descriptor:
    top = source.top()
    if top.media_type in media_types.DOCKER_SCHEMA_1:
        raise model.schema_1(f"manifest {top.digest}")
    if top.media_type not in media_types.INDEXES + media_types.MANIFESTS:
        raise ImageError(f"{top.media_type or 'something without media type'} is no image")
    return top


def _fetching(
    source: Source, content: ContentStore, blob: Descriptor, progress: Progress
) -> Callable[[parallel.Check], None]:
    def fetch(check: parallel.Check) -> None:
        resumed = False
        try:
            with content.ingest(blob, check) as file:
                resumed = 0 < file.offset < blob.size
                progress(blob, file.offset)
                if not file.complete:
                    for block in source.blob(blob, file.offset):
                        check()
                        file.write(block)
                        progress(blob, len(block))
        except Corrupt:
            if not resumed and not source.again(blob):
                raise
            fetch(check)  # what the interrupted try left may be damaged, e.g. by a power failure; it is gone now

    return fetch


def _store(content: ContentStore, descriptor: Descriptor, document: bytes) -> None:
    with content.ingest(descriptor) as file:
        if not file.complete:
            file.write(document[file.offset :])


def copy_out(
    content: ContentStore,
    image: str | Descriptor,
    sink: Sink,
    *,
    platforms: Sequence[Platform] | None = None,
    compression: str = "",
    level: int | None = None,
    jobs: int = 3,
    progress: Progress = _silent,
    added: set[str] | None = None,
    sign: Sign | None = None,
) -> Descriptor:
    """Write an image to a place, and close it. Return the descriptor of what is there now.

    image: a name or a descriptor. compression: "" leaves layers as they are; "gzip", "zstd" and "none" change
    those that are not encrypted, which makes a new manifest. added: gets the digests of blobs that were made for that,
    to be collected by a caller who holds the content's lease. sign: puts signatures of these manifests and indexes
    there, before anything has a name. Without success the sink is told to leave nothing.
    """
    made: set[str] = set() if added is None else added
    try:
        with content.lease():
            top = content.find(image) if isinstance(image, str) else image
            if platforms is not None:
                top = platform.choose(content.read, top, platforms)
            if compression:
                top = recompress(content, top, compression, level, made)
            found = parts(content.read, top)
            parallel.run([_putting(content, sink, blob, progress) for blob in found.blobs], jobs)
            _put_documents(sink, found, sign)
        sink.close()
    except BaseException:
        sink.abort()
        raise
    finally:
        if made and added is None:
            content.garbage_collect(among=made)
    return top


def _put_documents(sink: Sink, found: ImageGraph, sign: Sign | None) -> None:
    if sign:
        sign(sink, [descriptor for descriptor, _document in found.documents])
    for descriptor, document in found.documents:
        sink.put_document(descriptor, document, top=descriptor is found.documents[-1][0])


def _putting(
    content: ContentStore, sink: Sink, blob: Descriptor, progress: Progress
) -> Callable[[parallel.Check], None]:
    def put(check: parallel.Check) -> None:
        def report(descriptor: Descriptor, count: int) -> None:
            check()
            progress(descriptor, count)

        if sink.has(blob):
            progress(blob, blob.size)
            return
        with content.reading(blob.digest) as file:
            sink.put_blob(blob, file, report, known=content.is_verified(file, blob))

    return put
