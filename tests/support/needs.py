"""What tests need of a machine: one table of names, each with a probe that really tries, and what to do without it.

A test says what it needs with one marker: `@pytest.mark.needs("containers", "linux", "skopeo")`. `module
NAME` is a Python module, any other name that is not in the table a program. What a fixture needs counts for every test
that uses it.
"""

import contextlib
import ctypes
import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from runjail.network import usermode
from runjail.storage import overlay_mount
from tests.support import machine_root, zfs_pool
from tests.support.loopback import loopback

TOP = Path(__file__).resolve().parents[2]
FREEBSD = sys.platform.startswith("freebsd")
LINUX = sys.platform == "linux"
ORDINARY = 4242  # who is nobody on any machine
MOUNT = "mount -t tmpfs none /mnt && mount -t proc proc /proc"

# Probes ----------------------------------------------------------------------------------------------------------


def works(*command: str) -> bool:
    """Whether a program ends well within ten seconds."""
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def root() -> bool:
    """Whether this is root; what root may is another question."""
    return os.geteuid() == 0


def containers() -> bool:
    """Whether namespaces can be made and mounted in, as a container takes it."""
    if FREEBSD:
        return root()
    return LINUX and root() and works("unshare", "-mpuinf", "sh", "-c", MOUNT)


def mounts() -> bool:
    """Whether mounts can be made, in a namespace of their own where there are some."""
    if LINUX:
        return root() and works("unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt")
    return FREEBSD and root()


def user_namespaces() -> bool:
    """Whether user namespaces can be made, as root or not."""
    return LINUX and works("unshare", "-Ur", "true")


def ordinary_user() -> bool:
    """Whether somebody who is not root can execute the program and make user namespaces."""
    if not (LINUX and root()):
        return False
    who: dict[str, Any] = {"user": ORDINARY, "group": ORDINARY, "extra_groups": [], "capture_output": True}
    commands = [[str(TOP / ".venv/bin/runjail"), "--version"], ["unshare", "-Urm", "true"]]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return all(subprocess.run(each, timeout=10, check=False, **who).returncode == 0 for each in commands)
    return False


def idmapped_mounts() -> bool:
    """Whether a mount of the file system where temporary files are can have ids of its own."""
    if not (LINUX and root() and user_namespaces()):
        return False
    from runjail.errors import HostError
    from runjail.host.linux import libc_mounts, mapped_ids
    from runjail.spec.model import IdMappings

    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(OSError, HostError):
        tree = libc_mounts.open_tree(directory)
        namespace = mapped_ids.namespace(IdMappings(((0, 1, 1),), ((0, 1, 1),)))
        try:
            libc_mounts.mount_setattr(tree, libc_mounts.MOUNT_ATTR_IDMAP, 0, namespace=namespace)
            return True
        finally:
            os.close(tree)
            os.close(namespace)
    return False


def control_groups() -> str:
    """Return a directory of the control group hierarchy below which groups can be made, "" without one."""
    for place in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory"):
        if os.path.exists(f"{place}/cgroup.procs"):
            group = f"{place}/runjail-probe-{os.getpid()}"
            with contextlib.suppress(OSError):
                os.mkdir(group)
                os.rmdir(group)
                return place
    return ""


def devices() -> bool:
    """Whether device nodes can be made."""
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(OSError):
        os.mknod(f"{directory}/null", 0o20600, os.makedev(1, 3))
        return True
    return False


def cni() -> bool:
    """Whether CNI's plugins are there, and what they call works in a network namespace."""
    if not any(os.access(f"{place}/bridge", os.X_OK) for place in ("/usr/lib/cni", "/opt/cni/bin")):
        return False
    commands = "ip link set lo up && ip link add type bridge && iptables -t nat -L -n"
    return LINUX and root() and bool(shutil.which("nsenter")) and works("unshare", "-n", "sh", "-c", commands)


def trusted_attributes() -> bool:
    """Whether extended attributes of the class trusted can be set, which takes CAP_SYS_ADMIN and a file system."""
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(OSError, AttributeError):
        os.setxattr(directory, "trusted.runjail-probe", b"")
        return True
    return False


def overlay() -> bool:
    """Whether overlayfs can be mounted where temporary files are: not on another one, not without CAP_SYS_ADMIN."""
    return LINUX and not overlay_mount.refusal(tempfile.gettempdir())


def tun() -> bool:
    """Whether a TUN device can be opened by its number, and there is a place for one."""
    commands = "mount -t tmpfs none /mnt && mknod /mnt/tun c 10 200 && exec 3<>/mnt/tun"
    return LINUX and root() and os.path.exists("/dev/net/tun") and works("unshare", "-m", "sh", "-c", commands)


def default_route() -> bool:
    """Whether this machine has an address that connections come from, as pasta gives containers."""
    return bool(usermode.own_address())


def libseccomp() -> bool:
    """Whether the library is there that makes programs of seccomp profiles."""
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return False
    return True


def of_kubernetes(*names: str) -> bool:
    """Whether these programs of Kubernetes are in PATH or where .ci/build_kubernetes puts them, beside containerd 2."""
    unpacked = [str(TOP / ".peers" / place / "bin") for place in ("kubernetes", "sid/usr")]
    there = os.pathsep.join([*unpacked, os.environ.get("PATH", "")])
    return all(shutil.which(name, path=there) for name in names) and any(TOP.glob(".peers/sid/usr/bin/containerd"))


# The table: name, probe, what is missing and what brings it ------------------------------------------------------

NEEDS: dict[str, tuple[Callable[[], object], str]] = {
    "linux": (lambda: LINUX, "a Linux host"),
    "freebsd": (lambda: FREEBSD and root(), "a real FreeBSD and root"),
    "linux64": (lambda: FREEBSD and works("kldstat", "-q", "-m", "linux64elf"), "Linux support: service linux start"),
    "root": (root, "root: sudo"),
    "no root": (lambda: not root(), "somebody who is not root"),
    "containers": (containers, "containers: root with CAP_SYS_ADMIN, for namespaces and mounts (docker --privileged)"),
    "mounts": (mounts, "mounts: root with CAP_SYS_ADMIN (docker --privileged)"),
    "user namespaces": (user_namespaces, "user namespaces: sysctl user.max_user_namespaces"),
    "run --image": (
        lambda: not LINUX or root() or user_namespaces(),
        "root, or user namespaces for who is not: sysctl user.max_user_namespaces",
    ),
    "ordinary user": (
        ordinary_user,
        "user namespaces for ordinary users, who may read the checkout and Python",
    ),
    "idmapped mounts": (idmapped_mounts, "idmapped mounts: root, Linux 5.12 and TMPDIR on ext4, xfs or btrfs"),
    "cgroups": (control_groups, "a writable control group hierarchy at /sys/fs/cgroup"),
    "cgroups v1": (lambda: control_groups().endswith("/memory"), "a writable control group hierarchy v1"),
    "cgroups v2": (lambda: os.path.exists("/sys/fs/cgroup/cgroup.controllers"), "control groups v2: make test-vm"),
    "systemd": (lambda: os.path.isdir("/run/systemd/system") and root(), "systemd as init, and root: make test-vm"),
    "runc": (
        lambda: shutil.which("runc") and (not LINUX or control_groups()),
        "runc, which makes no container where it can write no control groups",
    ),
    "dockerd": (
        lambda: shutil.which("dockerd") and control_groups(),
        "dockerd, which does not start where it can write no control groups",
    ),
    "strace": (lambda: works("strace", "-o", os.devnull, "true"), "strace, and the right to trace with it"),
    "devices": (devices, "the right to make device nodes: root with CAP_MKNOD"),
    "trusted attributes": (trusted_attributes, "extended attributes of the class trusted: root with CAP_SYS_ADMIN"),
    "tun": (tun, "a TUN device, and the right to make its file: modprobe tun (docker --device /dev/net/tun)"),
    "a route": (default_route, "a default route: ip route"),
    "overlay": (overlay, "overlayfs: root with CAP_SYS_ADMIN, and TMPDIR on a file system that is no overlay"),
    "cni": (cni, "CNI's plugins, iptables and root (Debian: containernetworking-plugins)"),
    "kubelet of its own": (
        lambda: of_kubernetes("kubelet"),
        "a kubelet, and containerd 2: .ci/build_kubernetes, .ci/unpack_peers",
    ),
    "a cluster": (
        lambda: of_kubernetes(
            "kubelet", "kube-apiserver", "kube-scheduler", "kube-controller-manager", "etcd", "kubectl"
        ),
        "Kubernetes: .ci/build_kubernetes for its programs, .ci/unpack_peers for containerd, etcd and kubectl",
    ),
    "libseccomp": (libseccomp, "libseccomp (Debian: libseccomp2)"),
    "loopback": (loopback, "a network: ip link set lo up"),
    "zfs": (lambda: not zfs_pool.missing(), "ZFS and root: on Linux zfs-fuse, /dev/fuse and the right to mount"),
    "program": (lambda: os.access(TOP / ".venv" / "bin" / "runjail", os.X_OK), "the program: make venv"),
    "busybox": (lambda: not machine_root.missing(), machine_root.missing() or ""),
}
SHORT = {"linux": ("linux", "containers"), "freebsd": ("freebsd",)}  # markers that stand for needs
FIXTURES = {
    "runjail": ("program",),
    **dict.fromkeys(("make_bundle", "cli"), ("containers",)),
    "machine_rootfs": ("busybox",),
    "zpool": ("zfs",),
    "bare_podman": ("linux", "podman", "runc", "conmon"),
    "registry": ("docker-registry", "loopback"),
    "images": ("umoci",),
    "service": ("loopback",),
    "protoc": ("protoc",),
    **dict.fromkeys(("program", "make_podman", "buildah", "daemon", "containerd"), ("program",)),
}


@functools.cache
def has(name: str) -> bool:
    """Whether this machine has what a name stands for."""
    if name.startswith("module "):
        return importlib.util.find_spec(name.removeprefix("module ")) is not None
    return bool(NEEDS[name][0]()) if name in NEEDS else shutil.which(name) is not None


def reason(name: str) -> str:
    """Return what is missing, and what brings it."""
    if name.startswith("module "):
        return f"the Python {name}"
    return NEEDS[name][1] if name in NEEDS else f"the program {name}"


def of(item: pytest.Item) -> list[str]:
    """Return all that a test needs, by its markers, its file's and its fixtures'; without duplicates."""
    found = [name for marker in item.iter_markers("needs") for name in marker.args]
    for marker in item.iter_markers():
        found += SHORT.get(marker.name, ()) or (marker.args if marker.name == "peers" else ())
    for fixture in getattr(item, "fixturenames", ()):
        found += FIXTURES.get(fixture, ())
    return list(dict.fromkeys(found))


# What pytest is told ---------------------------------------------------------------------------------------------


def skip(items: Iterable[pytest.Item]) -> dict[str, int]:
    """Skip tests that need what is not here, each with its reason. Returns how many each lack costs.

    Whatever needs anything has the marker afterwards, by which `make test-fast` leaves it out.
    """
    costs: dict[str, int] = {}
    for item in items:
        if wanted := of(item):
            item.add_marker(pytest.mark.needs(*wanted))
        lacking = [name for name in wanted if not has(name)]
        if lacking:
            item.add_marker(pytest.mark.skip(reason=f"needs {'; '.join(map(reason, lacking))}"))
            costs[lacking[0]] = costs.get(lacking[0], 0) + 1
    return costs


def table(costs: dict[str, int]) -> list[str]:
    """Return the lines that say what this machine cannot test."""
    rows = sorted(((number, reason(name)) for name, number in costs.items()), reverse=True)
    if not rows:
        return ["not tested here: nothing, this machine has all that the tests need"]
    return ["not tested here, and what it would take:", *(f"  {number:5} tests: {text}" for number, text in rows)]
