"""Files of bytecode for verbs: what counts is the sources, and who could have written the file."""

import marshal
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.imports import exists, loaded, merge, merged
from tests.support.machine_root import make_root
from tests.support.program import TOP

SYSTEM = "freebsd" if sys.platform.startswith("freebsd") else "linux"
VERBS = sorted(merge().ROOTS[SYSTEM])


class Copy:
    """A copy of the package with a start script and its files. said: all that the last call wrote."""

    def __init__(self, directory: Path, boot: Any) -> None:
        self.package = directory / "runjail"
        shutil.copytree(TOP / "runjail", self.package, ignore=shutil.ignore_patterns("__pycache__"))
        self._script = directory / "program"
        self._script.write_text(
            boot.text(
                str(directory), [], "runjail.cli.main", boot.interpreter(), boot.merged(str(directory), merge().VERBS)
            )
        )
        merge().write(str(directory), "", sys.platform)
        self.file = self.package / "__pycache__" / f"state{merge().ENDING}"
        self.said = ""

    def imported(self, verb: str = "state") -> set[str]:
        """Call a verb for a container that does not exist. Returns what of ours Python itself imported."""
        found = self.imports("--root", str(self.package / "nowhere"), verb, "nobody")
        assert "does not exist" in self.said, self.said
        return found

    def imports(self, *words: str) -> set[str]:
        """Call the program. Returns what of ours Python itself imported."""
        command = [os.path.realpath(sys.executable), "-IS", "-v", str(self._script), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        self.said = done.stderr
        lines = [line.split("'") for line in self.said.splitlines() if line.startswith("import 'runjail")]
        return {line[1] for line in lines}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copy:
    monkeypatch.syspath_prepend(str(TOP / ".ci"))
    import boot

    return Copy(tmp_path, boot)


@pytest.mark.parametrize("verb", ["delete", "kill", "state"])
def test_a_verb_comes_from_its_file(copy: Copy, verb: str) -> None:
    """And needs nothing that takes long to make (runjail/quickos.py) or to look for (.ci/lean.py)."""
    assert copy.imported(verb) == set()
    assert [name for name in ("_collections_abc", "__future__") if f"import '{name}'" in copy.said] == []


@pytest.mark.needs("root")  # others enter their own ids first
@pytest.mark.parametrize("words", [["image", "ls"], ["--store", "dir:/nonexistent", "image", "inspect", "state"]])
def test_a_verb_of_images_comes_from_its_file(words: list[str], copy: Copy) -> None:
    """Whatever its arguments look like."""
    names = copy.imports("--store", f"dir:{copy.package}/nowhere", *words)

    assert {name for name in names if not name.startswith("runjail.storage.")} == set()
    assert "runjail.cli.main" in copy.imports("--store", f"dir:{copy.package}/nowhere", "image", "rm", "web")


def test_without_a_file_modules_are_imported(copy: Copy) -> None:
    copy.file.unlink()

    assert copy.imported() >= {"runjail.cli.main", "runjail.container.status"}


def test_a_changed_source_counts(copy: Copy) -> None:
    """Also what was loaded before it: nothing is said by the old text."""
    source = copy.package / "errors.py"
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace("container does not exist", "such a container does not exist"), encoding="utf-8")

    assert "runjail.errors" in copy.imported()
    assert "such a container does not exist" in copy.said


def test_a_source_of_the_same_length_counts_by_its_time(copy: Copy) -> None:
    source = copy.package / "errors.py"
    text, before = source.read_text(encoding="utf-8"), source.stat()
    source.write_text(text.replace("container does not exist", "cantoiner does not exist"), encoding="utf-8")
    os.utime(source, (before.st_atime + 7, before.st_mtime + 7))

    copy.imported()

    assert "cantoiner does not exist" in copy.said


def test_the_loader_is_a_source_too(copy: Copy) -> None:
    with open(copy.package / "merged.py", "a", encoding="utf-8") as file:
        file.write("# changed\n")

    assert "runjail.cli.main" in copy.imported()


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_may_write_is_not_trusted(copy: Copy, mode: int) -> None:
    copy.file.chmod(mode)

    assert "runjail.cli.main" in copy.imported()


@pytest.mark.needs("root")
def test_a_file_of_another_user_is_not_trusted(copy: Copy) -> None:
    os.chown(copy.file, 4711, -1)

    assert "runjail.cli.main" in copy.imported()


def test_a_file_for_another_python_is_left_alone(copy: Copy) -> None:
    content = copy.file.read_bytes()
    copy.file.write_bytes(b"\0\0\r\n" + content[4:])

    assert "runjail.cli.main" in copy.imported()


def damaged(file: Path) -> Iterator[None]:
    """Put what a full disk, a power cut or another format leaves in place of a file, one after another."""
    content = file.read_bytes()
    for size in (0, 3, 4, 5, 99, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        yield
    for rest in (bytes(999), *map(marshal.dumps, (None, 7, "text", (), (1, 2), (None, None), ("1", [1, 2, 3])))):
        file.write_bytes(content[:4] + rest)
        yield


def test_a_damaged_file_is_as_good_as_none(copy: Copy) -> None:
    for _ in damaged(copy.file):
        assert "runjail.cli.main" in copy.imported()
        assert "Traceback" not in copy.said


def test_files_are_written_for_their_owner_alone(copy: Copy) -> None:
    before = os.umask(0)
    try:
        merge().write(str(copy.package.parent), "", sys.platform)
    finally:
        os.umask(before)

    assert copy.file.stat().st_mode & 0o7777 == 0o644
    assert not [path for path in copy.file.parent.iterdir() if not path.name.endswith(merge().ENDING)]


BEFORE = {"rest-of-shim": ["shim-start", "shim"]}  # files that come before one which lacks what they have
SEEN = """
import posix, sys
sys.path.insert(0, {package!r})
for merged in {files!r}:
    from marshal import loads
    file = posix.open(merged, posix.O_RDONLY)
    place, modules = loads(posix.read(file, 1 << 24)[4:])
    exec(place, dict(MODULES=modules))
if not {files!r}:
    for name in ["runjail.merged", "runjail.quickos", *{names!r}]:
        __import__(name)
for name, module in sorted(sys.modules.items()):
    if name.startswith("runjail") and name not in ("runjail.merged", "runjail.quickos"):
        parent, _, last = name.rpartition(".")
        assert not parent or getattr(sys.modules[parent], last) is module, name
        spec = module.__spec__
        print(name, module.__file__, module.__package__, getattr(module, "__path__", ""), type(module.__loader__))
        print(spec.name, spec.origin, spec.parent, spec.submodule_search_locations, type(spec.loader))
        print(sorted(set(vars(module)) - {{"annotations"}}))  # of __future__
"""


@pytest.mark.parametrize("verb", VERBS)
def test_placed_modules_are_what_imported_ones_are(verb: str, copy: Copy) -> None:
    """Those of the verb in their order, with the same attributes but where their bytecode is (and see test_lean.py)."""
    package, verbs = str(copy.package.parent), [*BEFORE.get(verb, []), verb]
    names = list(dict.fromkeys(name for each in verbs for name in merged(SYSTEM, each)))
    seen = []
    for files in ([str(copy.file).replace("state", each) for each in verbs], []):
        code = SEEN.format(package=package, files=files, names=names)
        command = [os.path.realpath(sys.executable), "-ISBc", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        seen.append(done.stdout.replace("'__cached__', ", "").splitlines())

    assert seen[0] == seen[1]
    assert len(seen[0]) == 3 * len({*names} - {"runjail.merged"})


LIBRARIES = """
import posix, sys
from marshal import loads
file = posix.open({merged!r}, posix.O_RDONLY)
place, modules = loads(posix.read(file, 1 << 24)[4:])
libraries, path = [module for module in modules if module[5] is None], [*sys.path]
{before}
exec(place, dict(MODULES=libraries))
sys.path.clear()
print(*[name for name, *_rest in libraries if name in sys.modules])
sys.path[:] = path
"""
LIBRARY = """
import {name} as library
spec = library.__spec__
print(library.__file__, type(library.__loader__))
print(spec.name, spec.origin, spec.has_location, spec.cached, type(spec.loader))
print(sorted(vars(library)))
"""


def said(code: str) -> list[str]:
    """Execute a text. Returns the lines that it prints."""
    command = [os.path.realpath(sys.executable), "-ISBc", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


def test_libraries_are_loaded_without_being_looked_for(copy: Copy) -> None:
    """And are what an import makes."""
    (name, path, *_rest), *more = merge().libraries(str(copy.package.parent), merged(SYSTEM, "create"))
    code = LIBRARIES.format(merged=str(copy.file).replace("state", "create"), before="")
    there, *placed = said(code + LIBRARY.format(name=name))

    assert there.split() == [name, *(other[0] for other in more)]
    assert path in placed[0]
    assert placed == said(LIBRARY.format(name=name))


ELSEWHERE = [
    "sys.path.clear()",
    "libraries = [(name, path + 'x', *rest) for name, path, *rest in libraries]",
    "import _frozen_importlib; del _frozen_importlib._load",  # as in a later Python
]


@pytest.mark.parametrize("before", ELSEWHERE)
def test_a_library_that_is_elsewhere_now_is_looked_for(before: str, copy: Copy) -> None:
    """As after another Python was installed: nothing is loaded that this one would not find, or that is not there."""
    (name, path, *_rest), *_more = merge().libraries(str(copy.package.parent), merged(SYSTEM, "create"))
    code = LIBRARIES.format(merged=str(copy.file).replace("state", "create"), before=before)
    there, *imported = said(code + LIBRARY.format(name=name))

    assert there == ""
    assert path in imported[0]


@pytest.mark.parametrize(("mode", "there"), [(0o644, True), (0o646, False), (0o664, False)])
def test_a_process_loads_one_more_file(mode: int, there: bool, copy: Copy) -> None:
    """As the shim does for what it becomes; whether garbage is collected stays as it was."""
    copy.file.with_name(f"shim{merge().ENDING}").chmod(mode)
    code = f"""
import gc, sys
sys.path.insert(0, {str(copy.package.parent)!r})
from runjail import merged
merged.load("nothing")
for collecting in (gc.enable, gc.disable):
    collecting()
    merged.load("shim")
    print("runjail.shim.server" in sys.modules, gc.isenabled())
"""
    command = [os.path.realpath(sys.executable), "-ISBc", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.stdout.split(), done.stderr) == ([str(there), "True", str(there), "False"], "")


def test_a_shim_searches_for_nothing_after_its_last_file(copy: Copy) -> None:
    """It has what `preload` names, and nothing that the shim has by then."""
    code = f"""
import sys
sys.path.insert(0, {str(copy.package.parent)!r})
from runjail import merged
for name in ("shim-start", "shim", "rest-of-shim"):
    merged.load(name)
there = set(sys.modules)
from runjail.host.{SYSTEM} import shim
from runjail.shim import preload
preload.load({SYSTEM!r}, shim.MODULES)
print(*set(sys.modules) - there)
"""
    rest = set(merged(SYSTEM, "rest-of-shim"))

    assert said(code) == [""]
    assert len(rest) > 20
    assert rest & {*merged(SYSTEM, "shim"), *merged(SYSTEM, "shim-start")} == set()


def test_a_process_loads_nothing_of_a_damaged_file(copy: Copy) -> None:
    code = f"""
import gc, sys
sys.path.insert(0, {str(copy.package.parent)!r})
from runjail import merged
gc.enable()
merged.load("shim")
print("runjail.shim.server" in sys.modules, gc.isenabled())
import runjail.shim.server
"""
    for _ in damaged(copy.file.with_name(f"shim{merge().ENDING}")):
        command = [os.path.realpath(sys.executable), "-ISBc", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

        assert (done.stdout.split(), done.stderr) == (["False", "True"], "")


def test_a_module_that_fails_is_left_to_who_imports_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It and what comes after it are not there, and nothing was said."""
    from runjail.merged import place

    modules = []
    for name, text in {"placed_first": "x = 1", "placed_badly": "raise OSError", "placed_last": ""}.items():
        (tmp_path / f"{name}.py").write_text(text)
        modules.append(merge().entry(str(tmp_path / f"{name}.py"), str(tmp_path / f"{name}.py"), name))

    place(modules)

    assert [name for name in sys.modules if name.startswith("placed_")] == ["placed_first"]
    assert sys.modules.pop("placed_first").x == 1


@pytest.mark.linux
@pytest.mark.needs("cgroups")  # without, there is more to mount, by a module that is loaded then
def test_a_run_of_an_image_has_a_file_of_its_own(tmp_path: Path, runjail: Any) -> None:
    """With what its store's driver needs for overlays; another driver's modules come as ever."""
    make_root(str(tmp_path / "root"))
    store = ("--store", f"dir:{tmp_path}/store")
    words = (*store, "run", "--image", "web", "few", "/bin/true")
    for before in ((*store, "image", "import", f"rootfs:{tmp_path}/root", "web"), words):  # it is unpacked by then
        done = runjail(*before)
        assert done.returncode == 0, done.stderr

    names = loaded(Path(runjail.program), tmp_path / "out", "--root", str(runjail.root), *words)
    listed = set(merged("linux", "run-image"))

    other = {name for name in names if name.startswith("runjail")} - listed
    assert {name for name in other if not name.startswith("runjail.storage.")} == set()
    assert not [name for name in listed - names if not name.startswith(("runjail.storage.", "runjail.host.linux."))]


@pytest.mark.parametrize("system", ["freebsd", "linux"])
@pytest.mark.parametrize("verb", VERBS)
def test_what_is_listed_exists(system: str, verb: str) -> None:
    """And none is of the other system: nobody would notice that but by the time it takes."""
    names = [f"runjail.{root}" for root in merge().ROOTS[system][verb].split()]

    assert [name for name in names if not exists(name)] == []
    other = {"freebsd": "runjail.host.linux.", "linux": "runjail.host.freebsd."}[system]
    assert [name for name in merged(system, verb) if f"{name}.".startswith(other)] == []


@pytest.mark.parametrize("system", ["freebsd", "linux"])
@pytest.mark.parametrize("verb", ["state", "kill", "start", "delete", "exec", "create"])
def test_verbs_search_for_nothing_that_a_terminal_needs(system: str, verb: str) -> None:
    """Nor for struct, whose C half has what they take: a module that is in no file of ours costs a search each time."""
    above = {other for name in merged(system, verb) for other in merge().imported(str(TOP), name)}

    assert above & {"struct", "termios"} == set()
