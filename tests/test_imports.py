"""Which room may know which, and what each verb may load.

The first table is the import contract: a room that is not in it does not exist yet, and an import that is not in it is
a decision to take, not a line to add in passing. The second is the start-up budget: a bare interpreter starts in about
7 ms, and `re`, `json`, `typing` or `enum` cost as much again, each.
"""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).resolve().parent.parent
PACKAGE = TOP / "runjail"

BASE = {"", "errors", "jsonio", "log"}
MAY_IMPORT: dict[str, set[str]] = {
    "": set(),
    "errors": set(),
    "record": set(),
    "jsonio": set(),
    "rootfs": set(),
    "attributes": set(),
    "files": {"errors"},
    "signals": set(),
    "locks": set(),
    "sizes": set(),
    "target": set(),
    "protobuf": set(),
    "log": {"errors", "jsonio"},
    "spec": {"", "errors", "files", "jsonio", "record"},
    "steps": {"record", "spec"},
    "plan": {"errors", "record", "spec", "steps"},
    "host": BASE | {"files", "record", "rootfs", "signals", "spec", "steps"},
    "host.freebsd": BASE | {"files", "host", "record", "rootfs", "signals", "spec", "steps"},
    "host.linux": BASE | {"files", "host", "record", "rootfs", "signals", "spec", "steps"},
    "settings": {"", "errors", "files"},
    "nri": BASE | {"files", "host", "record", "settings"},
    "storage": BASE | {"attributes", "files", "host", "record", "rootfs"},
    "image": {"", "errors", "jsonio", "record"},  # the words that its rooms share
    "image.layers": {"attributes", "errors", "image", "rootfs"},
    "image.registry": BASE | {"files", "host", "image"},
    "image.crypto": BASE | {"files", "host", "image", "protobuf"},
    "image.content": BASE | {"files", "image", "image.crypto", "image.layers", "image.registry", "record", "storage"},
    "image.bundle": BASE | {"image", "image.content", "image.crypto", "image.layers", "record", "rootfs", "storage"},
    "container": BASE | {"files", "host", "nri", "plan", "record", "rootfs", "signals", "spec", "steps"},
    "shim": BASE | {"container", "files", "host", "nri", "plan", "protobuf", "record", "settings", "spec"},
    "cli": {
        *("", "container", "errors", "files", "host", "host.freebsd", "host.linux", "image", "image.bundle"),
        *("image.content", "image.crypto", "image.registry", "jsonio", "log", "nri", "plan", "protobuf", "record"),
        *("settings", "shim", "signals", "spec", "steps", "storage"),
    },
    "__main__": {"cli"},
}
VOCABULARY = {"locks", "sizes", "target"}  # what every room may know
# Modules of a room that only some rooms may know: which operating system this is, is decided once.
PRIVATE = {
    "host": {
        **{room: {"programs"} for room in ("image.registry", "image.crypto", "nri", "storage")},
        "container": {"base", "programs"},
    }
}
# The one place where `host` itself chooses between its two answers, and what exists on one of them only.
INWARD = {
    "runjail.host.reaper": {"host.freebsd", "host.linux"},
    "runjail.host.interpreter": {"host.linux"},
}
# Rooms of ordinary Python: neither a verb of the life cycle nor the start of an image that is in the store loads them,
# and no plugin is asked through them (docs/decisions/plain-hot-half.md). PLAIN are those of their modules that are.
COLD = {"settings", "image.content", "image.crypto", "image.layers", "image.registry"}
PLAIN = {f"runjail.image.content.{name}" for name in ("ingest", "layout", "open", "store")}
# What need not be installed, or is not built everywhere, is imported by who uses it.
OPTIONAL = set("backports click compression cryptography grpc isal jsonschema libzfs_core lzma pkcs11 psutil".split())
OPTIONAL |= {"urllib3", "yaml"}
# What the pure rooms must not touch. Type-only imports do not count here: they are not there when the program runs.
FORBIDDEN = {
    "plan": {"os", "subprocess", "ctypes", "socket", "fcntl", "resource"},  # _socket.inet_pton reads addresses
    "spec": {"subprocess", "ctypes", "socket", "fcntl", "resource"},
    "steps": {"os"},
    "record": {"os"},
    "errors": {"os"},
}


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


def room_of(name: str) -> str:
    """Return the room of a module: `runjail.host.base` lives in `host`; the package itself is ""."""
    parts = [*name.split("."), "", ""]
    inner = f"{parts[1]}.{parts[2]}"
    return inner if inner in MAY_IMPORT else parts[1]


def modules() -> list[tuple[str, str, ast.Module]]:
    """Return (name, package for relative imports, tree) of every module."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(TOP).with_suffix("").parts)
        package = ".".join(parts[:-1])
        name = ".".join(parts).removesuffix(".__init__")
        found.append((name, package, ast.parse(path.read_text(encoding="utf-8"))))
    return found


def exists(name: str) -> bool:
    """Whether a dotted name is a module of ours and not something inside one."""
    path = TOP.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_every_room_has_its_rule() -> None:
    """A new room needs a line in the contract."""
    assert {room_of(name) for name, _package, _tree in modules()} <= set(MAY_IMPORT)


def test_the_contract_has_no_cycle() -> None:
    """Rooms can be ordered so that each knows only those below it."""
    order: list[str] = []
    while len(order) < len(MAY_IMPORT):
        ready = [room for room, below in MAY_IMPORT.items() if room not in order and below <= set(order)]
        assert ready, f"these know each other: {set(MAY_IMPORT) - set(order)}"
        order += ready


@pytest.mark.parametrize(
    ("name", "package", "tree"), modules(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_rooms_keep_the_contract(name: str, package: str, tree: ast.Module) -> None:
    """No module knows a room that the contract does not give it, not even for types, nor by a name in a table."""
    room = room_of(name)
    broken = []
    for imported in (*imports(tree, package), *named(tree)):
        if not imported.startswith("runjail") or not exists(imported) or imported.count(".") < 1:
            continue
        target, module = room_of(imported), imported.rpartition(".")[2]
        known = MAY_IMPORT[room] | (VOCABULARY if room not in VOCABULARY else set()) | INWARD.get(name, set())
        if target not in known | {room, ""} and not is_package(imported):
            broken.append(f"{name} imports {imported}")
        allowed = PRIVATE.get(target, {}).get(room)
        if allowed is not None and not is_package(imported) and module not in allowed:
            broken.append(f"{name} imports {imported}, of which {room} may only know {sorted(allowed)}")

    assert broken == []


def named(tree: ast.Module) -> Iterator[str]:
    """Yield the modules that a table names in strings, `runjail.x.y` or `runjail.x.y:z`; there must be such a z."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("runjail."):
            module, colon, attribute = node.value.partition(":")
            if exists(module) and module.replace(".", "").replace("_", "").isalnum():
                yield module
                if colon:
                    source = TOP.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
                    assert f"\ndef {attribute}(" in source, f"{node.value} names nothing"


def is_package(name: str) -> bool:
    """Whether a name is a directory of modules: importing from it means one of those, which are looked at too."""
    return TOP.joinpath(*name.split(".")).is_dir()


def test_modules_know_each_other_one_way() -> None:
    """No module imports, by whatever way round, one that imports it; not inside functions and not for types either."""
    known = {name: set[str]() for name, _package, _tree in modules()}
    for name, package, tree in modules():
        known[name] = {other for other in imports(tree, package) if other in known and not is_package(other)} - {name}

    assert circles(known) == []


def circles(known: dict[str, set[str]]) -> list[set[str]]:
    """Return the sets of modules each of which leads to all others of its set."""
    reach = {name: set(below) for name, below in known.items()}
    for middle, further in reach.items():
        for below in reach.values():
            if middle in below:
                below |= further
    return [{other for other in below if name in reach[other]} for name, below in reach.items() if name in below]


@pytest.mark.parametrize("room", sorted(COLD))
def test_cold_rooms_are_ordinary_python(room: str) -> None:
    """They have no records of ours, and imports at the top, but of what may be missing; types of that too."""
    strange = []
    for name, package, tree in modules():
        if room_of(name) != room or name in PLAIN:
            continue
        strange += [f"{name}: Record" for imported in imports(tree, package) if imported == "runjail.record"]
        for node in tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            found = {imported.split(".")[0] for imported in imports(node, package)} - OPTIONAL
            strange += [f"{name}, line {node.lineno}: {sorted(found)}"] if found else []

    assert strange == []


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_pure_rooms_stay_pure(room: str) -> None:
    """Rooms that only compute have nothing to compute with but their arguments."""
    for name, package, tree in modules():
        if room_of(name) == room:
            touched = {module.split(".")[0] for module in imports(without_type_checking(tree), package)}

            assert not touched & FORBIDDEN[room], name


# What FreeBSD's Python and libc do not have, and modules that have to be compiled, which pip cannot bring there; a test
# that uses one of them as it is imported stops the whole run.
WITHOUT_LINUX = """
import os, resource, sys
for name in ("pidfd_open", "getrandom", "sched_setaffinity", "unshare", "setns"):
    os.__dict__.pop(name, None)
del resource.prlimit
sys.platform = "freebsd15"

class Libc:
    def find_spec(self, name, path=None, target=None):
        if name == "runjail.host.linux.libc":
            raise OSError('Undefined symbol "umount2"')

for name in ("backports", "coverage", "cryptography", "google", "grpc", "isal", "jwcrypto", "pkcs11", "psutil", "yaml"):
    sys.modules[name] = None
sys.meta_path.insert(0, Libc())
import pytest
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider"]))
"""


@pytest.mark.linux
def test_every_test_can_be_collected_on_freebsd() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_LINUX], cwd=TOP, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-3000:]


# What each verb may load -------------------------------------------------------------------------------------------

STARTING = set(
    "_codecs _frozen_importlib _frozen_importlib_external _imp _io _abc _signal _thread _warnings _weakref".split()
)
STARTING |= set("abc builtins codecs encodings io marshal posix sys time zipimport winreg _locale".split())
SMALL = set("gc os stat _stat posixpath genericpath _collections_abc errno fcntl select _socket resource".split())
SMALL |= set("__future__ termios struct _struct ctypes ctypes._endian types _ctypes math _posixsubprocess".split())
VERBS: list[tuple[str, list[str]]] = [
    ("--version", []),
    ("features", []),
    ("state", ["ID"]),
    ("start", ["ID"]),
    ("kill", ["ID", "KILL"]),
    ("delete", ["-f", "ID"]),
    ("exec", ["ID", "true"]),
]
# Rooms that a quick verb must not load; plugins and settings nobody, where none are configured
ABSENT = {"image", "nri", "settings", "shim", "storage"}
QUICK = {"plan", "spec"} | ABSENT
NEVER = {
    "create": ABSENT,
    "exec": {"plan"} | ABSENT,
    "features": ABSENT,  # it prints the words that `plan` and `spec` know
    **dict.fromkeys(("--version", "state", "start", "kill", "delete"), QUICK),
}

# How many modules of ours a verb may load in a whole life on Linux: each costs 0.1 to 0.2 ms, and together they are
# most of what a verb does. Whoever splits a module that these load pays with one that is merged.
MOST = {"create": 76, "state": 18, "start": 24, "exec": 60, "kill": 21, "delete": 32}


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
    return {name for name in names if not name.startswith(("runjail", "encodings."))} - STARTING - SMALL


@pytest.fixture
def program() -> Path:
    """The installed program."""
    return TOP / ".venv" / "bin" / "runjail"


def test_the_hook_sees_imports(program: Path, tmp_path: Path) -> None:
    """What the budget is measured with does see a heavy module."""
    script = tmp_path / "heavy"
    script.write_text(program.read_text(encoding="utf-8").split("\n")[0] + "\nimport json\n", encoding="utf-8")

    assert {"json", "re", "enum"} <= over_budget(loaded(script, tmp_path / "out"))


@pytest.mark.parametrize(("verb", "args"), VERBS, ids=[verb for verb, _args in VERBS])
def test_verbs_load_little_without_a_container(verb: str, args: list[str], program: Path, tmp_path: Path) -> None:
    """Answering that there is no such container costs no more than answering about one."""
    names = loaded(program, tmp_path / "out", "--root", str(tmp_path / "state"), verb, *args)
    rooms = {name.split(".")[1] for name in names if name.startswith("runjail.")}

    assert "Traceback" not in (tmp_path / "out").read_text(encoding="utf-8")
    assert "cli" in rooms
    assert rooms & NEVER[verb] == set()
    assert over_budget(names) == set()


def test_an_image_that_is_in_the_store_is_started_by_plain_modules() -> None:
    """Before it is known what else there is to do: something to fetch, to decrypt or to unpack."""
    first = ["cli.run_image", "image.bundle.unpack", "image.bundle.owned", "image.bundle.oci_config"]
    code = f"import sys; sys.path.insert(0, {str(TOP)!r}); import {', '.join(f'runjail.{name}' for name in first)}"
    command = [sys.executable, "-ISc", f"{code}; print(*sys.modules)"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert not {"dataclasses", "inspect", "ctypes", "urllib", "ssl", "tomllib"}.intersection(names)
    assert not COLD & {room_of(name) for name in set(names) - PLAIN if name.count(".") > 2}


@pytest.mark.freebsd
def test_verbs_load_little_on_freebsd(program: Path, tmp_path: Path, runjail: Any, bundle: Any) -> None:
    """A whole life of a jail stays within the budget."""
    whole_life(program, tmp_path, runjail, bundle)


@pytest.mark.linux
def test_verbs_load_little_on_linux(program: Path, tmp_path: Path, runjail: Any, bundle: Any) -> None:
    """A whole life of a container stays within the budget."""
    whole_life(program, tmp_path, runjail, bundle)


def whole_life(program: Path, tmp_path: Path, runjail: Any, bundle: Any) -> None:
    """Create, look at, start, enter, signal and delete one container, watching what is loaded."""
    bundle.write("/bin/sleep", "60")
    at = ("--root", str(runjail.root))
    life = [("create", "-b", str(bundle.path), "budget"), ("state", "budget"), ("start", "budget")]
    life += [("exec", "budget", "/bin/echo", "entered"), ("kill", "budget", "KILL"), ("delete", "-f", "budget")]

    found = {args[0]: loaded(program, tmp_path / f"{number}.imports", *at, *args) for number, args in enumerate(life)}

    assert {verb: over_budget(names) for verb, names in found.items()} == {verb: set() for verb in found}
    for verb, names in found.items():
        rooms = {name.split(".")[1] for name in names if name.startswith("runjail.")}
        assert rooms & NEVER.get(verb, set()) == set(), verb
    if sys.platform == "linux":
        ours = {verb: sorted(name for name in names if name.startswith("runjail")) for verb, names in found.items()}
        assert {verb: names for verb, names in ours.items() if len(names) > MOST[verb]} == {}
    assert "entered" in (tmp_path / "3.imports").read_text(encoding="utf-8"), "exec did not run"
    assert runjail.ids() == []
