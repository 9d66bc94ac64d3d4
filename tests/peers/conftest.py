"""What tests of engines share: a containerd, or a dockerd, for all tests of a module."""

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import until
from tests.support.leftovers import Leftovers
from tests.support.peers import crio
from tests.support.peers.commands import Tidiness
from tests.support.peers.crio import CrioKubelet
from tests.support.peers.docker import Docker, unmount_own, versions
from tests.support.peers.kubernetes import Kubelet
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
    until(lambda: dead_sockets() <= before)  # other tests may have killed shims of theirs, and clean up after them


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


@pytest.fixture(
    scope="module", params=versions(), ids=lambda place: place.removesuffix("/usr").rpartition("/")[2] or "own"
)
def dockerd(request: pytest.FixtureRequest, machine_rootfs: Path, leftovers: Leftovers) -> Iterator[Docker]:
    """A dockerd of each version, one after the other; nothing of it is left."""
    directory = Path(tempfile.mkdtemp(prefix="docker-", dir="/tmp"))  # sockets below it have a path of 107 characters
    binaries = (f"{request.param}/bin", f"{request.param}/sbin") if request.param else ()
    made = Docker(directory, machine_rootfs, leftovers, binaries)
    yield made
    made.remove_everything()
    made.end()
    unmount_own(directory)
    Tidiness([directory], directory / "exec", leftovers).check()
    shutil.rmtree(directory)


@pytest.fixture
def docker(dockerd: Docker) -> Iterator[Docker]:
    """That dockerd; after each test no container is left."""
    yield dockerd
    dockerd.runtime = "runc"
    if dockerd.process.poll() is not None:
        dockerd.start()
    dockerd.remove_everything()
    Tidiness([], dockerd.directory / "exec", dockerd.ours, (), (dockerd.process.pid, *dockerd.children())).check()


@pytest.fixture(scope="module")
def kubelet(tmp_path_factory: pytest.TempPathFactory, machine_rootfs: Path, leftovers: Leftovers) -> Callable[..., Any]:
    """Start kubelets of which nothing is left. engine: the directory of a containerd, or cri-o's."""

    @contextmanager
    def start(runtime: str, engine: str) -> Iterator[Kubelet]:
        directory = tmp_path_factory.mktemp("kube")
        kind = CrioKubelet if engine == str(crio.BUILT) else Kubelet
        made = kind(directory, machine_rootfs, leftovers, runtime, engine)
        try:
            yield made
            made.remove_pods()
        finally:
            made.end()
        Tidiness([directory], made.state_of_runjail, leftovers).check()

    return start
