"""Media types of manifests, configs and layers.

See image-spec media-types.md, docker's schema 2, ocicrypt.
"""

from __future__ import annotations

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER = "application/vnd.docker."
DOCKER_SCHEMA_1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)

INDEXES = (OCI_INDEX, DOCKER_LIST)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
ENCRYPTED = "+encrypted"  # always the last suffix
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
COMPRESSIONS = ("", "gzip", "zstd")


def is_encrypted(media_type: str) -> bool:
    """Whether a layer's content is ciphertext."""
    return media_type.endswith(ENCRYPTED)


def is_layer(media_type: str) -> bool:
    """Whether it is a tar layer, of OCI or docker, plain or encrypted, in a compression we read."""
    return layer_compression(media_type) is not None


def layer_compression(media_type: str) -> str | None:
    """Return "", "gzip" or "zstd" as the type claims (content is what counts), None when it is no tar layer."""
    plain = media_type.removesuffix(ENCRYPTED)
    for base, separator in ((OCI_LAYER, "+"), (OCI_FOREIGN, "+"), (DOCKER_LAYER, "."), (DOCKER_FOREIGN, ".")):
        if plain == base:
            return ""
        if plain.startswith(base + separator) and plain[len(base) + 1 :] in COMPRESSIONS[1:]:
            return plain[len(base) + 1 :]
    return None


def oci_layer(compression: str = "", *, encrypted: bool = False) -> str:
    """Return the OCI type of a layer in a compression: "", "gzip" or "zstd"."""
    return OCI_LAYER + (f"+{compression}" if compression else "") + (ENCRYPTED if encrypted else "")
