"""What /sys/fs/cgroup shows on control groups v1, line by line what runc shows."""

import os
import subprocess
from pathlib import Path

import pytest

from runjail import rootfs, steps
from runjail.host.base import HostState
from tests.support.container.harness import Life
from tests.support.host.linux_change import change

pytestmark = [pytest.mark.linux]
V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
SEEN = """\
grep -v '^0:' /proc/self/cgroup
grep -v ' /\\.\\./\\.\\. \\|cgroup2' /proc/self/mountinfo | grep ' /sys/fs/cgroup' | cut -d' ' -f4-
ls -ln /sys/fs/cgroup | awk '{print $1, $3, $4, $9, $10, $11}'
touch /sys/fs/cgroup/x; mkdir /sys/fs/cgroup/pids/sub && rmdir /sys/fs/cgroup/pids/sub && echo can be written
grep -cx $$ /sys/fs/cgroup/systemd/cgroup.procs
"""
TABLE = """\
22 1 8:1 / / rw - ext4 /dev/vda rw
30 22 0:30 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:31 / /sys/fs/cgroup/systemd rw shared:3 - cgroup cgroup rw,name=systemd
32 30 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
34 30 0:34 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
35 30 0:35 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
36 30 0:36 / /sys/fs/cgroup/mine rw - cgroup cgroup rw,name=mine
37 30 0:37 / /mnt/sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
"""


@pytest.mark.peers("runc")
@pytest.mark.needs("cgroups")
@pytest.mark.skipif(V2, reason="control groups v2: one tree")
@pytest.mark.parametrize("kinds", [(), ("cgroup",)], ids=["host's", "namespace"])
@pytest.mark.parametrize("options", ["ro,nosuid,noexec,nodev,relatime", "nosuid,noexec,nodev,rw", "ro,rprivate", ""])
def test_what_is_shown_is_what_runc_shows(life: Life, tmp_path: Path, options: str, kinds: tuple[str, ...]) -> None:
    """Runc joins the tree of v2 that hangs below v1, too: of no use to anyone, and 10 ms. So that is left out."""
    words = options.split(",") if options else []
    life.bundle.config["mounts"] += [
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": words},
    ]
    life.bundle.config["linux"]["namespaces"] += [{"type": kind} for kind in kinds]
    bundle = life.bundle.write("/bin/sh", "-c", SEEN)
    command = ["runc", "--root", str(tmp_path / "runc"), "run", "-b", bundle, f"runc-{os.getpid()}"]
    theirs = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    ours = life.runjail("run", "-b", bundle, "c")

    assert ours.stdout.splitlines() == theirs.stdout.splitlines()
    assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr)
    assert "name=systemd" in ours.stdout


def test_controllers_that_share_a_hierarchy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One directory, and a link for each, as on the machines that mount them so; each once, none of other names."""
    from runjail.host.linux import cgroups, mounts

    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    names = cgroups.mounted(str(table))
    assert names == ["systemd", "cpu,cpuacct", "pids"]
    done: list[tuple[str, str | None]] = []
    monkeypatch.setattr(cgroups, "unified", lambda: False)
    monkeypatch.setattr(cgroups, "mounted", lambda: names)
    monkeypatch.setattr(mounts, "mount_on", lambda place, source, *_: done.append((place.name, source)))
    (tmp_path / "root/cg").mkdir(parents=True)
    top = rootfs.open_root(str(tmp_path / "root"))
    step, made = steps.Mount("cgroup", "cgroup", "/cg"), change(HostState("c", "c", str(tmp_path), "", ""))
    made.host_state.cgroup = "a/b"
    place = rootfs.resolve(top, "/cg")
    mounts._mount_cgroups(place, made, step, 0)
    place.close()
    os.close(top)

    assert done == [("cg", "tmpfs"), *((name, f"/sys/fs/cgroup/{name}/a/b") for name in names)]
    links = {path.name: os.readlink(path) for path in (tmp_path / "root/cg").iterdir() if path.is_symlink()}
    assert links == {"cpu": "cpu,cpuacct", "cpuacct": "cpu,cpuacct"}
