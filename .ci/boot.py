"""Write the boot scripts: the files that people and container engines start, and those of our NRI plugins.

    python3 boot.py --package DIR --to DIR [--destination DIR] [--site DIR]... [--plugins DIR] [--system NAME]

A script that pip generates starts Python with `site` and imports `re`, which doubles the time `runjail state` takes.
Ours runs the real interpreter isolated and without `site` (-IS): nothing from the environment, the working directory or
a .pth file reaches it, and an absolute first line needs no PATH.

On Linux that line names a link in a directory of ours, over which runjail mounts the interpreter's own directory
read-only, before anything of a container runs: see runjail/host/interpreter.py.
"""

import os
import subprocess
import sys

import merge

TEMPLATE = """\
#!{python} -IS
# Made by .ci/boot.py. The package first; what only some verbs import comes last.
import _signal
import sys

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # no traceback; who has something to undo asks for signals
sys.path.insert(0, {package!r})
sys.path += {site!r}
{merged}from {module} import main

main()
"""

# In programs whose verbs have files of bytecode (merge.py). Whoever may write to one could have anything run by us. A
# word that only looks like a verb, as in `--root state`, costs time. python -X importtime shows imports as without it.
# Of a damaged file, which a full disk leaves, nothing is taken: the sources say it all. bytes(): once a large block was
# freed, glibc takes the next from its heap, where its pages serve others later: 50 to 100 page faults less, 2 % of
# create and exec.
MERGED = """\
import posix
from marshal import loads
from _frozen_importlib_external import MAGIC_NUMBER

words = sys.argv[1:]
for word, after in zip(words, [*words[1:], ""]):
    if word == "image":
        word += "-" + after
    if word in {verbs!r} and "importtime" not in sys._xoptions:
        word += "-image" * any([other.startswith("--image") for other in sys.argv])
        try:
            file = posix.open({directory!r} + word + {ending!r}, posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError:
            break
        status = posix.fstat(file)
        if status.st_uid in (0, posix.geteuid()) and not status.st_mode & 0o22 and posix.read(file, 4) == MAGIC_NUMBER:
            bytes(2 * status.st_size)
            try:
                place, modules = loads(posix.read(file, status.st_size))
                exec(place, {{"__name__": "runjail.merged", "MODULES": modules}})
            except (EOFError, ValueError, TypeError):
                pass
            place = modules = None
        posix.close(file)
        break
"""

PLACE = "../libexec/runjail/bin"  # next to the programs: over which the interpreter's directory is mounted
LONGEST = 120  # bytes of an interpreter's path: Linux before 5.1 cuts a first line off after 127
PLUGINS = ("clearcfs", "konfine")
PROGRAMS = {  # next to runjail itself, and the modules they run
    "containerd-shim-runjail-v1": "runjail.cli.containerd_shim",
    "ctd-decoder": "runjail.cli.ctd_decoder",
    "../libexec/runjail/runj": "runjail.cli.runj",  # not in bin, where it would hide a runj
}


def interpreter() -> str:
    """Return the running Python itself: not the virtual environment's link to it, which makes it search for more."""
    return os.path.realpath(sys.executable)


def fits(python: str) -> bool:
    """Whether a script's first line can name this interpreter."""
    return " " not in python and len(os.fsencode(python)) <= LONGEST


def text(package: str, site: list[str], module: str, python: str, merged: str = "") -> str:
    """Return a script that runs main() of a module.

    package: the directory that holds `runjail/`; site: where third-party packages are; python: the interpreter; merged:
    what it does before.
    """
    if not fits(python):
        raise SystemExit(f"cannot make a script that starts with {python!r}: too long, or it holds a space")
    return TEMPLATE.format(python=python, package=package, site=site, module=module, merged=merged)


def write_programs(package: str, site: list[str], directory: str, destination: str = "") -> bool:
    """Write runjail and the programs that belong next to it. True when one of them is new.

    directory: where they are started from; destination: stands before it for now, as `make install DESTDIR=` has it.
    """
    programs = {"runjail": "runjail.cli.main", **PROGRAMS}
    paths = {os.path.normpath(f"{destination}{directory}/{name}"): module for name, module in programs.items()}
    for path in paths:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    python = make_place(directory, destination) if sys.platform == "linux" else interpreter()
    loading = {
        "runjail.cli.main": merged(package, merge.VERBS),
        "runjail.cli.containerd_shim": merged(package, merge.COMMANDS, merge.SHIM),
    }
    texts = {path: text(package, site, module, python, loading.get(module, "")) for path, module in paths.items()}
    new = [path for path, content in texts.items() if write(path, content)]
    return bool(new)


def merged(package: str, verbs: tuple[str, ...], prefix: str = "") -> str:
    """Return how a script loads what its verb needs from one file. prefix: of the names of files."""
    directory = f"{package}/runjail/__pycache__/{prefix}"
    return MERGED.format(verbs=verbs, directory=directory, ending=merge.ENDING)


def make_place(directory: str, destination: str) -> str:
    """Make the directory over which the interpreter's own will be mounted. Returns the link in it to the interpreter.

    Where a first line cannot name that, the interpreter itself is returned.
    """
    python = interpreter()
    place = os.path.normpath(os.path.join(directory if destination else os.path.realpath(directory), PLACE))
    link, above = f"{destination}{place}/{os.path.basename(python)}", os.path.dirname(f"{destination}{place}")
    if not fits(link.removeprefix(destination)):
        return python
    release(f"{destination}{place}")
    os.makedirs(f"{destination}{place}", exist_ok=True)
    point(link, python)
    point(f"{above}/lib", os.path.join(os.path.dirname(os.path.dirname(python)), "lib"))  # $ORIGIN/../lib
    # Where this Python's own modules are: from a mounted place it would look for them next to that
    write(f"{above}/pyvenv.cfg", f"home = {os.path.dirname(python)}\n", 0o644)
    return link.removeprefix(destination)


def release(place: str) -> None:
    """Unmount what a runjail has mounted on a directory."""
    subprocess.run(["sh", os.path.join(os.path.dirname(os.path.abspath(__file__)), "release"), place], check=True)


def point(link: str, target: str) -> None:
    """Let a symbolic link have a target, in one step."""
    if not os.path.islink(link) or os.readlink(link) != target:
        beside = f"{link}.{os.getpid()}"
        os.symlink(target, beside)
        os.rename(beside, link)


def write_plugins(package: str, directory: str) -> None:
    """Write the programs of the NRI plugins that come with runjail, which finds them next to its own: ../libexec."""
    os.makedirs(directory, exist_ok=True)
    for name in PLUGINS:
        write(os.path.join(directory, name), text(package, [], f"runjail.nri.plugins.{name}", interpreter()))


def write(path: str, content: str, mode: int = 0o755) -> bool:
    """Put a file in place in one step; False when it is there already."""
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == content and os.stat(path).st_mode & 0o7777 == mode:
                return False
    except FileNotFoundError:
        pass
    beside = f"{path}.{os.getpid()}"
    with open(beside, "w", encoding="utf-8") as file:
        file.write(content)
    os.chmod(beside, mode)
    os.rename(beside, path)
    return True


def main() -> None:
    """Write boot scripts as command line options say."""
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--package", required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--destination", default="")
    parser.add_argument("--site", action="append", default=[])
    parser.add_argument("--plugins", default="")
    parser.add_argument("--system", default=sys.platform)
    options = parser.parse_args()
    merge.write(options.package, options.destination, options.system)
    write_programs(options.package, options.site, options.to, options.destination)
    if options.plugins:
        write_plugins(options.package, options.destination + options.plugins)


if __name__ == "__main__":
    main()
