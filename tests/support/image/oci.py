"""Images for others to unpack, and a containerd of our own to do it. Shared by tests and by the bench."""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

NAME = "localhost/runjail-layers:latest"
CONFIGURATION = """\
version = 2
root = "{0}/root"
state = "{0}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]

[grpc]
  address = "{0}/containerd.sock"
"""


def write_layout(top: Path, layers: list[tuple[Path, str]], media_type: str) -> Path:
    """Make an OCI layout of blobs with their diffIDs; its image is called `latest`. Returns an archive of it."""
    blobs = top / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    described = []
    for path, _ in layers:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.link(path, blobs / digest)
        described.append({"mediaType": media_type, "digest": f"sha256:{digest}", "size": path.stat().st_size})
    rootfs = {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]}
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _put(blobs, config, "application/vnd.oci.image.config.v1+json"),
        "layers": described,
    }
    entry = _put(blobs, manifest, manifest["mediaType"])
    entry["annotations"] = {"org.opencontainers.image.ref.name": "latest", "io.containerd.image.name": NAME}
    (top / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (top / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    packed = top.with_suffix(".tar")
    with tarfile.open(packed, "w") as archive:
        for part in ("oci-layout", "index.json", "blobs"):
            archive.add(top / part, part)
    return packed


def _put(blobs: Path, document: dict, media_type: object) -> dict:
    content = json.dumps(document).encode()
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


class Containerd:
    """A containerd with directories of its own. Use as a context."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._mounts = directory, list[Path]()

    def __enter__(self) -> "Containerd":
        self._directory.mkdir()
        (self._directory / "config.toml").write_text(CONFIGURATION.format(self._directory))
        with (self._directory / "log").open("wb") as log:
            words = ["containerd", "--config", str(self._directory / "config.toml")]
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while self("version").returncode and time.monotonic() < deadline and self._process.poll() is None:
            time.sleep(0.05)
        return self

    @property
    def pid(self) -> int:
        """The pid of containerd."""
        return self._process.pid

    def __call__(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ctr's."""
        return subprocess.run(self.words(*args), capture_output=True, text=True, check=False)

    def words(self, *args: str) -> list[str]:
        """Return a whole command line of ctr's."""
        return ["ctr", "--address", str(self._directory / "containerd.sock"), *args]

    def ok(self, *args: str) -> str:
        """Run it and insist on success."""
        done = self(*args)
        assert done.returncode == 0, (args, done.stderr)
        return done.stdout

    def mount(self, place: Path) -> Path:
        """Mount the imported image, read-only, until the end."""
        place.mkdir()
        self.ok("image", "mount", NAME, str(place))
        self._mounts.append(place)
        return place

    def __exit__(self, *_error: object) -> None:
        for place in self._mounts:
            self("image", "unmount", str(place))
        self._process.terminate()
        self._process.wait(120)
        shutil.rmtree(self._directory, ignore_errors=True)
