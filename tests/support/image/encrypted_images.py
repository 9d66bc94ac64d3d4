"""Encrypted images, small: made by runjail's layer_stream.py in an OCI layout, or by skopeo out of a plain one."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runjail.image.crypto import layer_stream, ocicrypt
from runjail.image.model import Descriptor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runjail.image.crypto.options import Parameters

LAYER = "application/vnd.oci.image.layer.v1.tar"
OPTIONS = b'{"symkey":"' + b"A" * 43 + b'=","digest":"sha256:' + b"0" * 64 + b'","cipheroptions":{"nonce":"' + b"B" * 22
OPTIONS += b'=="}}'  # as long as real ones: 193 bytes
POLICY = '{"default":[{"type":"insecureAcceptAnything"}]}'


def tar(name: str = "hello", content: bytes = b"Hello World!\n", files: int = 1) -> bytes:
    """Return an archive of files with this content."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        for number in range(files):
            member = tarfile.TarInfo(name if files == 1 else f"{name}{number}")
            member.size = len(content)
            writer.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def compressed(archive: bytes, compression: str) -> bytes:
    """Return an archive as a layer blob: "", "gzip" or "zstd"."""
    if compression == "zstd":
        name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
        return bytes(pytest.importorskip(name).compress(archive))
    return gzip.compress(archive, mtime=0) if compression else archive


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def seal(plain: bytes, media_type: str, parameters: "Parameters", **more: Any) -> tuple[bytes, Descriptor]:
    """Encrypt a layer blob for recipients; more: the key providers. Returns ciphertext and descriptor."""
    pytest.importorskip("cryptography")
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out:
        source.write(plain)
        source.flush()
        described = Descriptor(media_type, digest(plain), len(plain))
        private, public, encrypted = layer_stream.encrypt_blob(source.fileno(), out.fileno(), described)
        out.seek(0)
        ciphertext = out.read()
    return ciphertext, encrypted.replace(annotations=ocicrypt.wrap(private, public, parameters, **more))


def opened(ciphertext: bytes, descriptor: Descriptor, parameters: "Parameters", **more: Any) -> bytes:
    """Decrypt a layer blob."""
    pytest.importorskip("cryptography")
    private = ocicrypt.unwrap(descriptor, parameters, **more)
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out:
        source.write(ciphertext)
        source.flush()
        layer_stream.decrypt_blob(source.fileno(), out.fileno(), private, ocicrypt.public(descriptor), descriptor)
        out.seek(0)
        return out.read()


class Layout:
    """An OCI layout with one image, `image`. layers: blob and descriptor each; archives: what is in them."""

    def __init__(
        self, path: Path, layers: "Sequence[tuple[bytes, Descriptor]]" = (), archives: "Sequence[bytes]" = ()
    ) -> None:
        self.path = path
        self.name = f"oci:{path}:image"
        if layers:
            self._write(layers, archives)

    def _write(self, layers: "Sequence[tuple[bytes, Descriptor]]", archives: "Sequence[bytes]") -> None:
        diff_ids = [digest(archive) for archive in archives]
        platform = {"os": "linux", "architecture": "amd64"}
        config = self._blob({**platform, "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}})
        for blob, _descriptor in layers:
            self._blob(blob)
        kind = "application/vnd.oci.image."
        manifest = {"schemaVersion": 2, "mediaType": f"{kind}manifest.v1+json"}
        manifest["config"] = {"mediaType": f"{kind}config.v1+json", **config}
        manifest["layers"] = [descriptor.document() for _blob, descriptor in layers]
        entry: dict[str, Any] = {"mediaType": f"{kind}manifest.v1+json", **self._blob(manifest)}
        entry["annotations"] = {"org.opencontainers.image.ref.name": "image"}
        self._file("index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
        self._file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')

    def _blob(self, content: "bytes | dict[str, Any]") -> "dict[str, Any]":
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        name = digest(data)
        self._file(f"blobs/sha256/{name.removeprefix('sha256:')}", data)
        return {"digest": name, "size": len(data)}

    def _file(self, name: str, content: bytes) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def layers(self) -> "list[tuple[bytes, Descriptor]]":
        """Return blob and descriptor of each layer of the image."""
        index = json.loads((self.path / "index.json").read_bytes())
        manifest = json.loads(self.blob(index["manifests"][0]["digest"]))
        return [(self.blob(layer["digest"]), descriptor(layer)) for layer in manifest["layers"]]

    def blob(self, name: str) -> bytes:
        """Return content by its digest."""
        return (self.path / "blobs" / name.replace(":", "/")).read_bytes()


def descriptor(layer: "dict[str, Any]") -> Descriptor:
    return Descriptor(layer["mediaType"], layer["digest"], layer["size"], layer.get("annotations", {}))


def plain(path: Path, compression: str = "gzip", *archives: bytes) -> Layout:
    """Make an image that is not encrypted; a single small layer unless archives are given."""
    contents = list(archives) or [tar()]
    kind = LAYER + (f"+{compression}" if compression else "")
    data = [compressed(archive, compression) for archive in contents]
    return Layout(path, [(blob, Descriptor(kind, digest(blob), len(blob))) for blob in data], contents)


def skopeo(source: str, target: str, *options: str, env: "dict[str, str] | None" = None) -> None:
    """Copy an image with skopeo, whatever the platform says."""
    with tempfile.TemporaryDirectory() as directory:
        policy = Path(directory) / "policy.json"
        policy.write_text(POLICY, encoding="ascii")
        command = [
            "skopeo",
            "--policy",
            str(policy),
            "--override-os",
            "linux",
            "--override-arch",
            "amd64",
            "copy",
            "-q",
        ]
        done = subprocess.run(
            [*command, *options, source, target],
            env=os.environ | (env or {}),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
