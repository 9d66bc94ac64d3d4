"""An OCI layout that a test changes by hand."""

import json
from pathlib import Path
from typing import Any


class Layout:
    """An OCI layout that a test changes by hand: blobs by digest, one manifest under the tag `t`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entry = json.loads((path / "index.json").read_text())["manifests"][0]
        self.manifest = self.document(self.entry)
        self.config = self.document(self.manifest["config"])

    def blob(self, descriptor: dict[str, Any]) -> Path:
        return self.path / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")

    def document(self, descriptor: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.blob(descriptor).read_bytes())
        return found

    def put(self, content: bytes) -> dict[str, Any]:
        """Store content; return what a descriptor says of it."""
        from runjail.image import digest

        described = {"digest": digest.of(content), "size": len(content)}
        self.blob(described).write_bytes(content)
        return described

    def write(self) -> str:
        """Write config and manifest with right digests; return the layout's name."""
        self.manifest["config"] |= self.put(json.dumps(self.config).encode())
        self.entry |= self.put(json.dumps(self.manifest).encode())
        index = {"schemaVersion": 2, "manifests": [self.entry]}
        (self.path / "index.json").write_text(json.dumps(index))
        return f"oci:{self.path}:t"
