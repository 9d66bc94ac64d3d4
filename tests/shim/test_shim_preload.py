"""A shim that runs needs none of its files: another version may be installed meanwhile."""

import ast
import functools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runjail import jsonio
from runjail.host.freebsd.shim import MODULES as FREEBSD
from runjail.host.linux import shim as linux
from runjail.shim import preload
from tests.support.imports import OF_A_SCRIPT, exists, imports, over_budget, without_type_checking
from tests.support.program import TOP, Bundle
from tests.support.shim.caller import SHIM, Caller
from tests.support.shim.talk import Client

PAUSED = 4
HOST = "linux" if sys.platform == "linux" else "freebsd"
MODULES = {"freebsd": FREEBSD, "linux": linux.MODULES}
# What nobody asks of a shim, or what only its `start` needs, before it serves.
NEVER = {
    "freebsd": {
        *("runjail.host.freebsd.check", "runjail.host.linux"),
        *(f"runjail.plan.{name}" for name in ("linux", "linux_cgroup")),
    },
    "linux": {
        *("runjail.host.linux.check", "runjail.host.freebsd"),
        *(f"runjail.plan.{name}" for name in ("freebsd", "freebsd_devfs", "freebsd_rctl")),
    },
}


@functools.cache
def imported(name: str, inner: bool) -> set[str]:
    """Return the modules of ours that one imports; inner: also inside of its functions."""
    path = TOP.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = without_type_checking(ast.parse(path.read_text(encoding="utf-8")))
    if not inner:
        tree.body = [node for node in tree.body if not isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    package = name.rpartition(".")[0]
    found = {*imports(tree, package)}
    if inner:  # tables of who does what name modules too, as "mounts:mount"
        text = path.read_text(encoding="utf-8")
        found |= {f"{package}.{match[1]}" for match in re.finditer(r'"([a-z_]+):[a-z_]+"', text)}
    return {each for each in found if each.startswith("runjail") and exists(each)}


def closure(first: set[str], inner: bool, never: set[str]) -> set[str]:
    """Return what modules import, and what these import, and so on."""
    found: set[str] = set()
    left = set(first)
    while left:
        name = left.pop()
        if name not in found and not any(f"{name}.".startswith(f"{each}.") for each in never):
            found.add(name)
            left |= imported(name, inner)
    return found


@pytest.mark.parametrize(("system", "modules"), [("freebsd", FREEBSD), ("linux", linux.MODULES)])
def test_nothing_is_left_to_be_loaded(system: str, modules: tuple[str, ...]) -> None:
    """Whatever is reached through an import somewhere, in a function too, is reached when the shim starts."""
    loaded = set(preload.names(system, modules))
    first = {"runjail.shim.server", f"runjail.host.{system}.host", f"runjail.host.{system}.shim"}
    never = NEVER[system] | {
        "runjail.cli",
        *(f"runjail.container.{name}" for name in ("monitor", "restart")),  # of `run -d`
        "runjail.host.interpreter",
        "runjail.settings",
        "runjail.image",
        "runjail.storage",
    }
    at_start = closure(first | loaded, False, NEVER[system])

    assert closure(first | {"runjail.nri.invoke"}, True, never) - at_start == set()
    assert loaded & {f"runjail.container.{name}" for name in preload.COLD} == set()


def test_what_is_loaded_is_small() -> None:
    """Each shim keeps it for as long as its containers live: no library of Python's that verbs must not load."""
    script = f"import sys; sys.path.insert(0, {str(TOP)!r}); from runjail.shim import preload, server; "
    script += f"preload.load({HOST!r}, {MODULES[HOST]!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-IS", "-c", script], capture_output=True, text=True, check=True)

    assert over_budget(set(done.stdout.split())) - OF_A_SCRIPT - {"_blake2", "zipimport"} == set()


@pytest.mark.needs("root")
def test_a_shim_whose_files_are_gone(caller: Caller, bundle: Bundle, tmp_path: Path) -> None:
    """A copy of the program runs as the shim, and is removed once the first container is created."""
    tree = tmp_path / "tree"
    shutil.copytree(TOP / "runjail", tree / "runjail", ignore=shutil.ignore_patterns("__pycache__"))
    program = tree / "containerd-shim-runjail-v1"
    program.write_text(SHIM.read_text(encoding="utf-8").replace(repr(str(TOP)), repr(str(tree))), encoding="utf-8")
    program.chmod(0o755)
    assert str(tree) in program.read_text(encoding="utf-8")
    path = caller.bundle("web")
    bundle.write("/bin/sleep", "600")
    shutil.copy(bundle.path / "config.json", path)
    bundle.rootfs.rename(path / "rootfs")
    client = Client(caller.start("web", program).removeprefix("unix://"))
    with client.socket:
        client.call("Create", bundle=str(path))
        shutil.rmtree(tree)
        for _ in range(2):
            client.call("Start")
            whole_life(client)
            client.call("Create", bundle=str(path))
        client.call("Kill", signal=9)
        client.call("Delete")

    assert not (tree / "runjail").exists()


def whole_life(client: Client) -> None:
    """Ask a shim with a running container for all that can be asked."""
    process = {"args": ["/bin/sleep", "600"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    spec = {"type_url": "process", "value": jsonio.dumps(process).encode()}
    client.call("Exec", exec_id="more", spec=spec)
    pid = client.call("Start", exec_id="more")["pid"]
    assert pid in [each["pid"] for each in client.call("Pids")["processes"]]
    client.call("Update", resources={"type_url": "resources", "value": b"{}"})
    client.call("Pause")
    assert client.call("State")["status"] == PAUSED
    client.call("Resume")
    assert client.call("Stats")["stats"]["value"]
    client.call("Kill", exec_id="more", signal=9)
    assert client.call("Wait", exec_id="more")["exit_status"] == 137
    client.call("Delete", exec_id="more")
    client.call("Kill", signal=9)
    assert client.call("Wait")["exit_status"] == 137
    client.call("Delete")
