"""A small root file system made of this machine's own programs: what the demo and the tests run in containers.

Linux: busybox, which must be the static one (Debian: busybox-static). FreeBSD: the static programs of /rescue, if they
are installed, and what they lack of the base system's, with the libraries that ldd(1) names.
"""

import os
import shutil
import subprocess
import sys

DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var")
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000:web:/tmp:/bin/sh\n",
    "etc/group": "root:x:0:\nweb:x:1000:\n",
    "etc/hosts": "127.0.0.1 localhost\n",
}
# What tests and documents run; each of busybox's 270 names was a link to make and to remove for each root file system
BUSYBOX = (
    "[ [[ awk base64 basename busybox cat chmod chown chroot cp cut date dd df diff dirname echo env false find "
    "grep groups gzip head hostname httpd id ifconfig init ionice ip kill ln logger ls mkdir mknod mktemp mount mv nc "
    "nproc nsenter passwd ping pivot_root printf ps pwd readlink rm rmdir route sed seq setpriv setsid sh "
    "sha256sum sleep sort stat stty sync sysctl tail tar tee test timeout top touch tr true truncate tty umount "
    "uname unlink unshare vi wc wget which whoami xargs yes"
).split()
BASE_PROGRAMS = "sh cat chmod cp date dd df echo hostname kill ln ls mkdir mv ps pwd rm rmdir sleep stty test".split()
USR_PROGRAMS = "env grep head id limits tail touch true tty false nc uname wc".split()


def static_source() -> str | None:
    """Return the static program with many names that this machine has, or None."""
    for path in ("/rescue/rescue", "/rescue/sh") if sys.platform.startswith("freebsd") else ("/bin/busybox",):
        if os.access(path, os.X_OK):
            return path
    return None


def missing() -> str | None:
    """Return what has to be installed before make_root works, None when nothing has."""
    if sys.platform.startswith("freebsd"):
        return None
    source = static_source()
    if source is None:
        return "busybox is not installed (Debian: busybox-static)"
    with open(source, "rb") as file:
        return "/bin/busybox is not static (Debian: busybox-static)" if b"/ld-linux" in file.read(4096) else None


def make_root(path: str) -> None:
    """Fill the directory `path`, which is made, with a root file system of a few megabytes."""
    for name in DIRECTORIES:
        os.makedirs(os.path.join(path, name))
    os.chmod(os.path.join(path, "tmp"), 0o1777)
    for name, text in FILES.items():
        with open(os.path.join(path, name), "w", encoding="ascii") as file:
            file.write(text)
    source = static_source()
    if sys.platform.startswith("freebsd"):
        if source:
            _copy_static(path, source, "rescue", os.listdir("/rescue"))
        _copy_dynamic(path)
    elif source:
        listed = subprocess.run([source, "--list"], check=True, capture_output=True, text=True)
        _copy_static(path, source, "busybox", sorted(set(BUSYBOX) & set(listed.stdout.split())))


def _copy_static(path: str, source: str, name: str, links: list[str]) -> None:
    shutil.copy(source, os.path.join(path, "bin", name))
    for link in set(links) - {name}:
        os.symlink(name, os.path.join(path, "bin", link))


def _copy_dynamic(path: str) -> None:
    programs = [f"/bin/{name}" for name in BASE_PROGRAMS] + [f"/usr/bin/{name}" for name in USR_PROGRAMS]
    for program in filter(os.path.exists, programs):
        if not os.path.lexists(os.path.join(path, "bin", os.path.basename(program))):  # else a name of the static one's
            add_program(path, program)


def add_program(path: str, program: str) -> None:
    """Copy a program of FreeBSD's into /bin of the root file system `path`, with the libraries that it lacks there."""
    shutil.copy(program, os.path.join(path, "bin"))
    listed = subprocess.run(["ldd", "-f", "%p\\n", program], check=False, capture_output=True, text=True)
    for library in {"/libexec/ld-elf.so.1", *listed.stdout.split()}:
        if library.startswith("/") and not os.path.exists(path + library):
            os.makedirs(path + os.path.dirname(library), exist_ok=True)
            shutil.copy(library, path + library)
