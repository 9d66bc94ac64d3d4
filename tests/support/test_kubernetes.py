"""The machine for Kubernetes: what its programs do to a machine stays in it."""

from pathlib import Path

import pytest

from tests.support.leftovers import Leftovers
from tests.support.peers.commands import Tidiness
from tests.support.peers.kubernetes import KERNEL, Machine

pytestmark = [pytest.mark.linux, pytest.mark.needs("cgroups"), pytest.mark.peers("unshare", "nsenter", "ip")]


class Empty(Machine):
    """One in which nothing is started."""

    def begin(self) -> None:
        """Start nothing."""


def test_settings_of_the_kernel_are_its_own(tmp_path: Path, machine_rootfs: Path, leftovers: Leftovers) -> None:
    """A kubelet sets some that have no namespace: each is the machine's at first, and in memory."""
    made = Empty(tmp_path, machine_rootfs, leftovers)
    try:
        paths = [f"/proc/sys/{name}" for name in KERNEL]
        assert made.run("stat", "-f", "-c", "%T", *paths).lines == ["tmpfs"] * len(KERNEL)
        assert made.run("cat", *paths).out == "".join(Path(path).read_text(encoding="ascii") for path in paths)
    finally:
        made.end()
    Tidiness([tmp_path], tmp_path / "state", leftovers).check()
