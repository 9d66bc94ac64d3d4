"""What the ZFS store asks of ZFS, answered by zfs(8) and zpool(8).

Only what OpenZFS 2.2 to 2.4 and zfs-fuse 0.7 have in common, but for encryption. Failures are told apart by the fixed
phrases of their messages: exit codes are 1, 2 or 255 without a system.
"""

from __future__ import annotations

import os

from runjail import log
from runjail.errors import InUse, StorageError, reason
from runjail.host import programs
from runjail.storage.store_lock import InheritedLocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Facts = dict[str, dict[str, str]]  # of datasets and snapshots by name: properties by name; "-": not set

TIMEOUT = 600.0  # seconds; one command may wait for a pool that is busy
MOST = 256 << 20  # bytes of a listing
DIRECTORIES = ("/sbin", "/usr/sbin", "/usr/local/sbin")
GONE = ("does not exist", "could not find any snapshots to destroy")
BUSY = ("is busy",)  # `dataset is busy`, `pool or dataset is busy`, umount's `target is busy`
# The last is the kernel's EEXIST, when a clone was made between zfs(8)'s check and its call.
NEEDED = ("has dependent clones", "has children", "being held", "dataset already exists")


class Cli:
    """zfs(8). Names are whole dataset or snapshot names, and properties texts, as zfs-get(8) -p prints them.

    Methods that return bool return False when it is busy: somebody uses the mounted file system, perhaps not for long.
    All raise StorageError. run: as programs.run; tests have their own. starts_programs: each call does.
    """

    starts_programs = True

    def __init__(self, zfs: str, zpool: str, run: Callable[..., programs.Result] = programs.run) -> None:
        self._zfs_path, self._zpool_path, self._run = zfs, zpool, run

    def read(self, names: Sequence[str], properties: Sequence[str], *, recursive: bool = False) -> Facts:
        """Return the properties of datasets, and with `recursive` of what is below; missing ones are left out."""
        options = ["-r"] if recursive else []
        result = self._zfs("get", "-Hp", *options, "-o", "name,property,value", ",".join(properties), *names)
        lines = result.stderr.decode("utf-8", "replace").splitlines()
        if result.status and not all(any(phrase in line for phrase in GONE) for line in lines):
            raise self._refusal("get", names[0], result)
        found: Facts = {}
        for line in result.stdout.decode("utf-8", "surrogateescape").splitlines():
            name, key, value = line.split("\t", 2)
            found.setdefault(name, {})[key] = value
        return found

    def filesystems(self) -> list[tuple[str, str, bool]]:
        """Return name, mount point and whether it is mounted of every file system of every pool."""
        result = self._zfs("list", "-H", "-t", "filesystem", "-o", "name,mountpoint,mounted")
        rows = [line.split("\t") for line in result.stdout.decode("utf-8", "surrogateescape").splitlines()]
        return [(name, place, mounted == "yes") for name, place, mounted in rows] if not result.status else []

    def exists(self, name: str) -> bool:
        """Whether there is this dataset or snapshot."""
        return bool(self.read([name], ["type"]))

    def create(self, name: str, properties: Mapping[str, str], key: bytes = b"") -> None:
        """Create a file system; what exists already is an error. key: 32 bytes make it an encryption root."""
        sealing = {"encryption": "aes-256-gcm", "keyformat": "raw", "keylocation": "prompt"} if key else {}
        self._must("create", name, self._zfs("create", *_options({**sealing, **properties}), name, input=key))

    def clone(self, snapshot: str, name: str, properties: Mapping[str, str]) -> None:
        """Clone a snapshot. zfs-fuse mounts the clone whatever canmount says."""
        self._must("clone", name, self._zfs("clone", *_options(properties), snapshot, name))

    def snapshot(self, name: str) -> None:
        """Take a snapshot: `DATASET@NAME`."""
        self._must("snapshot", name, self._zfs("snapshot", name))

    def diff(self, snapshot: str, name: str) -> bytes | None:
        """Return what changed of a mounted file system since a snapshot: the lines of zfs-diff(8) -FH.

        None where it cannot tell: zfs-fuse, and users who may not.
        """
        result = self._zfs("diff", "-FH", snapshot, name)
        if result.status:
            log.debug(f"zfs diff {name}: {_cause(result)}")
        return None if result.status else result.stdout

    def destroy(self, name: str) -> bool:
        """Destroy one dataset or one snapshot, and nothing else. Raises InUse when something depends on it."""
        return self._settled("destroy", name, self._zfs("destroy", name))

    def mount(self, name: str) -> None:
        """Mount a file system; one that is mounted is success."""
        self._settled("mount", name, self._zfs("mount", name), ("already mounted",))

    def unmount(self, name: str) -> bool:
        """Unmount a file system, never by force."""
        return self._settled("unmount", name, self._zfs("unmount", name), (*GONE, "not currently mounted"))

    def set(self, name: str, key: str, value: str) -> None:
        """Set a property."""
        self._must("set", name, self._zfs("set", f"{key}={value}", name))

    def load_key(self, name: str, key: bytes, *, check: bool = False) -> None:
        """Load the key of an encryption root, given on standard input. check: only see whether it is the right one."""
        options = ["-n"] if check else []
        result = self._zfs("load-key", *options, "-L", "prompt", name, input=key)
        if b"Key already loaded" in result.stderr and not check:  # by another process, which had whatever key
            self.load_key(name, key, check=True)
        else:
            self._must("load-key", name, result)

    def unload_key(self, name: str) -> bool:
        """Forget the key of an encryption root."""
        return self._settled("unload-key", name, self._zfs("unload-key", name), (*GONE, "Key already unloaded"))

    def feature(self, pool: str, name: str) -> str:
        """Return the state of a pool's feature: enabled, active, disabled; "" where ZFS does not know it."""
        result = self._call(self._zpool_path, "get", "-H", "-o", "value", f"feature@{name}", pool)
        return "" if result.status else result.stdout.decode("ascii", "replace").strip()

    def _zfs(self, *arguments: str, input: bytes = b"") -> programs.Result:
        return self._call(self._zfs_path, *arguments, input=input)

    def _call(self, *argv: str, input: bytes = b"") -> programs.Result:
        try:
            with InheritedLocks():
                result = self._run(argv, input=input, timeout=TIMEOUT, limit=MOST)
        except OSError as error:
            raise StorageError(f"{argv[0]}: cannot be run: {reason(error)}") from error
        if result.timed_out:
            raise StorageError(f"{programs.command(argv)}: no end after {TIMEOUT:g} s", f"zpool status {argv[-1]}")
        return result

    def _must(self, verb: str, name: str, result: programs.Result) -> None:
        if result.status:
            raise self._refusal(verb, name, result)

    def _settled(self, verb: str, name: str, result: programs.Result, fine: Sequence[str] = GONE) -> bool:
        """Whether it is done, or was so before; False when it is busy."""
        stderr = result.stderr.decode("utf-8", "replace")
        if not result.status or any(phrase in stderr for phrase in fine):
            return True
        if any(phrase in stderr for phrase in NEEDED):
            raise InUse(f"{name} is in use: {_cause(result)}")
        if any(phrase in stderr for phrase in BUSY):
            return False
        raise self._refusal(verb, name, result)

    def _refusal(self, verb: str, name: str, result: programs.Result) -> StorageError:
        return StorageError(f"zfs {verb} {name}: {_cause(result) or f'it returned {result.status}'}", _advice(result))


def _options(properties: Mapping[str, str]) -> list[str]:
    return [word for key, value in properties.items() for word in ("-o", f"{key}={value}")]


def _cause(result: programs.Result) -> str:
    return programs.first_line(result.stderr).replace("permission denied", "access refused")


def _advice(result: programs.Result) -> str | None:
    stderr = result.stderr.decode("utf-8", "replace").lower()
    if "permission denied" in stderr or "operation not permitted" in stderr:
        return "ZFS stores need root"
    if stderr.startswith("connect: "):
        return "the daemon of ZFS is not running: start zfs-fuse"
    if "no such pool" in stderr or "parent does not" in stderr:
        return "zpool list shows the pools that are there"
    return None


def find(run: Callable[..., programs.Result] = programs.run) -> Cli | None:
    """Return zfs(8) of this machine, None where there is none."""
    for directory in DIRECTORIES:
        zfs, zpool = f"{directory}/zfs", f"{directory}/zpool"
        if os.access(zfs, os.X_OK) and os.access(zpool, os.X_OK):
            return Cli(zfs, zpool, run)
    return None
