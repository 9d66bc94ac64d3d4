"""Options of `podman run` that people use every day: every row is with runjail what it is with runc."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.leftovers import Leftovers
from tests.support.peers.attaching import SHELL, engine
from tests.support.peers.commands import Tidiness
from tests.support.peers.podman import Podman

pytestmark = [pytest.mark.peers("podman", "conmon", "runc"), pytest.mark.linux, pytest.mark.needs("cgroups v1")]
MOUNTED = "grep ' /mnt' /proc/self/mountinfo | cut -d' ' -f5-7 | sed 's/:[0-9]*//'"
CGROUPS = "cpu/cpu.cfs_quota_us cpu/cpu.shares cpuset/cpuset.cpus pids/pids.max memory/memory.limit_in_bytes"
OPTIONS = {  # options of `podman run`, and what the container says of itself
    "a device": ("--device /dev/zero:/dev/mine:r", "ls -l /dev/mine | cut -c1-10; head -c 1 /dev/mine | wc -c"),
    "tmpfs": (
        "--tmpfs /mnt:rw,noexec,nosuid,nodev,size=65536k,mode=1770",
        f"{MOUNTED}; df -k /mnt | tail -n 1; ls -ld /mnt | cut -c1-10",
    ),
    "bind mount": ("--mount type=bind,src={dir}/given,dst=/mnt", f"{MOUNTED}; touch /mnt/x"),
    "bind mount, read only": ("--mount type=bind,src={dir}/given,dst=/mnt,ro", f"{MOUNTED}; touch /mnt/y"),
    "bind mount, slave": ("--mount type=bind,src={dir}/given,dst=/mnt,bind-propagation=rslave", MOUNTED),
    "bind mount, shared": ("--mount type=bind,src={dir}/given,dst=/mnt,bind-propagation=rshared", MOUNTED),
    "volume with options": ("-v {dir}/given:/mnt:ro,nosuid,noexec,nodev", MOUNTED),
    "volume of its user": ("-v {dir}/given:/mnt:U --user 12:34", "ls -ldn /mnt | cut -c1-22"),
    "named volume": ("-v data:/mnt", "touch /mnt/x; ls /mnt"),
    "all of /proc": ("--security-opt unmask=ALL", "cut -d' ' -f5 /proc/self/mountinfo | grep -c ^/proc/"),
    "more masked": ("--security-opt mask=/etc/group:/usr", "wc -c < /etc/group; ls /usr | wc -l"),
    "options of /proc": ("--security-opt proc-opts=hidepid=1", "grep ' /proc ' /proc/self/mounts"),
    "no new privileges": ("--security-opt no-new-privileges", "grep NoNew /proc/self/status"),
    "rlimits": (
        "--ulimit nofile=50:60 --ulimit core=0 --ulimit nproc=40",
        "ulimit -n; ulimit -Hn; ulimit -c; ulimit -u",
    ),
    "shared memory": ("--shm-size=3m", "df -k /dev/shm | tail -n 1"),
    "limits": (
        "--cpus=0.5 --cpu-shares=300 --cpuset-cpus=0 --pids-limit=33 --memory=20m --memory-swap=30m",
        f"cd /sys/fs/cgroup; cat {CGROUPS}",
    ),
    "a sysctl": ("--sysctl kernel.msgmax=4096", "cat /proc/sys/kernel/msgmax"),
    "capabilities": ("--cap-drop=ALL --cap-add=CHOWN,KILL", "grep Cap /proc/self/status"),
    "capabilities of a user": ("--cap-drop=ALL --cap-add=CHOWN --user 5", "grep Cap /proc/self/status"),
    "groups": ("--user 12:34 --group-add 7", "id"),
    "an init": ("--init", "cat /proc/1/comm; exit 6"),
    "no semaphores": ("--ipc=none", "test -e /dev/shm; echo $?"),
    "private namespaces": ("--ipc=private --cgroupns=private", "ls /proc/self/ns"),
    "name of the host": ("--uts=host", 'test "$(hostname)" && echo same'),
    "read only": ("--read-only", "touch /x; touch /tmp/x; touch /dev/shm/x; touch /run/x; echo ok"),
    "read only, all of it": ("--read-only --read-only-tmpfs=false", "touch /x; touch /tmp/x"),
    "killed late": ("--oom-score-adj=500", "cat /proc/self/oom_score_adj"),
    "an end in time": ("--timeout 1", "sleep 100"),
    "umask and time": ("--umask 0077 --tz UTC", "umask; date +%Z"),
    "ids of its own": ("--uidmap 0:0:1000", "cat /proc/self/uid_map"),
    "no group for conmon": ("--cgroups=no-conmon --pids-limit=33", "cat /sys/fs/cgroup/pids/pids.max"),
    "an entry point": ('--entrypoint \'["/bin/echo","a"]\'', "x"),
}
OVERLAY = ("-v {dir}/given:/mnt:O", "touch /mnt/over; ls /mnt; grep -c ' /mnt ' /proc/mounts")


@pytest.fixture
def podman(tmp_path: Path, machine_rootfs: Path, leftovers: Leftovers) -> Iterator[Podman]:
    """A podman, of which nothing is left."""
    rootfs, run = tmp_path / "rootfs", Path(tempfile.mkdtemp(prefix="podman-", dir="/tmp"))  # at most 50 characters
    shutil.copytree(machine_rootfs, rootfs, symlinks=True)
    made = Podman(tmp_path, run, rootfs, leftovers)
    yield made
    try:
        made("rm", "--force", "--time=0", "--all")
        made("umount", "--all", "--force")
        Tidiness([tmp_path, run], made.state, leftovers, ("conmon",)).check()
    finally:
        shutil.rmtree(run, ignore_errors=True)
        remove_places(leftovers.group)


def remove_places(group: str) -> None:
    """Remove what podman makes for hierarchies of control groups that are not mounted: plain directories."""
    places = [path for path in Path("/sys/fs/cgroup").iterdir() if not path.is_symlink() and not path.is_mount()]
    for place in places:
        if (place / group).is_dir():
            shutil.rmtree(place / group)
            with contextlib.suppress(OSError):  # others are in use
                place.rmdir()


@pytest.mark.limit(3600)
def test_the_same_as_with_runc(podman: Podman, tmp_path: Path) -> None:
    compare(podman, tmp_path, OPTIONS)


@pytest.mark.needs("overlay")
def test_an_overlay_of_a_directory(podman: Podman, tmp_path: Path) -> None:
    compare(podman, tmp_path, {"an overlay of a directory": OVERLAY})


def compare(podman: Podman, tmp_path: Path, options_by_row: dict[str, tuple[str, str]]) -> None:
    """Run each row with runc and with runjail, and let them say the same."""
    (tmp_path / "given").mkdir()
    found: dict[str, dict[str, Any]] = {"runc": {}, "runjail": {}}
    command = podman.command
    for runtime, rows in found.items():
        podman.command = [runtime if word == "runjail" else word for word in command]
        for name, (options, script) in options_by_row.items():
            done = podman.run(f"--rm {options.format(dir=tmp_path)}", "/bin/sh", "-c", script)
            rows[name] = done.code, done.out, done.err
    podman.command = command

    known, ours = found.values()
    assert {name: known[name] for name in known if known[name][0] in (125, 126, 127)} == {}, "runc itself cannot"
    assert {name: (ours[name], known[name]) for name in known if ours[name] != known[name]} == {}


@pytest.mark.limit(1200)
def test_attach(podman: Podman) -> None:
    """A terminal, its keys and its size, signals, and clients that vanish."""
    found, command = {}, podman.command
    for runtime in ("runc", "runjail"):
        podman.command = [runtime if word == "runjail" else word for word in command]
        found[runtime] = engine(
            podman,
            lambda options, script: podman.detached("web", *SHELL, script, options=options),
            lambda: podman.inspect("web")["Status"] == "running",
            lambda: podman("rm", "--force", "--time=0", "web"),
        )
    podman.command = command

    assert (found["runc"]["a terminal"][1][-1], found["runc"]["killed"][0]) == ("got something", True)
    assert found["runjail"] == found["runc"]
