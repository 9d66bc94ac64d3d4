"""Whole stories of images, by the installed program: from a root file system to a container, and back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.errors import RunjailError
from runjail.image.crypto import primitives
from tests.support.image import recorded_keys
from tests.support.image.registry_server import DockerRegistry
from tests.support.peers.podman import bare_podman
from tests.support.program import Runjail
from tests.support.storage.kinds import location
from tests.support.storage.zpool import dataset, zpool
from tests.support.story.cli import Cli, Keys

__all__ = ["bare_podman", "dataset", "location", "zpool"]


@pytest.fixture
def cli(location: str, runjail: Runjail, tmp_path: Path) -> Iterator[Cli]:
    """The program with an empty store. Whatever a test does, its containers leave nothing."""
    found = Cli(runjail, location, tmp_path)
    yield found
    for name in runjail.ids() if runjail.root.is_dir() else []:
        found.ok("delete", "--force", name)
    assert found.left() == {"roots": [], "bundles": [], "containers": []}


@pytest.fixture
def hello(cli: Cli, machine_rootfs: Path) -> str:
    """The name of an image that says hello."""
    cli.ok("image", "import", "--cmd", "/bin/echo", "--cmd", "Hello World!", f"rootfs:{machine_rootfs}", "hello")
    return "hello"


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Who may use what is encrypted. Either Python's cryptography does it or the system's libcrypto."""
    try:
        primitives.require()
    except RunjailError as error:
        pytest.skip(str(error))
    return Keys(tmp_path_factory.mktemp("keys"), recorded_keys.OURS, recorded_keys.OURS_PUBLIC)


@pytest.fixture(scope="session")
def stranger(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Who may not."""
    return Keys(tmp_path_factory.mktemp("stranger"), recorded_keys.THEIRS, recorded_keys.THEIRS_PUBLIC)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """Debian's docker-registry on loopback."""
    pytest.importorskip("urllib3")
    server = DockerRegistry(tmp_path_factory.mktemp("registry"))
    yield server
    server.stop()
