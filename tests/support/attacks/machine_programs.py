"""Programs of this machine for a container, with their libraries: busybox takes off what a mode bit gives it."""

import os
import shutil
import subprocess
from pathlib import Path


def add(rootfs: Path, program: str, name: str, mode: int, gid: int = 0) -> str:
    """Copy a program into a root file system as /bin/NAME, with this mode and group. Returns that path."""
    source = shutil.which(program)
    assert source, f"this machine has no {program}"
    listed = subprocess.run(["ldd", source], capture_output=True, text=True, check=True).stdout.split()
    for library in {word for word in listed if word.startswith("/")}:
        target = rootfs / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    target = rootfs / "bin" / name
    shutil.copy(source, target)
    os.chown(target, 0, gid)
    target.chmod(mode)  # last: chown takes set-user-ID and set-group-ID away
    return f"/bin/{name}"
