"""What all tests share: what this machine can test, the program, a bundle to run, and proof that nothing stays."""

import itertools
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail import log
from runjail.image.bundle.default_mounts import CAPABILITIES
from tests import limits, needs, side_by_side
from tests.demo import machine_root
from tests.demo.leftovers import Leftovers

TOP = Path(__file__).resolve().parent.parent
FREEBSD = sys.platform.startswith("freebsd")
LINUX = sys.platform == "linux"
NUMBERS = itertools.count(1)
COSTS = pytest.StashKey[dict[str, int]]()


# What this machine can test, and for how long ---------------------------------------------------------------------


def pytest_report_header() -> list[str]:
    """Say what this machine is."""
    groups = needs.control_groups() or "none that can be written"
    host = f"zfs {'can' if needs.has('zfs') else 'cannot'} be tested" + (f", control groups {groups}" if LINUX else "")
    return [f"host: {platform.system()} {platform.release()}, {'root' if os.geteuid() == 0 else 'not root'}, {host}"]


def pytest_configure(config: pytest.Config) -> None:
    """Ignore what nohup(1) or a shell's background job ignores in a way that programs do not inherit."""
    if side_by_side.is_worker(config):  # a thread of execnet's waits for the controller
        config.addinivalue_line("filterwarnings", "ignore:.*is multi-threaded:DeprecationWarning")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Prepare for workers, if there are to be some."""
    if side_by_side.controls(session.config):
        session.config.pluginmanager.register(side_by_side.Controller(session.config))


@pytest.hookimpl(tryfirst=True)  # before -m is looked at
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what this machine cannot do, each with its reason."""
    config.stash[COSTS] = needs.skip(items)
    if side_by_side.is_worker(config):
        side_by_side.tell(config, needs.table(config.stash[COSTS]), side_by_side.arrange(items))


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Say what is not tested here, and what it would take."""
    return [] if side_by_side.controls(config) else needs.table(config.stash.get(COSTS, {}))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Limit the set-up of a test, fixtures of the session included."""
    with limits.limited(f"the set-up of {item.nodeid}", limits.seconds_of(item)):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Limit the test itself."""
    with limits.limited(item.nodeid, limits.seconds_of(item)):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Limit the clean-up, fixtures of the session included."""
    with limits.limited(f"the clean-up of {item.nodeid}", limits.seconds_of(item)):
        return (yield)


def _without_hypothesis() -> None:
    """Let modules with property tests load where hypothesis is absent: those tests are skipped, the others run."""

    class Anything:
        def __getattr__(self, name: str) -> Any:
            return self

        def __call__(self, *_args: object, **_named: object) -> Any:
            return self

        def __or__(self, other: object) -> Any:
            return self

    def given(*_args: object, **_named: object) -> Any:
        def property_test(*_args: object) -> None:
            """Stand in for the real one."""

        return lambda _test: pytest.mark.skip(reason="needs hypothesis")(property_test)

    module: Any = types.ModuleType("hypothesis")
    module.given = given
    module.settings = module.example = lambda *_args, **_named: lambda test: test
    module.strategies = module.assume = module.note = module.HealthCheck = Anything()
    sys.modules["hypothesis"] = module
    sys.modules["hypothesis.strategies"] = module.strategies


try:
    import hypothesis
except ImportError:
    _without_hypothesis()
else:
    # Containers and other sessions share the machine: a slow example is no failure.
    hypothesis.settings.register_profile("runjail", deadline=None)
    hypothesis.settings.load_profile("runjail")


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Give every test the same log and working directory, whatever those before it did in this process."""
    log.set_up()
    log._Log.descriptor = -1
    yield
    os.chdir(TOP)


# Nothing stays ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def leftovers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leftovers]:
    """Remove what an aborted run left behind, and fail when this one leaves anything."""
    base, worker = tmp_path_factory.getbasetemp(), side_by_side.is_worker(request.config)
    mine = Leftovers(str(base), within=str(base.parent) if worker else "")
    if not worker:  # else it is the controller's to do
        Leftovers.sweep_aborted(str(base.parent))
        mine.claim()
    yield mine
    found = mine.find()
    mine.sweep()
    if not worker:
        mine.release_interpreter()
    assert not found, "the tests left behind:\n  " + "\n  ".join(found)


# The program ------------------------------------------------------------------------------------------------------


class Result:
    """A finished call. stdout and stderr are files, because a container keeps using those of its `create`.

    Reading the attributes again later shows what the container wrote meanwhile.
    """

    def __init__(self, args: list[str], returncode: int, out: Path, err: Path) -> None:
        self.args, self.returncode, self._out, self._err = args, returncode, out, err

    @property
    def stdout(self) -> str:
        """All that was written to standard output until now."""
        return self._out.read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self) -> str:
        """All that was written to standard error until now."""
        return self._err.read_text(encoding="utf-8", errors="replace")

    def __repr__(self) -> str:
        return f"{' '.join(self.args)} -> {self.returncode}\nstdout: {self.stdout!r}\nstderr: {self.stderr!r}"


class Runjail:
    """The installed program with a state directory of its own.

    Call it with arguments: `runjail("state", "web")`. Its environment is empty but for `env`, as callers have it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self.root = directory, directory / "state"
        self.program = str(TOP / ".venv" / "bin" / "runjail")
        self._calls = 0

    def __call__(
        self,
        *args: str,
        stdin: "str | int | None" = None,
        env: dict[str, str] | None = None,
        cwd: "str | Path | None" = None,
        timeout: float = 60,
        root: bool = True,
        **more: Any,
    ) -> Result:
        """Run it to its end. stdin: text, a descriptor, or None for /dev/null. more: for subprocess.Popen."""
        self._calls += 1
        out, err = self.directory / f"{self._calls}.out", self.directory / f"{self._calls}.err"
        command = [self.program, *(["--root", str(self.root)] if root else []), *args]
        given = stdin if isinstance(stdin, int) else (subprocess.PIPE if stdin is not None else subprocess.DEVNULL)
        with open(out, "wb") as to_out, open(err, "wb") as to_err:
            process = subprocess.Popen(
                command, stdin=given, stdout=to_out, stderr=to_err, env=env or {}, cwd=cwd, **more
            )
        try:
            process.communicate(stdin.encode() if isinstance(stdin, str) else None, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        return Result(command, process.returncode, out, err)

    def ok(self, *args: str, **named: Any) -> Result:
        """Run it and insist on success."""
        result = self(*args, **named)
        assert result.returncode == 0, result
        return result

    def state(self, id: str) -> dict[str, Any]:
        """Return the container's state document."""
        document: dict[str, Any] = json.loads(self.ok("state", id).stdout)
        return document

    def wait(self, id: str, status: str = "stopped", seconds: float = 20) -> dict[str, Any]:
        """Poll until the container has this status; returns its state document."""
        end = time.monotonic() + seconds
        while (state := self.state(id))["status"] != status:
            assert time.monotonic() < end, f"{id} is {state['status']}, not {status}, after {seconds} s"
            time.sleep(0.02)
        return state

    def ids(self) -> list[str]:
        """Return the ids of all containers in the state directory."""
        return self.ok("list", "-q").stdout.split()


@pytest.fixture
def runjail(tmp_path: Path, leftovers: Leftovers) -> Iterator[Runjail]:
    """The program; containers that a test leaves are deleted, and what stays after that fails the test."""
    directory = tmp_path / "runjail"
    directory.mkdir()
    program = Runjail(directory)
    yield program
    if program.root.is_dir():
        for id in sorted(os.listdir(program.root)):
            program("delete", "--force", id)
    mounts = leftovers.mounts(str(tmp_path))
    leftovers.unmount(mounts)  # first, because removing tmp_path must not reach through them
    assert not mounts, f"mounts stayed after delete --force: {mounts}"


# A bundle ---------------------------------------------------------------------------------------------------------


class Bundle:
    """A bundle directory: change `config`, then `write()`; `rootfs` is its root directory."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path, self.rootfs, self.config = path, path / "rootfs", config

    def write(self, *args: str, **process: Any) -> str:
        """Write config.json, with process.args and other process fields when given. Returns the bundle's path."""
        if args:
            self.config["process"]["args"] = list(args)
        self.config["process"].update(process)
        (self.path / "config.json").write_text(json.dumps(self.config), encoding="utf-8")
        return str(self.path)


def base_config(ours: Leftovers) -> dict[str, Any]:
    """Return a config.json that this machine can run: a sleeping process with /dev and, on Linux, /proc."""
    device_files: dict[str, Any] = {"destination": "/dev", "type": "devfs", "source": "devfs", "options": ["ruleset=4"]}
    config: dict[str, Any] = {
        "ociVersion": "1.3.0",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/sleep", "600"],
            "env": ["PATH=/bin:/usr/bin", f"{ours.MARK}={ours.base}"],
            "cwd": "/",
        },
        "root": {"path": "rootfs"},
        "hostname": "runjail-test",
        "mounts": [device_files],
    }
    if LINUX:
        device_files.update(type="tmpfs", source="tmpfs", options=["nosuid", "mode=755", "size=64k"])
        config["mounts"].insert(0, {"destination": "/proc", "type": "proc", "source": "proc"})
        kinds = ("pid", "mount", "uts", "ipc", "network")
        namespaces = [{"type": kind} for kind in kinds]
        config["linux"] = {"namespaces": namespaces, "cgroupsPath": f"/{ours.group}-{next(NUMBERS)}"}
        config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
    return config


@pytest.fixture(scope="session")
def machine_rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system of this machine's own programs. Copy it, or leave it as it is."""
    path = tmp_path_factory.mktemp("machine") / "rootfs"
    machine_root.make_root(str(path))
    return path


@pytest.fixture
def make_bundle(tmp_path: Path, machine_rootfs: Path, leftovers: Leftovers) -> Callable[[str], Bundle]:
    """Make bundles by name, each with its own copy of the root file system."""

    def make(name: str) -> Bundle:
        path = tmp_path / name
        shutil.copytree(machine_rootfs, path / "rootfs", symlinks=True)
        bundle = Bundle(path, base_config(leftovers))
        bundle.write()
        return bundle

    return make


@pytest.fixture
def bundle(make_bundle: Callable[[str], Bundle]) -> Bundle:
    """One bundle that sleeps."""
    return make_bundle("bundle")
