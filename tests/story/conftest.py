"""Whole stories of images, told to the installed program: from a root file system to a container, and back."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail.storage.base import Store
from runjail.storage.open import open_store
from tests.conftest import Result, Runjail
from tests.image.registry_server import DockerRegistry
from tests.storage.kinds import location
from tests.storage.zpool import dataset, zpool

__all__ = ["dataset", "location", "zpool"]


class Teller:
    """The program with a store: call it with the words of a verb."""

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

    def refused(self, *args: str, **more: Any) -> str:
        """Run a verb that has to fail in a clear way; return its one line."""
        result = self(*args, **more)
        assert result.returncode == 1, result
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


@pytest.fixture
def teller(location: str, runjail: Runjail, tmp_path: Path) -> Iterator[Teller]:
    """The program with an empty store. Whatever a test does, its containers leave nothing."""
    found = Teller(runjail, location, tmp_path)
    yield found
    for name in runjail.ids() if runjail.root.is_dir() else []:
        found.ok("delete", "--force", name)
    assert found.left() == {"roots": [], "bundles": [], "containers": []}


@pytest.fixture
def hello(teller: Teller, machine_rootfs: Path) -> str:
    """The name of an image that says hello."""
    teller.ok("image", "import", "--cmd", "/bin/echo", "--cmd", "Hello World!", f"rootfs:{machine_rootfs}", "hello")
    return "hello"


class Keys:
    """A private key with its public one, in files."""

    def __init__(self, directory: Path, name: str) -> None:
        self.private, self.public = str(directory / f"{name}.pem"), str(directory / f"{name}.pub")
        make = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.private]
        subprocess.run(make, check=True, capture_output=True)
        os.chmod(self.private, 0o600)
        show = ["openssl", "pkey", "-in", self.private, "-pubout", "-out", self.public]
        subprocess.run(show, check=True, capture_output=True)

    @property
    def recipient(self) -> tuple[str, str]:
        """The option that encrypts to it."""
        return "--recipient", f"jwe:{self.public}"

    @property
    def key(self) -> tuple[str, str]:
        """The option that decrypts with it."""
        return "--key", self.private


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Who may use what is encrypted."""
    pytest.importorskip("cryptography")
    return Keys(tmp_path_factory.mktemp("keys"), "ours")


@pytest.fixture(scope="session")
def stranger(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Who may not."""
    return Keys(tmp_path_factory.mktemp("stranger"), "theirs")


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """Debian's docker-registry on loopback."""
    pytest.importorskip("urllib3")
    server = DockerRegistry(tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()
