"""Images in the shapes that tools and years have left behind: users, odd configs, artifacts.

Every function adds an image named `t` to a layout. What becomes of it here and elsewhere stands in docs/wild-images.md.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runjail.image import media_types
from runjail.image.model import Descriptor
from tests.support.image.images import LINUX, Layout, tar

USERS = {
    "etc": None,
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n",
    "etc/group": "root:x:0:root\nbin:x:1:root,daemon\nwheel:x:10:root,app\napp:x:1000:\n",
}


@dataclass(frozen=True)
class Shape:
    """How to make an image. process: members of config.json's process that must come out."""

    make: Callable[[Layout], object]
    process: Mapping[str, Any] = field(default_factory=dict)


def plain(**run: Any) -> Callable[[Layout], object]:
    """Return what makes an image whose config says this beside its command."""
    return lambda layout: layout.image("t", [USERS, {"bin": None, "bin/sh": "#!"}], run={"Cmd": ["/bin/sh"], **run})


def bare_config(layout: Layout) -> None:
    """No history, no author, no time: what a few lines of shell make."""
    data = tar({"hello": "world\n"})
    blob = layout.blob(data, media_types.oci_layer())
    body = {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["/hello"]}}
    config = layout.document({**body, "rootfs": {"type": "layers", "diff_ids": [blob.digest]}}, media_types.OCI_CONFIG)
    layout.name("t", manifest(layout, config, [blob]))


def manifest(layout: Layout, config: Descriptor, layers: list[Descriptor], **more: Any) -> Descriptor:
    """Add a manifest, with other members by keyword."""
    body = {"config": config.document(), "layers": [layer.document() for layer in layers], **more}
    return layout.document(
        {"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, **body}, media_types.OCI_MANIFEST
    )


def again(layout: Layout, change: Callable[[dict[str, Any]], None]) -> None:
    """Add a usual image whose manifest is changed before it is written."""
    made = layout.image(None)
    document = json.loads(layout.file(made.digest).read_bytes())
    change(document)
    layout.name("t", layout.document(document, document.get("mediaType", media_types.OCI_MANIFEST)))


def without_media_type(layout: Layout) -> None:
    """OCI made the member optional, and tools of 2017 to 2021 left it out."""
    again(layout, lambda document: document.pop("mediaType") and None)


def with_subject(layout: Layout) -> None:
    """OCI 1.1: an image that says what it belongs to, and of which type it is."""
    empty = layout.document({}, "application/vnd.oci.empty.v1+json")
    more = {"subject": empty.document(), "artifactType": "application/vnd.example", "annotations": {"a": "b"}}
    again(layout, lambda document: document.update(more))


def with_urls(layout: Layout) -> None:
    """A layer that may also be fetched elsewhere, as Windows' base layers; it is here as well."""
    again(layout, lambda document: document["layers"][0].update(urls=["https://example.org/layer"]))


def with_docker_types(layout: Layout) -> None:
    """Docker's schema 2 in an OCI layout: containerd imports it, and exports it so."""

    def change(document: dict[str, Any]) -> None:
        document["mediaType"] = media_types.DOCKER_MANIFEST
        document["config"]["mediaType"] = media_types.DOCKER_CONFIG
        document["layers"][0]["mediaType"] = media_types.DOCKER_LAYER + ".gzip"

    again(layout, change)


def with_attestation(layout: Layout) -> None:
    """What buildx makes: an index with an SBOM or provenance beside the image. umoci does not choose from an index."""
    image = layout.image(None)
    config = layout.document({}, media_types.OCI_CONFIG)
    statement = layout.document({"_type": "https://in-toto.io/Statement/v0.1"}, "application/vnd.in-toto+json")
    unknown = LINUX.replace(os="unknown", architecture="unknown")
    layout.index("t", [image, manifest(layout, config, [statement]).replace(platform=unknown)])


def aufs(layout: Layout) -> None:
    """AUFS left its own notes in layers of 2013 to 2016."""
    layout.image("t", [{".wh..wh.plnk": None, ".wh..wh.plnk/1.2": "x", ".wh..wh.aufs": "", "hello": "world\n"}])


def schema_1(layout: Layout) -> None:
    """What registries served before 2016."""
    kind = "application/vnd.docker.distribution.manifest.v1+json"
    body = {"schemaVersion": 1, "name": "a", "tag": "t", "architecture": "amd64", "fsLayers": [], "history": []}
    layout.name("t", layout.document(body, kind))


def chart(layout: Layout) -> None:
    """A Helm chart: an artifact, not an image."""
    config = layout.document({"name": "web"}, "application/vnd.cncf.helm.config.v1+json")
    layer = layout.blob(b"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    layout.name("t", manifest(layout, config, [layer]))


ROOT = {"uid": 0, "gid": 0, "additionalGids": [0, 1, 10]}
SHAPES: dict[str, Shape] = {
    "a variable without a value": Shape(
        plain(Env=["PATH=/bin", "DEBUG"]), process={"env": ["PATH=/bin", "HOME=/root"]}
    ),
    "a variable without a name": Shape(plain(Env=["=x"])),
    "null for what is not said": Shape(
        plain(Env=None, Entrypoint=None, Volumes=None, Labels=None, WorkingDir=None, User=None, ExposedPorts=None)
    ),
    "empty for what is not said": Shape(plain(Env=[], Entrypoint=[], Volumes={}, Labels={}, WorkingDir="", User="")),
    "names in another case": Shape(lambda layout: layout.image("t", run={"cmd": ["/bin/sh"], "ENV": ["A=b"]})),
    "no user": Shape(plain(), process={"user": ROOT}),
    "a user by number": Shape(
        plain(User="1000"), process={"user": {"uid": 1000, "gid": 1000, "additionalGids": [1000, 10]}}
    ),
    "a user with a group": Shape(
        plain(User="app:wheel"), process={"user": {"uid": 1000, "gid": 10, "additionalGids": [10]}}
    ),
    "a user that the image does not have": Shape(plain(User="nobody")),
    "a config of five members": Shape(bare_config),
    "a manifest without a media type": Shape(without_media_type),
    "a manifest with a subject": Shape(with_subject),
    "a layer with urls": Shape(with_urls),
    "docker's media types": Shape(with_docker_types),
    "an attestation beside it": Shape(with_attestation),
    "notes of AUFS": Shape(aufs),
    "docker's schema 1": Shape(schema_1),
    "a Helm chart": Shape(chart),
}
