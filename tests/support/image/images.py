"""Small images for tests, made with Python's own tar and gzip rather than with what is being tested."""

import gzip
import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import RunjailError
from runjail.image import media_types, model
from runjail.image.content.copy import copy_in
from runjail.image.content.store import ContentStore
from runjail.image.layers.compression import compressor
from runjail.image.model import REF_NAME, Descriptor, Platform

LINUX, FREEBSD = Platform("linux", "amd64"), Platform("freebsd", "amd64")
CREATED = "2024-01-02T03:04:05Z"

Files = Mapping[str, "str | bytes | tarfile.TarInfo | None"]


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tar(files: Files) -> bytes:
    """Return a tar file: text or bytes are files, None is a directory, a TarInfo is what it says (a link, a device)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
            else:
                data = content.encode() if isinstance(content, str) else content
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """Return an entry for `tar`: a symbolic link, or a hard one."""
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def compress(content: bytes, kind: str) -> bytes:
    """Compress. kind: "gzip", "zstd", "xz" or ""; zstd skips the test where nothing has it."""
    if kind == "gzip":
        return gzip.compress(content, mtime=0)
    if kind == "xz":
        return lzma.compress(content)
    if kind == "zstd":
        need_zstd()
        packer = compressor("zstd")
        return packer.update(content) + packer.finish()
    return content


def need_zstd() -> None:
    """Skip the test where neither Python nor the system has zstd."""
    try:
        compressor("zstd")
    except RunjailError as error:
        pytest.skip(str(error))


class Layout:
    """An OCI layout that grows: `image` adds images, `index` puts several under one name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[dict[str, Any]] = []
        (path / "blobs" / "sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="utf-8")
        self._write()

    def _write(self) -> None:
        index = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": self.entries}
        (self.path / "index.json").write_text(json.dumps(index), encoding="utf-8")

    def blob(self, content: bytes, media_type: str = "") -> Descriptor:
        """Add a blob."""
        digest = digest_of(content)
        self.file(digest).write_bytes(content)
        return Descriptor(media_type, digest, len(content))

    def file(self, digest: str) -> Path:
        """Return where a blob is."""
        return self.path / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def document(self, content: Any, media_type: str) -> Descriptor:
        """Add a JSON document as a blob."""
        return self.blob(json.dumps(content).encode(), media_type)

    def name(self, name: str, descriptor: Descriptor) -> Descriptor:
        """Add an entry to index.json; name: "" for none."""
        entry = descriptor.document()
        if name:
            entry["annotations"] = {**entry.get("annotations", {}), REF_NAME: name}
        self.entries.append(entry)
        self._write()
        return descriptor

    def image(
        self,
        name: str | None,
        layers: Sequence[Files] = ({"hello": "world\n"},),
        *,
        platform: Platform = LINUX,
        compression: str = "gzip",
        run: Mapping[str, Any] | None = None,
        said: bool = True,
        **config: Any,
    ) -> Descriptor:
        """Add an image of these layers. name: None for an image that an index will name.

        run: the `config` of its config, other members by keyword. said: whether the entry says its platform.
        """
        tars = [tar(files) for files in layers]
        blobs = [self.blob(compress(content, compression), media_types.oci_layer(compression)) for content in tars]
        document = {
            "os": platform.os,
            "architecture": platform.architecture,
            **({"variant": platform.variant} if platform.variant else {}),
            **({"os.version": platform.os_version} if platform.os_version else {}),
            "created": CREATED,
            "config": {"Cmd": ["/bin/sh"]} if run is None else dict(run),
            "rootfs": {"type": "layers", "diff_ids": [digest_of(content) for content in tars]},
            **config,
        }
        described = self.document(document, media_types.OCI_CONFIG)
        body = {"config": described.document(), "layers": [blob.document() for blob in blobs]}
        manifest = self.document(
            {"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, **body}, media_types.OCI_MANIFEST
        )
        if said:
            manifest = manifest.replace(platform=platform)
        return manifest if name is None else self.name(name, manifest)

    def index(self, name: str | None, manifests: Sequence[Descriptor]) -> Descriptor:
        """Add an index of images."""
        body = {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": [entry.document() for entry in manifests],
        }
        index = self.document(body, media_types.OCI_INDEX)
        return index if name is None else self.name(name, index)

    def archive(self, path: Path, compression: str = "") -> Path:
        """Write all of it as a tar file, e.g. FreeBSD's `.txz`."""
        files: dict[str, str | bytes | tarfile.TarInfo | None] = {}
        for found in sorted(self.path.rglob("*")):
            name = f"./{found.relative_to(self.path)}"
            files[name] = None if found.is_dir() else found.read_bytes()
        path.write_bytes(compress(tar(files), compression))
        return path


def freebsd_official(directory: Path) -> Path:
    """Return an archive as FreeBSD's make-oci-image.sh writes it: xz, no platform in the index, lower-case `cmd`."""
    layout = Layout(directory / "official")
    run = {"cmd": ["/bin/sh"]}
    layout.image("freebsd-runtime:15.0-release-amd64", platform=FREEBSD, run=run, said=False)
    return layout.archive(directory / "FreeBSD-15.0-RELEASE-amd64-container-image-runtime.txz", "xz")


def take(archive: Any, content: ContentStore, name: str = "n") -> model.Manifest:
    """Copy an image in and return its manifest."""
    try:
        top = copy_in(archive, content, name)
    finally:
        archive.close()
    found = model.parse_manifest(content.read(top))
    assert isinstance(found, model.Manifest)
    return found
