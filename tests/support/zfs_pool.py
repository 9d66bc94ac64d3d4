"""A ZFS pool to test with, and the room it lives in.

On FreeBSD, and where OpenZFS runs, it is a pool in a file. Elsewhere zfs-fuse serves it, which knows one daemon a
machine; so the daemon lives in a mount namespace of its own, with its own sockets, lock and pool cache, and the pool's
file in memory. A test that uses the pool enters that namespace for its length, and with it every program that it
starts.

The demo uses it too, which needs no pytest; tests take the fixtures of tests/support/storage/zpool.py.
"""

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.leftovers import Leftovers

FREEBSD = sys.platform.startswith("freebsd")
CLONE_FS, CLONE_NEWNS = 0x200, 0x20000
SIZE = 1 << 30  # bytes of a pool's file, which is sparse
MEMORY = "/var/lib/zfs"  # where the daemon's pool cache is, too: each commit waits for the disk otherwise
# Everything by which two zfs-fuse would find each other. A commit goes through a dozen of its threads, which take
# turns: on a busy machine it needs a second, and a tenth of one with precedence.
DAEMON = f"""
mount -t tmpfs -o mode=700 none /run/zfs && mount -t tmpfs none /run/lock && mount -t tmpfs none {MEMORY} &&
exec nice -n -15 zfs-fuse --no-daemon --no-kstat-mount --max-arc-size 64
"""
NUMBERS = itertools.count(1)


def fuse() -> bool:
    """Whether zfs-fuse is what this machine has."""
    return not FREEBSD and not os.path.exists("/dev/zfs") and bool(shutil.which("zfs-fuse"))


def missing() -> str:
    """Return why there can be no pool here, "" when there can."""
    if os.geteuid():
        return "needs root"
    if not shutil.which("zpool"):
        return "needs zpool(8)"
    if FREEBSD or os.path.exists("/dev/zfs"):
        return ""
    if not fuse() or not os.path.exists("/dev/fuse"):
        return "needs zfs-fuse and /dev/fuse"
    command = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        return "needs the right to mount, for zfs-fuse"
    return ""


def zfs(*arguments: str) -> str:
    """Run zfs(8), for as long as something that just ended keeps it busy, and return what it says."""
    for _ in range(100):
        result = subprocess.run(["zfs", *arguments], capture_output=True, text=True, check=False)
        if "busy" not in result.stderr:
            break
        time.sleep(0.05)
    assert result.returncode == 0, f"zfs {' '.join(arguments)}: {result.stderr}"
    return result.stdout


class Pool:
    """A pool. name: its name; mount: where it is mounted, inside; disk: the file that it is in, seen inside.

    size: bytes of that file.
    """

    def __init__(self, directory: Path, leftovers: Leftovers, size: int = SIZE) -> None:
        self._size = size
        self.name, self.mount = f"rjtest{os.getpid()}n{next(NUMBERS)}", directory / "mnt"
        self.disk = Path(MEMORY if fuse() else directory, "disk")
        self._directory, self._leftovers = directory, leftovers
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start zfs-fuse where that serves ZFS, and create the pool."""
        if fuse():
            self._daemon = start_daemon(self._directory, self._leftovers)
            wait_for_daemon(self._directory, self._daemon)
        with self.inside():
            self._create()

    @property
    def pid(self) -> int | None:
        """The pid of zfs-fuse, None where the kernel serves ZFS."""
        return self._daemon.pid if self._daemon else None

    def died(self) -> bool:
        """Whether zfs-fuse is no more."""
        return self._daemon is not None and self._daemon.poll() is not None

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread, and all that it starts from now on, see the pool and its file systems."""
        if not self._daemon:
            yield
            return
        before = os.getcwd()
        here, there = view("/proc/thread-self"), view(f"/proc/{self._daemon.pid}")
        try:
            enter(*there)
            try:
                yield
            finally:
                enter(*here)
                os.chdir(before)
        finally:
            for descriptor in here + there:
                os.close(descriptor)

    def _create(self) -> None:
        """Create the pool, as soon as the daemon listens."""
        with open(self.disk, "wb") as file:
            file.truncate(self._size)
        self.mount.mkdir(exist_ok=True)
        end = time.monotonic() + 120
        while subprocess.run(["zpool", "list"], capture_output=True, check=False).returncode:
            assert time.monotonic() < end, "ZFS does not answer"
            time.sleep(0.02)
        create = ["zpool", "create", "-O", "atime=off", "-m", str(self.mount), self.name, str(self.disk)]
        subprocess.run(create, check=True, capture_output=True)

    def destroy(self) -> None:
        """Remove the pool; a daemon of ours takes it and its namespace along."""
        if self._daemon:
            self._daemon.send_signal(signal.SIGKILL)
            self._daemon.wait()
        elif not fuse():
            subprocess.run(["zpool", "destroy", "-f", self.name], check=True, capture_output=True)

    @contextlib.contextmanager
    def dataset(self) -> Iterator[str]:
        """Make a dataset, mounted below `mount`, and destroy it with everything in it."""
        name = f"{self.name}/t{next(NUMBERS)}"
        zfs("create", "-o", "compression=off", name)  # sizes are what was written
        yield name
        for line in zfs("list", "-H", "-r", "-o", "name,mounted", name).splitlines()[::-1]:
            filesystem, mounted = line.split("\t")
            if mounted == "yes":
                zfs("unmount", filesystem)
        zfs("destroy", "-R", name)

    def path(self, dataset: str) -> Path:
        """Return where a dataset is mounted."""
        return self.mount / dataset.partition("/")[2]


def view(process: str) -> tuple[int, int]:
    """Open the mount namespace and the root directory of a process."""
    root = os.open(f"{process}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return os.open(f"{process}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC), root


def enter(namespace: int, root: int) -> None:
    """Enter a mount namespace with this thread, which ends up in /: after chroot(2) not the namespace's own."""
    libc = ctypes.CDLL(None, use_errno=True)
    # The kernel moves only who shares its working directory with no other thread.
    if libc.unshare(CLONE_FS) or libc.setns(namespace, CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "entering the mount namespace of zfs-fuse failed")
    os.fchdir(root)
    os.chroot(".")


def start_daemon(directory: Path, leftovers: Leftovers) -> "subprocess.Popen[bytes]":
    """Start zfs-fuse in a mount namespace of its own, marked as ours."""
    for place in ("/run/zfs", "/run/lock", MEMORY):
        os.makedirs(place, exist_ok=True)
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", DAEMON]
    env = {"PATH": os.environ["PATH"], leftovers.MARK: leftovers.base}
    with open(directory / "log", "wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd="/")


def wait_for_daemon(directory: Path, daemon: "subprocess.Popen[bytes]") -> None:
    """Wait until it is in its namespace and runs."""
    end = time.monotonic() + 120
    while not os.path.exists(f"/proc/{daemon.pid}/root/run/zfs/zfs_socket"):
        assert daemon.poll() is None and time.monotonic() < end, (directory / "log").read_text()
        time.sleep(0.02)
