"""Find and remove what containers of one directory left on this machine: processes, mounts, jails, control groups.

Three marks tell ours from everybody else's: paths below a base directory, the variable RUNJAIL_TEST in the
environment of every container process, whose value is that directory, and control groups named after it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
import zlib

FREEBSD = sys.platform.startswith("freebsd")
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Leftovers:
    """What belongs to the containers below the directory `base`. group: starts the names of their control groups.

    within: the directory of a session that this is a part of; what belongs to the part belongs to the session, too.
    """

    MARK = "RUNJAIL_TEST"
    OWNER = "owner"

    def __init__(self, base: str, within: str = "") -> None:
        self.base = os.path.realpath(base)
        whole = [os.path.realpath(within)] if within else []
        numbers = [f"{zlib.crc32(path.encode()):08x}" for path in [*whole, self.base]]
        self.group = "-".join(["runjail-test", *numbers])  # for linux.cgroupsPath

    def claim(self) -> None:
        """Write down that this process works in base, so that others' sweeps leave it alone."""
        with open(os.path.join(self.base, self.OWNER), "w", encoding="ascii") as file:
            file.write(str(os.getpid()))

    def abandoned(self) -> bool:
        """Whether the process that claimed base is gone; a directory that nobody claimed is not ours."""
        try:
            with open(os.path.join(self.base, self.OWNER), encoding="ascii") as file:
                os.kill(int(file.read()), 0)
        except (FileNotFoundError, NotADirectoryError, ValueError, PermissionError):
            return False
        except ProcessLookupError:
            return True
        return False

    @classmethod
    def sweep_aborted(cls, parent: str) -> None:
        """Remove what is left in every abandoned base directory below parent."""
        for name in os.listdir(parent):
            session = cls(os.path.join(parent, name))
            if session.abandoned():
                session.sweep()
                session.release_interpreter()
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(session.base, cls.OWNER))

    def find(self) -> list[str]:
        """Return one line for each thing that is still there."""
        found = [f"process {pid}: {line}" for pid, line in self.processes()]
        found += [f"mount {path}" for path in self.mounts(self.base)]
        found += [f"jail {name}" for name in self.jails()]
        return found + [f"control group {path}" for path in self.cgroups()]

    def sweep(self) -> None:
        """Remove it all, as far as that works."""
        for name in self.jails():
            subprocess.run(["jail", "-R", name], check=False, capture_output=True)
        for _ in range(50):
            pids = [pid for pid, _line in self.processes()]
            if not pids:
                break
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        self.unmount(self.mounts(self.base))
        for path in self.cgroups():
            with contextlib.suppress(OSError):
                os.rmdir(path)

    def release_interpreter(self) -> None:
        """Unmount the interpreter that the checkout's program has mounted; the next container mounts it again."""
        place = os.path.join(TOP, ".venv", "libexec", "runjail", "bin")
        subprocess.run(["sh", os.path.join(TOP, ".ci", "release"), place], check=True)

    def processes(self) -> list[tuple[int, str]]:
        """Return (pid, command line) of live processes that carry the mark in their environment."""
        if FREEBSD:
            return []  # a jail that lost its name loses its processes with it: jails() is enough
        found = []
        mark = f"{self.MARK}={self.base}/".encode()
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open(f"/proc/{name}/environ", "rb") as file:
                    if not any((entry + b"/").startswith(mark) for entry in file.read().split(b"\0")):
                        continue
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    found.append((int(name), file.read().replace(b"\0", b" ").decode(errors="replace")))
        return found

    def mounts(self, below: str) -> list[str]:
        """Return the mount points below a directory, the deepest first."""
        if FREEBSD:
            listed = subprocess.run(["mount", "-p"], check=True, capture_output=True, text=True).stdout
            points = [line.split()[1] for line in listed.splitlines()]
        else:
            with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
                points = [line.split()[1].replace("\\040", " ") for line in file]
        return [point for point in reversed(points) if point.startswith(os.path.realpath(below) + "/")]

    def unmount(self, points: list[str]) -> None:
        """Unmount by force."""
        for point in points:
            options = ["-f"] if FREEBSD else ["-l"]
            subprocess.run(["umount", *options, point], check=False, capture_output=True)

    def jails(self) -> list[str]:
        """Return the jids of jails whose root directory is below base."""
        if not FREEBSD:
            return []
        listed = subprocess.run(["jls", "jid", "path"], check=False, capture_output=True, text=True).stdout
        rows = [line.split(maxsplit=1) for line in listed.splitlines()]
        return [row[0] for row in rows if len(row) == 2 and row[1].startswith(self.base + "/")]

    def cgroups(self) -> list[str]:
        """Return control groups named after base, and what is below them, the deepest first."""
        found = []
        if not FREEBSD:
            for path, _names, _files in os.walk("/sys/fs/cgroup", topdown=False):
                if self.group in path:
                    found.append(path)
        return found
