"""Modules of a verb from one file of bytecode, without looking for each of them.

Python spends about 0.1 ms on each module that it finds in a directory: it looks for the name, reads its bytecode, and
keeps others from importing it meanwhile. `state` needs 18 and `create` 72. .ci/merge.py writes what a verb loads into
one file, in the order in which it is loaded; a start script (.ci/boot.py) reads that and executes this module with it.
That saves 0.12 starts of a bare interpreter in `state` and 0.4 in `create`: docs/performance.md.

What the file says counts only while the sources are those that it was made of, by size and time as with any bytecode.
From the first that has changed on, and without a file, modules are imported as ever.
"""

from __future__ import annotations

import gc
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

    # name, source, whether a package, its time in seconds, size, code; a shared library has only the first two
    Module = tuple[str, str, bool, int, int, CodeType | None]


def place(modules: Sequence[Module]) -> None:
    """Load modules, of which each comes after those that it imports.

    One that fails is left to whoever imports it and knows what to say. The garbage collector stays off: for programs
    as short as a verb it only costs time, and one that stays enables it.
    """
    gc.disable()
    for name, path, package, time, size, code in modules:
        if name in sys.modules:
            continue
        if code is None:
            _load_library(name, path)
            continue
        try:
            status = posix.stat(path)
            if int(status.st_mtime) != time or status.st_size != size:
                return
            _load(name, path, package, code)
        except Exception:
            sys.modules.pop(name, None)
            return


def _load(name: str, path: str, package: bool, code: CodeType) -> None:
    """Do what importlib does once it has found a module and its code."""
    from _frozen_importlib import ModuleSpec
    from _frozen_importlib_external import SourceFileLoader

    parent, _, last = name.rpartition(".")
    module = type(sys)(name)
    loader = SourceFileLoader(name, path)
    spec = ModuleSpec(name, loader, origin=path, is_package=package)
    module.__file__, module.__loader__, module.__spec__ = path, loader, spec
    module.__package__ = name if package else parent
    if package:
        module.__path__ = spec.submodule_search_locations = [path.rpartition("/")[0]]
    sys.modules[name] = module
    exec(code, module.__dict__)
    if parent:
        setattr(sys.modules[parent], last, module)


def _load_library(name: str, path: str) -> None:
    """Load a module of Python's own that is a shared library, from where this Python has such modules.

    Finding the first of them means to read all directories of sys.path, which takes as long as loading it.
    """
    if path.rpartition("/")[0] in sys.path:
        try:
            from _frozen_importlib import _load  # type: ignore[attr-defined]
            from _frozen_importlib_external import ExtensionFileLoader, spec_from_file_location

            _load(spec_from_file_location(name, path, loader=ExtensionFileLoader(name, path)))
        except Exception:  # another Python is there now; who imports the module finds it, or says so
            pass


def load(name: str) -> None:
    """Load what one more file has, if that is there and can be trusted, as a start script does.

    Whether the garbage collector is on stays as it is.
    """
    from _frozen_importlib_external import MAGIC_NUMBER
    from marshal import loads

    path = f"{__file__.rpartition('/')[0]}/__pycache__/{name}.{sys.implementation.cache_tag}.merged"
    try:
        file = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return
    collecting = gc.isenabled()
    status = posix.fstat(file)
    if status.st_uid in (0, posix.geteuid()) and not status.st_mode & 0o22 and posix.read(file, 4) == MAGIC_NUMBER:
        try:
            _, modules = loads(posix.read(file, status.st_size))
            place(modules)
        except (EOFError, ValueError, TypeError):  # damaged: modules are imported
            pass
    posix.close(file)
    if collecting:
        gc.enable()


place(globals().pop("MODULES", ()))  # which nothing holds any longer
