"""Write the files that start scripts load a verb's modules from: one for each verb of the life cycle.

A file is named after its verb and this Python, in the package's own __pycache__, and belongs to who makes it: a start
script reads it only if that is root or its own user, and nobody else may write to it. It holds the number of this
Python's bytecode, runjail/merged.py, and the modules in the order in which they are loaded.

`run` of an image has a file of its own, and containerd's shim four. Those verbs of images that only look have one.

Which those are follows from what is imported at the top of `ROOTS`; tests/test_imports.py compares it with what each
verb loads in a whole life of a container, and so are they a budget: one module more fails.
"""

import ast
import functools
import importlib.machinery
import importlib.util
import marshal
import os
import runpy
import sys
from collections.abc import Iterator
from types import CodeType

import lean

# Name, source, whether a package, the source's time in seconds and size, code; of a library only the first two
Entry = tuple[str, str, bool, int, int, CodeType | None]

LOADER = "runjail.merged"
OS = "runjail.quickos"  # comes before whatever imports os
ENDING = f".{sys.implementation.cache_tag}.merged"
# What a verb loads besides its own module and what that imports: by name, when it gets there. In that order.
ROOTS: dict[str, dict[str, str]] = {
    "linux": {
        "create": "host.interpreter cli.verbs.create container.create host.linux.host plan.linux locks"
        " host.linux.cgroup_settings host.linux.identity host.linux.namespaces host.linux.nodes host.linux.mask",
        "delete": "cli.verbs.delete signals container.delete host.linux.host locks host.linux.processes"
        " host.linux.cgroup_users rootfs container.pid_file",
        "exec": "host.interpreter cli.verbs.exec host.linux.host spec.process cli.process container.foreground"
        " host.linux.identity host.linux.join host.linux.change host.linux.cgroups",
        "image-inspect": "cli.image.inspect image.registry.registries_conf storage.open storage.overlay",
        "image-ls": "cli.image.ls storage.open storage.overlay",
        "kill": "cli.verbs.kill container.kill host.linux.host host.linux.processes",
        "run": "host.interpreter cli.verbs.run host.linux.host cli.process container.run container.foreground"
        " plan.linux host.linux.cgroup_settings host.linux.identity host.linux.namespaces host.linux.nodes"
        " host.linux.mask host.linux.processes",
        "run-image": "host.interpreter cli.verbs.run host.linux.host cli.run_image container.query storage.overlay"
        " storage.open cli.run_devices cli.run_mounts cli.run_security container.kill cli.progress image.bundle.unpack"
        " container.run container.foreground spec.freebsd plan.linux host.linux.cgroup_settings host.linux.identity"
        " host.linux.namespaces host.linux.nodes host.linux.mask host.linux.processes image.trust.gate"
        " image.registry.registries_conf",
        "shim": "shim.server container.create container.start container.exec plan.linux host.linux.cgroup_settings"
        " host.linux.identity host.linux.join host.linux.rights host.linux.namespaces host.linux.nodes host.linux.mask"
        " host.linux.oom host.linux.processes",
        "rest-of-shim": "plan.systemd_scope plan.user_namespace plan.variants",  # and what shim/preload.py names
        "shim-delete": "cli.containerd_shim",
        "shim-start": "cli.containerd_shim host.interpreter cli.context shim.engine host.linux.host host.linux.shim",
        "start": "host.interpreter cli.verbs.start container.start host.linux.host locks",
        "state": "cli.verbs.state jsonio container.status host.linux.host",
    },
    "freebsd": {
        "create": "cli.verbs.create container.create host.freebsd.host plan.freebsd spec.freebsd locks"
        " host.program_lock host.freebsd.change host.freebsd.mounts host.freebsd.devfs host.freebsd.jails"
        " host.freebsd.attach",
        "delete": "cli.verbs.delete signals container.delete host.freebsd.host locks host.program_lock"
        " host.freebsd.change host.freebsd.jails host.freebsd.unmount host.freebsd.mount_points rootfs"
        " container.pid_file",
        "exec": "cli.verbs.exec host.freebsd.host spec.process spec.unused cli.process container.foreground"
        " host.freebsd.attach",
        "image-inspect": "cli.image.inspect image.registry.registries_conf host.freebsd.host"
        " storage.open storage.zfs_open storage.zfs storage.zfs_kernel",
        "image-ls": "cli.image.ls host.freebsd.host storage.open storage.zfs_open storage.zfs storage.zfs_kernel",
        "kill": "cli.verbs.kill container.kill host.freebsd.host",
        "run": "cli.verbs.run host.freebsd.host cli.process container.run container.foreground plan.freebsd"
        " spec.freebsd host.program_lock host.freebsd.change host.freebsd.mounts host.freebsd.devfs host.freebsd.jails"
        " host.freebsd.attach host.freebsd.unmount host.freebsd.mount_points",
        "run-image": "cli.verbs.run host.freebsd.host cli.run_image container.query storage.zfs_open storage.zfs"
        " storage.open storage.zfs_kernel cli.run_devices cli.run_mounts cli.run_security container.kill cli.progress"
        " image.bundle.unpack container.run container.foreground spec.freebsd plan.freebsd host.program_lock"
        " host.freebsd.change host.freebsd.mounts host.freebsd.devfs host.freebsd.jails host.freebsd.attach"
        " host.freebsd.unmount host.freebsd.mount_points image.trust.gate image.registry.registries_conf",
        "shim": "shim.server container.create container.start container.exec plan.freebsd spec.freebsd"
        " host.program_lock host.freebsd.change host.freebsd.mounts host.freebsd.devfs host.freebsd.jails"
        " host.freebsd.attach host.freebsd.unmount",
        "rest-of-shim": "",  # what shim/preload.py names
        "shim-delete": "cli.containerd_shim",
        "shim-start": "cli.containerd_shim cli.context shim.engine host.freebsd.host host.freebsd.shim",
        "start": "cli.verbs.start container.start host.freebsd.host locks",
        "state": "cli.verbs.state jsonio container.status host.freebsd.host",
    },
}
REST = "rest-of-shim"  # what a shim loads while its first worker runs, besides what it has
SHIM = "shim-"  # begins the names of files of containerd's shim: its two commands; "shim" is what it becomes
VERBS = tuple(verb for verb in ROOTS["linux"] if "shim" not in verb and "-image" not in verb)  # `run --image` has one
COMMANDS = tuple(name.removeprefix(SHIM) for name in ROOTS["linux"] if name.startswith(SHIM))


def modules(package: str, system: str, verb: str) -> list[str]:
    """Return the names of what a verb loads on a system, each after those that it imports.

    package: the directory that holds `runjail/`.
    """
    begun: set[str] = set()
    done: list[str] = []
    roots = [f"runjail.{root}" for root in ([] if "shim" in verb else ["cli.main"]) + ROOTS[system][verb].split()]
    if verb == REST:
        begun = {name for before in ("shim-start", "shim") for name in modules(package, system, before)}
        roots += runpy.run_path(source(package, "runjail.shim.preload"))["names"](system, ())

    def visit(name: str) -> None:
        if name not in begun and os.path.exists(source(package, name)):
            begun.add(name)
            for below in imported(package, name):
                visit(below)
            done.append(name)

    for root in roots:
        visit(root)
    return done


def source(package: str, name: str) -> str:
    """Return the path of a module's source."""
    path = os.path.join(package, *name.split("."))
    return f"{path}/__init__.py" if os.path.isdir(path) else f"{path}.py"


def imported(package: str, name: str) -> Iterator[str]:
    """Yield what may be modules of ours, in the order in which importing a module imports them."""
    if "." in name:
        yield name.rpartition(".")[0]
    path = source(package, name)
    status = os.stat(path)
    yield from named(path, status.st_mtime_ns, status.st_size)


@functools.cache
def named(path: str, _time: int, _size: int) -> tuple[str, ...]:
    """Return what import statements at the top of a source name: modules, and whatever `from` takes of them."""
    with open(path, encoding="utf-8") as file:
        body = ast.parse(file.read()).body
    found = []
    for statement in body:
        if isinstance(statement, ast.Import):
            found += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            found += [statement.module, *(f"{statement.module}.{alias.name}" for alias in statement.names)]
    return tuple(found)


def libraries(package: str, names: list[str]) -> list[Entry]:
    """Return the shared libraries among Python's own modules that ours import at the top.

    A Python whose modules are elsewhere than this one's, or built in, looks for them as ever.
    """
    above = dict.fromkeys(other for name in names for other in imported(package, name))
    return [found for name in above if "." not in name and (found := library(name))]


@functools.cache
def library(name: str) -> Entry | None:
    """Return what runjail/merged.py takes for a module of Python's that is a shared library, None of any other."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None or not isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
        return None
    return name, spec.origin, False, 0, 0, None


@functools.cache
def entry(path: str, place: str, name: str) -> Entry:
    """Return what runjail/merged.py takes for a module. path: of its source now; place: once it is installed."""
    with open(path, encoding="utf-8") as file:
        status, text = os.fstat(file.fileno()), file.read()
    return name, place, place.endswith("/__init__.py"), int(status.st_mtime), status.st_size, lean.compiled(text, place)


def entries(package: str, destination: str, names: list[str]) -> list[Entry]:
    """Return what merged.py takes. package: where it will be; destination: stands before that for now."""
    found = [source(destination + package, name) for name in names]
    return [entry(path, path.removeprefix(destination), name) for path, name in zip(found, names, strict=True)]


def write(package: str, destination: str, system: str) -> None:
    """Write the files of all verbs. system: as sys.platform or uname(1) names it."""
    system = "freebsd" if system.lower().startswith("freebsd") else "linux"
    directory = os.path.join(destination + package, "runjail", "__pycache__")
    os.makedirs(directory, exist_ok=True)
    for verb in ROOTS[system]:
        listed = modules(destination + package, system, verb)
        names = [LOADER, OS, *listed]
        names.sort(key=lambda name: name != "runjail")  # the package, whose module LOADER is, comes first
        found = libraries(destination + package, listed) + entries(package, destination, list(dict.fromkeys(names)))
        loader = next(code for name, *_rest, code in found if name == LOADER)
        put(f"{directory}/{verb}{ENDING}", importlib.util.MAGIC_NUMBER + marshal.dumps((loader, found)))


def put(path: str, content: bytes) -> None:
    """Put a file in place in one step, with a mode that start scripts trust."""
    beside = f"{path}.{os.getpid()}"
    with open(beside, "wb") as file:
        file.write(content)
    os.chmod(beside, 0o644)
    os.rename(beside, path)
