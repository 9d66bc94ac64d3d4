"""The command line with a store of images, and keys to encrypt them."""

import json
import os
from pathlib import Path
from typing import Any

from runjail.storage.base import Store
from runjail.storage.open import open_store
from tests.support.program import Result, Runjail


class Cli:
    """The installed program with a store: call it with the words of a verb."""

    def __init__(self, runjail: Runjail, location: str, directory: Path) -> None:
        self.runjail, self.location, self.directory = runjail, location, directory
        self.env: dict[str, str] = {}

    def __call__(self, *args: str, **more: Any) -> Result:
        return self.runjail("--store", self.location, *args, env={"PATH": os.environ["PATH"], **self.env}, **more)

    def ok(self, *args: str, **more: Any) -> str:
        """Run a verb that has to succeed; return what it prints."""
        result = self(*args, **more)
        assert result.returncode == 0, result
        return result.stdout

    def refused(self, *args: str, code: int = 1, **more: Any) -> str:
        """Run a verb that has to fail in a clear way, with this exit code; return its one line."""
        result = self(*args, **more)
        assert result.returncode == code, result
        assert result.stderr.startswith("runjail: "), result
        assert "internal error" not in result.stderr, result
        return result.stderr.removeprefix("runjail: ").splitlines()[0]

    def json(self, *args: str) -> Any:
        """Return the document that a verb prints."""
        return json.loads(self.ok(*args, "--format", "json"))

    @property
    def store(self) -> Store:
        """The store itself, to look at."""
        return open_store(self.location, default="/nonexistent")

    def left(self) -> dict[str, list[str]]:
        """Return what of containers is in the store: nothing, when all of them are deleted."""
        store = self.store
        found = {"roots": [root.name for root in store.roots()], "bundles": os.listdir(store.bundles())}
        return found | {"containers": self.runjail.ids() if self.runjail.root.is_dir() else []}


class Keys:
    """A private key with its public one, in files."""

    def __init__(self, directory: Path, private: bytes, public: bytes) -> None:
        self.private, self.public = str(directory / "key.pem"), str(directory / "key.pub")
        for path, content in ((self.private, private), (self.public, public)):
            Path(path).write_bytes(content)
            os.chmod(path, 0o600)

    @property
    def recipient(self) -> tuple[str, str]:
        """The option that encrypts to it."""
        return "--recipient", f"jwe:{self.public}"

    @property
    def key(self) -> tuple[str, str]:
        """The option that decrypts with it."""
        return "--key", self.private
