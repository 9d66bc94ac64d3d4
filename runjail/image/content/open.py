"""From a name to the source or sink behind it."""

from __future__ import annotations

from runjail.errors import UsageError
from runjail.image.reference import Reference
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from runjail.image.registry.client import Registry
    from runjail.image.registry.registries_conf import Registries
    from runjail.image.transport import Sink, Source


class RegistryOptions(Record):
    """How registries are reached. registries: of runjail.toml, by host. authfile: "" for the usual places.

    conf: returns what containers' registries.conf says.
    """

    conf: Callable[[], Registries]
    authfile: str = ""
    insecure: bool = False
    registries: Mapping[str, Mapping[str, Any]] = {}


def source(reference: Reference, access: RegistryOptions) -> Source:
    """Return where an image comes from. Raises ImageError, UsageError for a place that one cannot take images from."""
    if local := _local(reference.kind):
        return local[0](reference.path, reference.tag)
    if reference.kind == "registry":
        from runjail.image.registry.source import RegistrySource

        return RegistrySource(_registry(reference, access), reference.repository, reference.digest or reference.tag)
    raise UsageError(f"{reference.name}: a root file system is imported, it is no image", "runjail image import")


def sink(reference: Reference, access: RegistryOptions, mount_from: Sequence[str] = ()) -> Sink:
    """Return where an image goes. mount_from: repositories of the same registry that may have its blobs."""
    if local := _local(reference.kind):
        return local[1](reference.path, reference.tag)
    if reference.kind == "registry":
        from runjail.image.registry.sink import RegistrySink

        name = reference.digest or reference.tag
        registry = _registry(reference, access, reading=False)
        return RegistrySink(registry, reference.repository, name, mount_from=tuple(mount_from))
    raise UsageError(f"{reference.name}: images cannot be written there")


def _local(kind: str) -> tuple[Callable[[str, str], Source], Callable[[str, str], Sink]] | None:
    """Return what reads and what writes a place on this machine, of a path and a tag; None for another place."""
    if kind == "oci":
        from runjail.image.content.oci_layout import LayoutSink, LayoutSource

        return LayoutSource, LayoutSink
    if kind == "oci-archive":
        from runjail.image.content.oci_archive import ArchiveSink, ArchiveSource

        return ArchiveSource, ArchiveSink
    if kind == "docker-archive":
        from runjail.image.content.docker_archive import DockerArchiveSink, DockerArchiveSource

        return DockerArchiveSource, DockerArchiveSink
    return None


def _registry(reference: Reference, access: RegistryOptions, *, reading: bool = True) -> Registry:
    """Return a registry. reading: also from mirrors; who writes looks at nothing but what it changes."""
    from runjail.image.registry import places
    from runjail.image.registry.client import Registry
    from runjail.image.registry.credentials import CredentialStore

    conf = access.conf()
    found = places.find(reference, conf, access.registries, insecure=access.insecure)
    return Registry(
        reference.host,
        insecure=found.named.insecure,
        mirrors=found.mirrors if reading else (),
        location=found.itself if reading and found.itself != found.named else None,
        keyring=CredentialStore(access.authfile, helpers=conf.helpers),
    )
