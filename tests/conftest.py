"""What all tests share: what this machine can test, the program, a bundle to run, and proof that nothing stays."""

import inspect
import os
import platform
import shutil
import signal
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runjail import log
from tests.support import limits, machine_root, needs, side_by_side
from tests.support.container.harness import Life
from tests.support.leftovers import Leftovers
from tests.support.program import LINUX, TOP, Bundle, Runjail, base_config

COSTS = pytest.StashKey[dict[str, int]]()


# What this machine can test, and for how long ---------------------------------------------------------------------


def pytest_report_header() -> list[str]:
    """Say what this machine is."""
    groups = needs.control_groups() or "none that can be written"
    host = f"zfs {'can' if needs.has('zfs') else 'cannot'} be tested" + (f", control groups {groups}" if LINUX else "")
    return [f"host: {platform.system()} {platform.release()}, {'root' if os.geteuid() == 0 else 'not root'}, {host}"]


def pytest_configure(config: pytest.Config) -> None:
    """Ignore what nohup(1) or a shell's background job ignores in a way that programs do not inherit."""
    # Threads of servers that tests share, and in workers one of execnet's, only wait.
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
        def skipped(test: Callable[..., None]) -> Any:
            def property_test(*_args: object, **_named: object) -> None:
                """Stand in for the real one, with the arguments that others may parametrize."""

            property_test.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
            return pytest.mark.skip(reason="needs hypothesis")(property_test)

        return skipped

    module: Any = types.ModuleType("hypothesis")
    module.given = given
    module.settings = module.example = lambda *_args, **_named: lambda test: test
    module.strategies = module.assume = module.note = Anything()
    sys.modules["hypothesis"] = module
    sys.modules["hypothesis.strategies"] = module.strategies


try:
    import hypothesis
except ImportError:
    _without_hypothesis()
else:
    # Containers and other sessions share the machine: what is slow is no failure. Examples may share a fixture.
    _check = hypothesis.HealthCheck
    _unasked = (_check.too_slow, _check.data_too_large, _check.function_scoped_fixture)
    hypothesis.settings.register_profile("runjail", deadline=None, suppress_health_check=_unasked)
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


@pytest.fixture
def life(runjail: Runjail, bundle: Bundle) -> Life:
    """A bundle and the program."""
    return Life(runjail, bundle)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that anybody may pass, as the root of a container in a user namespace has to be."""
    directory = Path(tempfile.mkdtemp(prefix="runjail-user-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)
