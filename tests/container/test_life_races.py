"""Many callers at once, on one id and on many."""

import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runjail.container.container import Container, Runtime
from runjail.container.reserve import reserve
from runjail.errors import Busy, ContainerExists, ContainerNotFound
from tests.support.container.harness import Life, tree, until
from tests.support.program import Bundle, begin

NOWHERE: Any = None  # a host that is not asked


def ends(processes: "list[subprocess.Popen[bytes]]") -> list[int]:
    return [process.wait(120) for process in processes]


def test_eight_creates_of_one_id(life: Life) -> None:
    """Exactly one wins, and its container works."""
    bundle = life.bundle.write("/bin/sleep", "600")
    before = tree(life.bundle.rootfs)
    for _ in range(3):
        codes = ends([begin(life.runjail, "create", "-b", bundle, "c") for _ in range(8)])

        assert sorted(codes) == [0] + [1] * 7
        assert life.runjail.state("c")["status"] == "created"
        life.runjail.ok("start", "c")
        life.runjail.ok("delete", "--force", "c")
        assert tree(life.bundle.rootfs) == before


def test_five_starts_of_one_id(life: Life) -> None:
    """One wins, and the poststart hook runs once."""
    life.bundle.config["hooks"] = {
        "poststart": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo x >> {life.path}/ran"]}]
    }
    life.create("/bin/sleep", "600")
    codes = ends([begin(life.runjail, "start", "c") for _ in range(5)])

    assert sorted(codes) == [0, 1, 1, 1, 1]
    assert (life.path / "ran").read_text() == "x\n"


def test_creates_against_deletes(life: Life) -> None:
    """Whoever comes first: no verb hangs or leaves half a container, and the id can be used afterwards."""
    bundle = life.bundle.write("/bin/sleep", "600")
    before = tree(life.bundle.rootfs)
    for _ in range(4):
        verbs = [["create", "-b", bundle, "c"], ["delete", "--force", "c"]] * 4
        codes = ends([begin(life.runjail, *verb) for verb in verbs])

        assert codes[1::2] == [0] * 4
        assert set(codes[::2]) <= {0, 1}
        life.runjail.ok("delete", "--force", "c")
        assert tree(life.bundle.rootfs) == before
    life.create("/bin/sleep", "600")


def test_deletes_of_one_id(life: Life) -> None:
    """Forced ones all succeed; of the others one does, and the rest say that there is none."""
    life.start("/bin/sleep", "600")
    assert ends([begin(life.runjail, "delete", "--force", "c") for _ in range(5)]) == [0] * 5
    life.create("/bin/sleep", "600")
    assert sorted(ends([begin(life.runjail, "delete", "c") for _ in range(5)])) == [0, 1, 1, 1, 1]

    life.gone()


def test_twenty_containers_at_once(life: Life, make_bundle: Callable[[str], Bundle]) -> None:
    """Created, started, killed and deleted in parallel: all work, with one control group above them all."""
    bundle = life.bundle
    groups: dict[str, Any] = bundle.config.get("linux", {})
    parent = groups.get("cgroupsPath")
    bundles = []
    for number in range(20):
        path = life.path / f"b{number}"
        path.mkdir()
        config = json.loads(json.dumps(bundle.config))
        config["root"]["path"] = str(bundle.rootfs)
        if parent:
            config["linux"]["cgroupsPath"] = f"{parent}/below/{number}"
        (path / "config.json").write_text(json.dumps(config))
        bundles.append(path)
    ids = [f"c{number}" for number in range(20)]
    runjail = life.runjail
    assert (
        ends([begin(runjail, "create", "-b", str(path), id) for path, id in zip(bundles, ids, strict=True)]) == [0] * 20
    )
    assert ends([begin(runjail, "start", id) for id in ids]) == [0] * 20
    assert {found["status"] for found in json.loads(runjail.ok("list", "-f", "json").stdout)} == {"running"}
    assert ends([begin(runjail, "kill", id, "KILL") for id in ids]) == [0] * 20
    until(lambda: {found["status"] for found in json.loads(runjail.ok("list", "-f", "json").stdout)} == {"stopped"})
    assert ends([begin(runjail, "delete", id) for id in ids]) == [0] * 20
    assert runjail.ids() == []


def test_a_stopped_neighbour(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds a lock and does not go on makes others give up with a word, not wait for ever."""
    life.create("/bin/sleep", "600")
    holder = Runtime(NOWHERE, str(life.runjail.root)).container("c")
    other = Runtime(NOWHERE, str(life.runjail.root)).container("c")
    with holder:
        began = time.monotonic()
        with pytest.raises(Busy, match="another runjail works on container c"):
            other.lock(0.2)
        assert time.monotonic() - began >= 0.2
        assert life.runjail.state("c")["status"] == "created"
    other.lock(0.2)
    other.unlock()


def test_a_lock_holder_that_is_stopped(life: Life) -> None:
    """SIGSTOP in a hook: no lock is held there. Then the same container can be deleted by others."""
    script = f"echo $$ > {life.path}/pid; touch {life.path}/there; exec sleep 600"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}
    life.bundle.config["hooks"] = {"createRuntime": [hook]}
    creating = begin(life.runjail, "create", "-b", life.bundle.write("/bin/sleep", "600"), "c")
    until(lambda: (life.path / "there").exists())
    creating.send_signal(signal.SIGSTOP)
    try:
        assert life.runjail.state("c")["status"] == "creating"
        assert life.runjail("start", "c").stderr == "runjail: cannot start a container that is still being created\n"
        life.runjail.ok("delete", "--force", "c")
        life.gone()
    finally:
        creating.kill()
        creating.wait()
        os.kill(int((life.path / "pid").read_text()), signal.SIGKILL)


def test_delete_while_create_runs_a_hook(life: Life) -> None:
    """create notices, fails, and does not take back what is not its own any more."""
    hook = {
        "path": "/bin/sh",
        "args": ["sh", "-c", f"touch {life.path}/there; while [ -d {life.runjail.root}/c ]; do sleep 0.1; done"],
        "env": ["PATH=/bin:/usr/bin"],
    }
    life.bundle.config["hooks"] = {"createRuntime": [hook]}
    creating = begin(life.runjail, "create", "-b", life.bundle.write("/bin/sleep", "600"), "c")
    until(lambda: (life.path / "there").exists())
    life.runjail.ok("delete", "--force", "c")

    assert creating.wait(120) == 1
    life.gone()


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Container, Container]:
    """Two handles on one container directory."""
    store = Runtime(NOWHERE, str(tmp_path / "state"))
    first = reserve(store, "c")
    first.unlock()
    return first, store.container("c")


def test_a_lock_knows_its_container(pair: tuple[Container, Container], tmp_path: Path) -> None:
    """After an unlock the same id may be somebody else's: then the lock is refused, and stays refused."""
    first, second = pair
    second.lock(0)
    second.remove()
    replaced = reserve(Runtime(NOWHERE, str(tmp_path / "state")), "c")
    replaced.save()
    replaced.unlock()
    for _ in range(2):
        with pytest.raises(ContainerNotFound):
            first.lock(0)
    replaced.lock(0)


def test_reserving_survives_a_delete_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`delete --force` of the empty directory between mkdir and the lock: create makes it again."""
    store = Runtime(NOWHERE, str(tmp_path / "state"))
    real, calls = Container.hold, []

    def hold(container: Container) -> None:
        calls.append(container.id)
        if len(calls) == 1:
            (tmp_path / "state" / "c").rmdir()
        real(container)

    monkeypatch.setattr(Container, "hold", hold)
    container = reserve(store, "c")

    assert len(calls) == 2
    assert (tmp_path / "state" / "c").is_dir()
    container.remove()


def test_reservations_exclude_each_other(tmp_path: Path) -> None:
    store = Runtime(NOWHERE, str(tmp_path / "state"))
    first = reserve(store, "c")
    first.save()
    with pytest.raises(ContainerExists, match="container with given ID already exists: c"):
        reserve(store, "c")
    first.unlock()
    with pytest.raises(ContainerExists, match="container with given ID already exists: c"):
        reserve(store, "c")


def processor_time() -> float:
    """Return the seconds that children which have ended used: others use this machine too."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.slow
@pytest.mark.needs("containers")
@pytest.mark.limit(3600)
def test_the_two_hundredth_container_costs_what_the_first_did(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    """200 containers, all alive at once: creating the last is no dearer, and nothing stays."""
    runjail, bundle = life.runjail, life.bundle
    bundle.config.get("linux", {}).pop("cgroupsPath", None)
    path = bundle.write("/bin/sleep", "6000")  # longer than 200 take on an emulated machine
    before = tree(bundle.rootfs)
    costs = []
    for number in range(200):
        used = processor_time()
        assert begin(runjail, "create", "-b", path, f"c{number}").wait() == 0
        costs.append(processor_time() - used)
        assert begin(runjail, "start", f"c{number}").wait() == 0
    listed = json.loads(runjail.ok("list", "-f", "json").stdout)
    assert [found["status"] for found in listed] == ["running"] * 200
    for number in range(200):
        assert begin(runjail, "delete", "--force", f"c{number}").wait() == 0

    assert runjail.ids() == []
    assert tree(bundle.rootfs) == before
    first, last = (sum(sorted(part)[:10]) / 10 for part in (costs[:20], costs[-20:]))
    with capsys.disabled():
        print(f"\n200 containers: the first {first * 1000:.1f} ms, the last {last * 1000:.1f} ms")
    assert last <= 1.5 * first
