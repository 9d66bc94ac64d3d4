"""OCI layouts written by hand, and skopeo, which knows OCI crypt on its own."""

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from runjail.image import model
from runjail.image.model import Descriptor

LAYER = "application/vnd.oci.image.layer.v1.tar"
POLICY = '{"default":[{"type":"insecureAcceptAnything"}]}'


def tar(text: str, size: int = 30_000) -> bytes:
    """Return a layer of one file that does not compress to nothing."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(f"etc/{text}")
        info.size = size
        content = b"".join(hashlib.sha256(f"{text}{number}".encode()).digest() for number in range(size // 32 + 1))
        archive.addfile(info, io.BytesIO(content[:size]))
    return out.getvalue()


class Layout:
    """An OCI layout directory with one image, `latest`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, layers: "list[tuple[Descriptor, bytes]]", diff_ids: list[str]) -> "Layout":
        """Write the image: layers are descriptors, with their annotations, and their blobs."""
        (self.path / "blobs" / "sha256").mkdir(parents=True)
        config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
        manifest["config"] = self.add("application/vnd.oci.image.config.v1+json", json.dumps(config).encode())
        manifest["layers"] = [descriptor.document() for descriptor, _content in layers]
        for descriptor, content in layers:
            assert self.add("", content)["digest"] == descriptor.digest
        top = self.add(manifest["mediaType"], json.dumps(manifest).encode())
        top["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
        (self.path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return self

    def add(self, media_type: str, content: bytes) -> dict[str, Any]:
        """Write one blob and return its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        (self.path / "blobs" / "sha256" / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def layers(self) -> "list[Descriptor]":
        """Return the layers' descriptors, lowest first."""
        top = json.loads((self.path / "index.json").read_text())["manifests"][0]
        manifest = model.parse_manifest(self.blob(top["digest"]))
        assert isinstance(manifest, model.Manifest)
        return list(manifest.layers)

    def blob(self, digest: str) -> bytes:
        """Return a blob's content."""
        return self.file(digest).read_bytes()

    def file(self, digest: str) -> Path:
        """Return a blob's path."""
        return self.path / "blobs" / digest.replace(":", "/")


def described(content: bytes, media_type: str) -> Descriptor:
    """Return the descriptor of a layer blob."""
    return Descriptor(media_type, f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))


def plain_image(path: Path, kind: str = "gzip", count: int = 2) -> Layout:
    """Write an image of small layers: gzip, zstd, or "" for tar."""
    tars = [tar(f"file-{number}") for number in range(count)]
    layers = []
    for content in tars:
        blob = compressed(content, kind)
        layers.append((described(blob, f"{LAYER}+{kind}" if kind else LAYER), blob))
    return Layout(path).write(layers, [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in tars])


def compressed(content: bytes, kind: str) -> bytes:
    """Return content in a compression."""
    if kind == "zstd":
        name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
        zstd = pytest.importorskip(name, reason="needs zstd")
        return bytes(zstd.compress(content))
    return gzip.compress(content, mtime=0) if kind == "gzip" else content


def skopeo(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `skopeo copy` with these arguments."""
    policy = directory / "policy.json"
    policy.write_text(POLICY)
    command = ["skopeo", "--policy", str(policy), "copy", "--quiet", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def copy(directory: Path, source: Layout, name: str, *arguments: str) -> Layout:
    """Copy an image with skopeo, which has to succeed."""
    target = Layout(directory / name)
    done = skopeo(directory, *arguments, f"oci:{source.path}:latest", f"oci:{target.path}:latest")
    assert done.returncode == 0, done.stderr
    return target
