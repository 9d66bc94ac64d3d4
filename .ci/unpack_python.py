"""Unpack another Python from Debian's newer suites beside the system: nothing is installed, nothing upgraded.

    python3 unpack_python.py VERSION DIR      for example 3.14 .pythons/3.14

apt-get works on lists and a package database of its own, below DIR, so it resolves the interpreter with everything it
needs, its own C library among it. The interpreter is then told where its loader and libraries are (patchelf, from the
same suite); the programs it starts are the system's and notice nothing. Prints the interpreter's path.
"""

import glob
import os
import shutil
import subprocess
import sys

SUITES = ("stable", "unstable", "experimental")  # later ones may be missing; apt prefers unstable
CONFIGURATION = """\
Dir::State "{top}/state";
Dir::State::status "{top}/status";
Dir::Cache "{top}/cache";
Dir::Etc "{top}/etc";
Dir::Log "{top}/log";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "30";
Acquire::Check-Valid-Until "false"; // a mirror may lag behind; signatures are still checked
"""


class CannotUnpack(Exception):
    """Why there is no such Python to be had here, in one line."""


def run(*command: str, env: "dict[str, str] | None" = None) -> str:
    """Run a program to its end and return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=300)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().split("\n")[-1] or f"status {done.returncode}"
        raise CannotUnpack(f"{os.path.basename(command[0])}: {last}")
    return done.stdout


def mirror() -> str:
    """Return where this system gets Debian from."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise CannotUnpack("no apt-get here")
    targets = run("apt-get", "indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")
    for line in targets.splitlines():
        origin, component, uri = line.split(" ", 2)
        if origin == "Debian" and component == "main" and "security" not in uri:
            return uri
    raise CannotUnpack("apt-get knows no mirror of Debian: run apt-get update first")


def download(version: str, top: str) -> list[str]:
    """Fetch the interpreter's packages with all they depend on; returns their paths."""
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    for directory in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d", "log"):
        os.makedirs(os.path.join(top, directory), exist_ok=True)
    source = mirror()
    with open(os.path.join(top, "etc", "sources.list"), "w", encoding="utf-8") as file:
        file.writelines(f"deb [signed-by={keyring}] {source} {suite} main\n" for suite in SUITES)
    with open(os.path.join(top, "apt.conf"), "w", encoding="utf-8") as file:
        file.write(CONFIGURATION.format(top=top))
    open(os.path.join(top, "status"), "w", encoding="utf-8").close()
    env = os.environ | {"APT_CONFIG": os.path.join(top, "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "-q", "update", env=env)
    wanted = [f"python{version}", f"python{version}-venv", "patchelf", "libstdc++6"]  # the last for wheels
    run("apt-get", "-qq", "-y", "--download-only", "install", *wanted, env=env)
    return glob.glob(os.path.join(top, "cache", "archives", "*.deb"))


def patch(root: str, python: str) -> None:
    """Let the interpreter find its loader and libraries, and `venv` its copy of pip."""
    (loader,) = glob.glob(f"{root}/usr/lib*/ld-linux-*.so.*") or glob.glob(f"{root}/usr/lib/ld-linux-*.so.*")
    libraries = os.path.dirname(glob.glob(f"{root}/usr/lib/*/libc.so.6")[0])
    patchelf = [loader, "--library-path", libraries, f"{root}/usr/bin/patchelf"]
    # --force-rpath: RPATH, unlike RUNPATH, also counts for what extension modules ask for. In two calls and in this
    # order: patchelf 0.18 spoils a program that is not position independent when it does both at once.
    run(*patchelf, "--force-rpath", "--set-rpath", libraries, python)
    run(*patchelf, "--set-interpreter", loader, python)
    for path in glob.glob(f"{root}/usr/lib/python3*/_sysconfigdata_*.py"):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("'/usr/share/python-wheels", f"'{root}/usr/share/python-wheels"))


def unpack(version: str, top: str) -> str:
    """Return the path of Python `version` below `top`, unpacked now if it is not there yet."""
    top = os.path.abspath(top)
    root, beside = os.path.join(top, "root"), os.path.join(top, "unpacking")
    python = os.path.join(root, "usr", "bin", f"python{version}")
    if os.path.exists(python):
        return python
    packages = download(version, top)
    shutil.rmtree(beside, ignore_errors=True)
    for package in packages:
        run("dpkg-deb", "-x", package, beside)
    os.rename(beside, root)
    try:
        patch(root, python)
        run(python, "-c", "import ctypes, hashlib, lzma, ssl, zlib")
    except (CannotUnpack, OSError) as error:
        shutil.rmtree(root)
        raise CannotUnpack(f"unpacked, but it does not work: {error}") from error
    for unneeded in ("cache", "state"):
        shutil.rmtree(os.path.join(top, unneeded))
    return python


def main() -> None:
    """Unpack as the command line says."""
    version, top = sys.argv[1:]
    try:
        print(unpack(version, top))
    except (CannotUnpack, subprocess.TimeoutExpired) as error:
        raise SystemExit(f"Python {version} cannot be unpacked: {error}") from error


if __name__ == "__main__":
    main()
