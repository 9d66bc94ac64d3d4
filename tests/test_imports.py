"""Which room may know which, and what each verb may load.

The first table is the import contract: a room that is not in it does not exist yet, and an import that is not in it is
a decision to take, not a line to add in passing. The second is the start-up budget: a bare interpreter starts in about
7 ms, and `re`, `json`, `typing` or `enum` cost as much again, each.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.imports import (
    OF_A_SCRIPT,
    exists,
    imports,
    is_package,
    loaded,
    merged,
    modules,
    over_budget,
    parsed,
    places,
    without_type_checking,
)
from tests.support.program import TOP

SYSTEM = "freebsd" if sys.platform.startswith("freebsd") else "linux"
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
    "merged": set(),
    "quickos": set(),
    "scope": set(),
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
    "network": BASE | {"files", "host", "record"},
    "storage": BASE | {"attributes", "files", "host", "host.freebsd", "record", "rootfs"},
    "image": {"", "errors", "jsonio", "record"},  # the words that its rooms share
    "image.layers": {"attributes", "errors", "image", "protobuf", "rootfs"},
    "image.registry": BASE | {"files", "host", "image", "record"},
    "image.crypto": BASE | {"files", "host", "image", "protobuf"},
    "image.content": BASE | {"files", "image", "image.crypto", "image.layers", "image.registry", "record", "storage"},
    "image.bundle": BASE | {"image", "image.content", "image.crypto", "image.layers", "record", "rootfs", "storage"},
    "image.trust": BASE | {"files", "image", "image.content", "image.crypto", "image.registry", "record"},
    "container": BASE | {"files", "host", "network", "nri", "plan", "record", "rootfs", "signals", "spec", "steps"},
    "shim": BASE | {"container", "files", "host", "merged", "nri", "plan", "protobuf", "record", "settings", "spec"},
    "cli": {
        *("", "container", "errors", "files", "host", "host.freebsd", "host.linux", "image", "image.bundle"),
        *("image.content", "image.crypto", "image.layers", "image.registry", "image.trust", "jsonio", "log", "network"),
        *("nri", "plan", "protobuf", "record", "settings", "shim", "signals", "spec", "steps", "storage"),
    },
    "__main__": {"cli"},
}
VOCABULARY = {"locks", "scope", "sizes", "target"}  # what every room may know
# Modules of a room that only some rooms may know: which operating system this is, is decided once.
PRIVATE = {
    "host": {
        **{room: {"programs"} for room in ("image.registry", "image.crypto", "network", "nri")},
        "container": {"base", "networks", "programs"},
        "storage": {"base", "programs"},
    },
    "host.freebsd": {"storage": {"libc"}},  # calls by which file systems are mounted, and how others are made
}
# The one place where `host` itself chooses between its two answers, and what exists on one of them only.
INWARD = {
    "runjail.host.reaper": {"host.freebsd", "host.linux"},
    "runjail.host.interpreter": {"host.linux"},
}
# Rooms of ordinary Python: neither a verb of the life cycle nor the start of an image that is in the store loads them,
# and no plugin is asked through them (docs/decisions/plain-hot-half.md). PLAIN are those of their modules that are.
COLD = {"cli", "settings", "image.content", "image.crypto", "image.layers", "image.registry"}
PLAIN = {f"runjail.image.content.{name}" for name in ("ingest", "layout", "open", "store")}
PLAIN |= {"runjail.cli.containerd_shim", "runjail.cli.runj", "runjail.image.registry.registries_conf"}
PLAIN |= {f"runjail.cli.image.{name}" for name in "inspect layerinfo ls names options remote session".split()}
PLAIN |= {f"runjail.cli.{name}" for name in ("args", "context", "main", "output", "process", "progress", "template")}
PLAIN.add("runjail.cli.named_option")
PLAIN |= {
    f"runjail.cli.run_{name}" for name in ("devices", "faults", "image", "mounts", "names", "options", "security")
}
PLAIN |= {
    f"runjail.cli.verbs.{name}"
    for name in ("create", "delete", "exec", "features", "kill", "list", "pause", "resume", "run", "start", "state")
}
# Cold modules of the other rooms
COLD_MODULES = {f"runjail.plan.{name}" for name in ("show", "show_freebsd", "show_linux", "show_process")}
COLD_MODULES |= {"runjail.image.bundle.prune", "runjail.host.freebsd.check", "runjail.host.linux.check"}
# What only one operating system can load
HOSTS = ("runjail.host.freebsd.", "runjail.host.linux.")
# What need not be installed, or is not built everywhere, is imported by who uses it.
OPTIONAL = set("backports click compression cryptography grpc isal jsonschema libzfs_core lzma pkcs11 psutil".split())
OPTIONAL |= {"bz2", "urllib3", "yaml"}
# What the pure rooms must not touch. Type-only imports do not count here: they are not there when the program runs.
FORBIDDEN = {
    "plan": {"os", "subprocess", "ctypes", "socket", "fcntl", "resource"},  # _socket.inet_pton reads addresses
    "spec": {"subprocess", "ctypes", "socket", "fcntl", "resource"},
    "steps": {"os"},
    "record": {"os"},
    "errors": {"os"},
}


def room_of(name: str) -> str:
    """Return the room of a module: `runjail.host.base` lives in `host`; the package itself is ""."""
    parts = [*name.split("."), "", ""]
    inner = f"{parts[1]}.{parts[2]}"
    return inner if inner in MAY_IMPORT else parts[1]


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


@pytest.mark.parametrize("name", places())
def test_rooms_keep_the_contract(name: str) -> None:
    """No module knows a room that the contract does not give it, not even for types, nor by a name in a table."""
    package, tree = parsed(name)
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


@pytest.mark.parametrize("room", [*sorted(COLD), "modules of other rooms"])
def test_cold_rooms_are_ordinary_python(room: str) -> None:
    """They have no records of ours, and imports at the top, but of what may be missing or load nowhere else."""
    strange = []
    for name, package, tree in modules():
        cold = room_of(name) == room and name not in PLAIN
        if not cold and not (room not in COLD and name in COLD_MODULES):
            continue
        strange += [f"{name}: Record" for imported in imports(tree, package) if imported == "runjail.record.Record"]
        for node in tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            inner = {imported for imported in imports(node, package) if imported.split(".")[0] not in OPTIONAL}
            found = sorted(each for each in inner if not f"{each}.".startswith(HOSTS))
            strange += [f"{name}, line {node.lineno}: {found}"] if found else []

    assert strange == []


def test_what_is_cold_is_there() -> None:
    """A module that was renamed is not exempt, or held to rules, under its old name."""
    names = {name for name, _package, _tree in modules()}

    assert names >= PLAIN | COLD_MODULES
    assert {room_of(name) for name in PLAIN} <= COLD


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
import os, resource, sys, sysconfig
sysconfig.get_config_vars()  # hypothesis asks, and some Pythons read a file for it that is named after the platform
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
ABSENT = {"image", "network", "nri", "settings", "shim", "storage"}
QUICK = {"plan", "spec"} | ABSENT
NEVER = {
    "create": ABSENT,
    "exec": {"plan"} | ABSENT,
    "features": ABSENT,  # it prints the words that `plan` and `spec` know
    **dict.fromkeys(("--version", "state", "start", "kill", "delete"), QUICK),
}

# Of what .ci/merge.py has loaded for a verb, what a container of these tests does not need.
SPARE = {"create": {"runjail.host.linux.mask", "runjail.host.linux.nodes"}}
SPARE["create"] |= {f"runjail.spec.{name}" for name in ("annotations", "freebsd", "jail_params")}  # on FreeBSD


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
    first = [
        "cli.run_image",
        "image.bundle.unpack",
        "image.bundle.owned",
        "image.bundle.oci_config",
        "image.trust.gate",
    ]
    first += ["storage.zfs_open", "storage.directory"]  # of the drivers `auto` asks ZFS's first
    code = f"import sys; sys.path.insert(0, {str(TOP)!r}); import {', '.join(f'runjail.{name}' for name in first)}"
    command = [sys.executable, "-ISc", f"{code}; print(*sys.modules)"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert over_budget(set(names)) - OF_A_SCRIPT - {"_sha256", "_sha2"} == set()
    assert not COLD & {room_of(name) for name in set(names) - PLAIN if name.count(".") > 2}


@pytest.mark.parametrize("words", [["spec"], ["image", "tag"]], ids=" ".join)
def test_help_of_a_verb_loads_that_verb_alone(words: list[str], program: Path, tmp_path: Path) -> None:
    """All of them together bring everything that any verb needs, ciphers too."""
    names = loaded(program, tmp_path / "out", *words, "--help")

    assert "Usage: runjail" in (tmp_path / "out").read_text(encoding="utf-8")
    assert f"runjail.cli.{'' if words[1:] else 'verbs.'}{'.'.join(words)}" in names
    assert not names & {"runjail.cli.verbs.check", "runjail.cli.verbs.list", "runjail.cli.image.encrypt"}


@pytest.mark.needs("root")  # others enter their own ids first
@pytest.mark.parametrize("words", [["ls"], ["inspect", "localhost/web"]], ids=["ls", "inspect"])
def test_what_is_in_the_store_is_shown_by_plain_modules(words: list[str], program: Path, tmp_path: Path) -> None:
    """Nothing of crypto, and nothing that is only for changing or unpacking an image.

    A name without a host takes registries.conf as well, which may hold aliases of it.
    """
    (tmp_path / "root").mkdir()
    at = ("--store", f"dir:{tmp_path}/store", "image")
    made = subprocess.run(
        [program, *at, "import", f"rootfs:{tmp_path}/root", "localhost/web"], capture_output=True, check=False
    )
    assert made.returncode == 0, made.stderr

    names = loaded(program, tmp_path / "out", *at, *words)

    assert "runjail.image.resolve" in names
    assert over_budget(names) - {"_sha256", "_sha2"} == set()
    assert not {room_of(name) for name in names} & {"image.crypto", "image.layers", "image.registry"}
    ours = {name for name in names if name.startswith("runjail") and not name.startswith("runjail.storage.")}
    assert ours - set(merged(SYSTEM, f"image-{words[0]}")) == set(), "to be listed"


@pytest.mark.freebsd
def test_verbs_load_little_on_freebsd(program: Path, tmp_path: Path, runjail: Any, bundle: Any) -> None:
    """A whole life of a jail stays within the budget."""
    whole_life(program, tmp_path, runjail, bundle)


@pytest.mark.linux
@pytest.mark.needs("cgroups")  # without, there is more to mount, by a module that is loaded then
def test_verbs_load_little_on_linux(program: Path, tmp_path: Path, runjail: Any, bundle: Any) -> None:
    """A whole life of a container stays within the budget."""
    whole_life(program, tmp_path, runjail, bundle)


def whole_life(program: Path, tmp_path: Path, runjail: Any, bundle: Any) -> None:
    """Create, look at, start, enter, signal and delete one container, watching what is loaded."""
    bundle.write("/bin/sleep", "60")
    at = ("--root", str(runjail.root))
    life = [("create", "-b", str(bundle.path), "budget"), ("state", "budget"), ("start", "budget")]
    life += [("exec", "budget", "/bin/echo", "entered"), ("kill", "budget", "KILL"), ("delete", "-f", "budget")]

    loaded(program, tmp_path / "first.imports", *at, "exec", "none", "true")  # who enters first mounts Python
    found = {args[0]: loaded(program, tmp_path / f"{number}.imports", *at, *args) for number, args in enumerate(life)}

    assert {verb: over_budget(names) for verb, names in found.items()} == {verb: set() for verb in found}
    for verb, names in found.items():
        rooms = {name.split(".")[1] for name in names if name.startswith("runjail.")}
        assert rooms & NEVER.get(verb, set()) == set(), verb
    ours = {verb: {name for name in names if name.startswith("runjail")} for verb, names in found.items()}
    listed = {verb: set(merged(SYSTEM, verb)) for verb in found}
    assert {verb: ours[verb] - listed[verb] for verb in found} == {verb: set() for verb in found}, "to be listed"
    unused = {verb: listed[verb] - ours[verb] - SPARE.get(verb, set()) for verb in found}
    assert unused == {verb: set() for verb in found}
    assert "entered" in (tmp_path / "3.imports").read_text(encoding="utf-8"), "exec did not run"
    assert runjail.ids() == []
