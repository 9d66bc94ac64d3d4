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
    "protobuf": set(),
    "log": {"errors", "jsonio"},
    "spec": {"", "errors", "files", "jsonio", "record"},
    "steps": {"record", "spec"},
    "plan": {"errors", "record", "spec", "steps"},
    "host": {"", "errors", "files", "jsonio", "log", "record", "rootfs", "signals", "spec", "steps"},
    "settings": {"", "errors", "files"},
    "nri": {"", "errors", "files", "host", "jsonio", "log", "record", "settings"},
    "storage": {"attributes", "errors", "host", "jsonio", "log", "record", "rootfs"},
    "image": {
        *("", "attributes", "errors", "files", "host", "jsonio", "log", "protobuf", "record", "rootfs"),
        *("settings", "spec", "storage"),
    },
    "container": {
        *(
            "",
            "errors",
            "files",
            "host",
            "jsonio",
            "log",
            "nri",
            "plan",
            "record",
            "rootfs",
            "signals",
            "spec",
            "steps",
        ),
    },
    "shim": {
        "",
        "container",
        "errors",
        "files",
        "host",
        "jsonio",
        "log",
        "nri",
        "protobuf",
        "record",
        "settings",
        "spec",
    },
    "cli": {
        *("", "container", "errors", "files", "host", "image", "jsonio", "log", "nri", "plan", "protobuf"),
        *("record", "settings", "shim", "signals", "spec", "steps", "storage"),
    },
    "__main__": {"cli"},
}
VOCABULARY = {"locks", "sizes"}  # what every room may know
# Modules of a room that only some rooms may know: which operating system this is, is decided once.
PRIVATE = {
    "host": {
        "image": {"programs"},
        "nri": {"programs"},
        "storage": {"programs"},
        "container": {"base", "programs"},
    }
}
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
    return ([*name.split("."), ""])[1]


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
    """No module knows a room that the contract does not give it, not even for types."""
    room = room_of(name)
    broken = []
    for imported in imports(tree, package):
        if not imported.startswith("runjail") or not exists(imported):
            continue
        target, *inner = ([*imported.split("."), ""])[1:3]
        if target not in MAY_IMPORT[room] | (VOCABULARY if room not in VOCABULARY else set()) | {room, ""}:
            broken.append(f"{name} imports {imported}")
        allowed = PRIVATE.get(target, {}).get(room)
        if allowed is not None and inner and inner[0] and inner[0] not in allowed:
            broken.append(f"{name} imports {imported}, of which {room} may only know {sorted(allowed)}")

    assert broken == []


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_pure_rooms_stay_pure(room: str) -> None:
    """Rooms that only compute have nothing to compute with but their arguments."""
    for name, package, tree in modules():
        if room_of(name) == room:
            touched = {module.split(".")[0] for module in imports(without_type_checking(tree), package)}

            assert not touched & FORBIDDEN[room], name


def test_one_module_starts_programs() -> None:
    """Only host.programs starts programs, so failures read alike and the environment is always cleaned."""
    starters = {
        name
        for name, package, tree in modules()
        if {"subprocess", "_posixsubprocess"} & set(imports(without_type_checking(tree), package))
        or any(isinstance(node, ast.Attribute) and node.attr.startswith("posix_spawn") for node in ast.walk(tree))
    }

    assert starters <= {"runjail.host.programs"}


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
    "features": {"plan"} | ABSENT,  # it prints the words that `spec` knows
    **dict.fromkeys(("--version", "state", "start", "kill", "delete"), QUICK),
}


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
    rooms = {room_of(name) for name in names if name.startswith("runjail")}

    assert "Traceback" not in (tmp_path / "out").read_text(encoding="utf-8")
    assert "cli" in rooms
    assert rooms & NEVER[verb] == set()
    assert over_budget(names) == set()


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
        assert {room_of(name) for name in names if name.startswith("runjail")} & NEVER.get(verb, set()) == set(), verb
    assert "entered" in (tmp_path / "3.imports").read_text(encoding="utf-8"), "exec did not run"
    assert runjail.ids() == []


def test_one_module_locks_files() -> None:
    """So every lock waits, gives up and names its kind in the same way."""
    takers = {
        name
        for name, _package, tree in modules()
        if any(isinstance(node, ast.Attribute) and node.attr in ("flock", "lockf") for node in ast.walk(tree))
    }

    assert takers == {"runjail.locks"}


# Formats that have numbers of their own; `host` reads what the kernel and the system's programs write
OWN_NUMBERS = {
    *("runjail.jsonio", "runjail.sizes", "runjail.cli.modules", "runjail.container.kill", "runjail.plan.jail_name"),
    *("runjail.image.bundle.users", "runjail.image.crypto.pkcs11_uri", "runjail.image.layers.pax"),
    *("runjail.image.platform", "runjail.image.registry.retry", "runjail.image.registry.sink", "runjail.spec.parse"),
}


def test_one_module_reads_numbers() -> None:
    """A number in a text is read within bounds by runjail.sizes; the list of others only becomes shorter."""
    readers = {
        name
        for name, _package, tree in modules()
        if any(isinstance(node, ast.Attribute) and node.attr in ("isdigit", "isdecimal") for node in ast.walk(tree))
    }

    assert {name for name in readers if room_of(name) != "host"} <= OWN_NUMBERS
