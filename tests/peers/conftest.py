"""What the tests of our shim share: a containerd for all tests of a module."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.leftovers import Leftovers
from tests.support.peers.commands import Tidiness
from tests.support.peers.shims import SOCKETS, Containerd


@pytest.fixture(scope="module")
def containerd(
    tmp_path_factory: pytest.TempPathFactory, machine_rootfs: Path, leftovers: Leftovers
) -> Iterator[Callable[..., Containerd]]:
    """Start a containerd with our shim in its path; when the tests are over, it and all it made must be gone."""
    started: list[Containerd] = []
    before = dead_sockets()

    def start(**options: Any) -> Containerd:
        directory = tmp_path_factory.mktemp("ctd")
        rootfs = directory / "rootfs"
        shutil.copytree(machine_rootfs, rootfs, symlinks=True)
        started.append(Containerd(directory, rootfs, leftovers, **options))
        return started[-1]

    yield start
    for daemon in started:
        try:
            if daemon.process.poll() is None:
                daemon.remove_everything()
        finally:
            daemon.end()
        Tidiness([daemon.directory], daemon.state, leftovers).check()
    assert dead_sockets() <= before, "shims left their sockets"


@pytest.fixture
def ctr(daemon: Containerd) -> Iterator[Containerd]:
    """The module's containerd; after each test no container and no shim is left."""
    yield daemon
    daemon.remove_everything()
    Tidiness([daemon.state], daemon.state, daemon.ours, (), (daemon.process.pid,)).check()
    assert daemon.shims() == []


def dead_sockets() -> set[str]:
    """Return the names of shims' sockets at which nobody listens; others on this machine may have shims."""
    found = set()
    for name in os.listdir(SOCKETS) if SOCKETS.is_dir() else ():
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(f"{SOCKETS}/{name}")
            except ConnectionRefusedError:
                found.add(name)
            except FileNotFoundError:
                pass
    return found
