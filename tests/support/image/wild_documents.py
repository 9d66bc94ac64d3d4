"""Configs, manifests and indexes as tools and years have left them behind. See shapes.py."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from runjail.image import media_types
from runjail.image.model import Descriptor, Platform
from tests.support.image.images import LINUX, Layout, digest_of, tar
from tests.support.image.shapes import Shape, again, manifest, plain

HELLO = {"hello": "world\n"}
Document = dict[str, Any]
Make = Callable[[Layout], object]


def configured(**members: Any) -> Make:
    """Return what makes an image whose config has these members; one that is None is left out."""

    def make(layout: Layout) -> None:
        data = tar(HELLO)
        blob = layout.blob(data, media_types.oci_layer())
        body: Document = {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["/hello"]}}
        body |= {"rootfs": {"type": "layers", "diff_ids": [blob.digest]}} | members
        kept = {key: value for key, value in body.items() if value is not None}
        layout.name("t", manifest(layout, layout.document(kept, media_types.OCI_CONFIG), [blob]))

    return make


def changed(**members: Any) -> Make:
    """Return what makes a usual image whose manifest has these members."""
    return lambda layout: again(layout, lambda document: document.update(members))


def each_layer(**members: Any) -> Make:
    """Return what makes a usual image whose layer's descriptor has these members."""
    return lambda layout: again(layout, lambda document: document["layers"][0].update(members))


def its_config(**members: Any) -> Make:
    """Return what makes a usual image whose config's descriptor has these members."""
    return lambda layout: again(layout, lambda document: document["config"].update(members))


def text(change: Callable[[str], str]) -> Make:
    """Return what makes a usual image whose manifest's text is changed."""

    def make(layout: Layout) -> None:
        made = layout.image(None)
        content = change(layout.file(made.digest).read_text()).encode()
        layout.name("t", layout.blob(content, media_types.OCI_MANIFEST))

    return make


def without_version(layout: Layout) -> None:
    """The number that every document has to begin with."""
    again(layout, lambda document: document.pop("schemaVersion") and None)


def indexed(*platforms: Platform | None) -> Make:
    """Return what makes an index of the same image for these platforms."""

    def make(layout: Layout) -> None:
        image = layout.image(None).replace(platform=None)
        layout.index("t", [image.replace(platform=each) if each else image for each in platforms])

    return make


def nested(layout: Layout) -> None:
    """An index of indexes."""
    layout.index("t", [layout.index(None, [layout.image(None)]).replace(platform=LINUX)])


def sha512(layout: Layout) -> None:
    """Digests of another algorithm that OCI knows."""
    (layout.path / "blobs" / "sha512").mkdir()

    def add(content: bytes, kind: str) -> Descriptor:
        digest = hashlib.sha512(content).hexdigest()
        (layout.path / "blobs" / "sha512" / digest).write_bytes(content)
        return Descriptor(kind, f"sha512:{digest}", len(content))

    layer = add(tar(HELLO), media_types.oci_layer())
    rootfs = {"type": "layers", "diff_ids": [digest_of(tar(HELLO))]}
    body = {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["/hello"]}, "rootfs": rootfs}
    layout.name("t", manifest(layout, add(json.dumps(body).encode(), media_types.OCI_CONFIG), [layer]))


DOCKER_ONLY = {
    "ArgsEscaped": True,
    "OnBuild": None,
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30000000000},
    "Shell": ["/bin/bash", "-c"],
    "AttachStdin": False,
    "Image": "sha256:0",
    "Hostname": "0123456789ab",
    "Domainname": "",
    "MacAddress": "",
}
EMPTY = {"created_by": "CMD", "empty_layer": True}
ARM = Platform("linux", "arm64", "v8")
DOCUMENTS: dict[str, Shape] = {
    "docker's own members of a config": Shape(plain(**DOCKER_ONLY)),
    "a history of more than its layers": Shape(configured(history=[{}, {}, {}, EMPTY])),
    "a history that is null": Shape(configured(history=[])),
    "a time that is empty": Shape(configured(created="")),
    "a time that is none": Shape(configured(created="yesterday")),
    "a time of the year 1": Shape(configured(created="0001-01-01T00:00:00Z")),
    "no platform": Shape(configured(os=None, architecture=None)),
    "an empty platform": Shape(configured(os="", architecture="")),
    "no os": Shape(configured(os=None)),
    "a variant nobody has": Shape(configured(variant="v99")),
    "another architecture": Shape(configured(architecture="s390x")),
    "no config at all": Shape(configured(config=None)),
    "a config of nothing": Shape(configured(config={})),
    "a command that is a text": Shape(plain(Cmd="/bin/sh")),
    "an entrypoint that is a text": Shape(plain(Entrypoint="/bin/sh")),
    "an empty word": Shape(plain(Entrypoint=[""])),
    "a directory that is relative": Shape(plain(WorkingDir="srv")),
    "a stop signal by number": Shape(plain(StopSignal="15")),
    "ports without protocol": Shape(plain(ExposedPorts={"80": {}, "53/udp": {}})),
    "a label of null": Shape(plain(Labels={"a": None})),
    "volumes as a list": Shape(plain(Volumes=["/data"])),
    "a variable with equals signs": Shape(plain(Env=["A=b=c", "PATH=/bin"])),
    "one variable twice": Shape(plain(Env=["A=b", "PATH=/bin", "A=c"])),
    "members nobody knows": Shape(configured(**{"moby.buildkit.buildinfo.v1": "e30=", "x": [1, {}]})),
    "a root of another type": Shape(configured(rootfs={"type": "snapshots", "diff_ids": [digest_of(tar(HELLO))]})),
    "fewer diffIDs than layers": Shape(configured(rootfs={"type": "layers", "diff_ids": []})),
    "a diffID of something else": Shape(configured(rootfs={"type": "layers", "diff_ids": [f"sha256:{'0' * 64}"]})),
    "a diffID in capitals": Shape(
        configured(rootfs={"type": "layers", "diff_ids": [digest_of(tar(HELLO)).upper().replace("SHA256", "sha256")]})
    ),
    "a manifest with annotations of null": Shape(changed(annotations=None)),
    "a manifest without schemaVersion": Shape(without_version),
    "a schemaVersion that is a text": Shape(changed(schemaVersion="2")),
    "a manifest with an artifactType": Shape(changed(artifactType="application/vnd.example.image")),
    "a manifest with members nobody knows": Shape(changed(moby={"a": [1]}, history=[])),
    "a manifest without layers": Shape(changed(layers=[])),
    "a manifest of another media type": Shape(changed(mediaType="application/json")),
    "a manifest with one member twice": Shape(text(lambda found: found.replace("{", '{"schemaVersion": 2, ', 1))),
    "a manifest that begins with a mark": Shape(text(lambda found: "\ufeff" + found)),
    "a manifest that ends in newlines": Shape(text(lambda found: found + "\n\n")),
    "a manifest that is pretty": Shape(text(lambda found: json.dumps(json.loads(found), indent=3))),
    "a layer that may not be distributed": Shape(
        each_layer(mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
    ),
    "docker's foreign layer": Shape(each_layer(mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")),
    "a layer of no type": Shape(each_layer(mediaType="")),
    "a layer of a type nobody knows": Shape(each_layer(mediaType="application/x-tar")),
    "a layer with a wrong size": Shape(each_layer(size=7)),
    "a layer with annotations of null": Shape(each_layer(annotations=None)),
    "a layer with data in place": Shape(each_layer(data="aGVsbG8=")),
    "a config of docker's type": Shape(its_config(mediaType=media_types.DOCKER_CONFIG)),
    "a config of no type": Shape(its_config(mediaType="")),
    "a config with a wrong size": Shape(its_config(size=7)),
    "digests of SHA-512": Shape(sha512),
    "an index of an index": Shape(nested),
    "an index without platforms": Shape(indexed(None)),
    "an index of one platform twice": Shape(indexed(LINUX, LINUX)),
    "an index of other platforms": Shape(indexed(ARM)),
    "an index of nothing": Shape(indexed()),
}
