"""What the tests of imports look with: the modules of the package as trees, and what a run of the program loads."""

import ast
import functools
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.program import TOP

PACKAGE = TOP / "runjail"
STARTING = set(
    "_codecs _frozen_importlib _frozen_importlib_external _imp _io _abc _signal _thread _warnings _weakref".split()
)
STARTING |= set("abc builtins codecs encodings io marshal posix sys time zipimport winreg _locale".split())
STARTING |= {"encodings.aliases", "encodings.utf_8"}
OF_A_SCRIPT = {"__main__", "os.path", "linecache"}  # what `python -c` has beside that; the last one since Python 3.13
SMALL = set("gc os stat _stat posixpath genericpath _collections_abc errno fcntl select _socket resource".split())
SMALL |= set("__future__ termios struct _struct ctypes ctypes._endian types _ctypes math _posixsubprocess".split())


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield the absolute name of everything that is imported, `from a import b` as both a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def without_type_checking(tree: ast.Module) -> ast.Module:
    """Drop the blocks that only type checkers see."""

    class Drop(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> Any:
            only_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            return node.orelse if only_types else self.generic_visit(node)

    changed = Drop().visit(ast.parse(ast.unparse(tree)))
    assert isinstance(changed, ast.Module)
    return changed


@functools.cache
def places() -> dict[str, Path]:
    """Return the path of each module, by its name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        found[".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


@functools.cache
def parsed(name: str) -> tuple[str, ast.Module]:
    """Return (package for relative imports, tree) of a module. All together they take two seconds to read."""
    path = places()[name]
    return ".".join(path.relative_to(TOP).parts[:-1]), ast.parse(path.read_text(encoding="utf-8"))


def modules() -> list[tuple[str, str, ast.Module]]:
    """Return (name, package for relative imports, tree) of every module."""
    return [(name, *parsed(name)) for name in places()]


def exists(name: str) -> bool:
    """Whether a dotted name is a module of ours and not something inside one."""
    path = TOP.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def is_package(name: str) -> bool:
    """Whether a name is a directory of modules: importing from it means one of those, which are looked at too."""
    return TOP.joinpath(*name.split(".")).is_dir()


def merged(system: str, verb: str) -> list[str]:
    """Return what .ci/merge.py puts into the file of a verb, in its order."""
    return list(merge().modules(str(TOP), system, verb))


def merge() -> Any:
    """Return .ci/merge.py as a module."""
    return _beside_the_package("merge")


def lean() -> Any:
    """Return .ci/lean.py as a module."""
    return _beside_the_package("lean")


def _beside_the_package(name: str) -> Any:
    sys.path.append(str(TOP / ".ci"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(TOP / ".ci"))


def loaded(program: Path, out: Path, *args: str) -> set[str]:
    """Run the installed program and return the names of all modules that it and its children load."""
    python = program.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("#!").split()
    with open(out, "w", encoding="utf-8") as listing:
        command = [*python, "-X", "importtime", str(program), *args]
        subprocess.run(
            command, stdout=listing, stderr=listing, stdin=subprocess.DEVNULL, env={}, check=False, timeout=60
        )
    lines = [
        line.split("|") for line in out.read_text(encoding="utf-8").splitlines() if line.startswith("import time:")
    ]
    return {line[2].strip() for line in lines if len(line) == 3} - {"imported package"}


def over_budget(names: set[str]) -> set[str]:
    """Return what is neither ours, nor small, nor loaded by Python itself at every start."""
    return {name for name in names if not name.startswith("runjail")} - STARTING - SMALL
