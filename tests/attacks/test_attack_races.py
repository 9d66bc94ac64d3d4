"""Several callers and one id: nobody takes back, starts, signals or deletes what another one made.

RUNJAIL_RACE_ROUNDS says how many rounds the race with delays has; the usual ones take about twenty seconds.
"""

import json
import os
from pathlib import Path

import pytest

from tests.support.attacks.races import Race, resumed, stopped_at
from tests.support.container.harness import Life, until
from tests.support.leftovers import Leftovers
from tests.support.program import Runjail, begin

pytestmark = pytest.mark.needs("containers")

ROUNDS = int(os.environ.get("RUNJAIL_RACE_ROUNDS", "8"))


@pytest.fixture
def race(life: Life, leftovers: Leftovers) -> Race:
    """One id, a bundle whose containers leave traces, and callers that wait before their system calls."""
    return Race(life, leftovers)


@pytest.mark.slow
@pytest.mark.limit(300 + 30 * ROUNDS)
def test_four_creators_against_four_deleters(race: Race) -> None:
    """Whatever they do between two system calls of each other: afterwards there is no process, mount, group or file."""
    assert race.alone() == 0, "what is delayed works"
    codes = [code for seed in range(ROUNDS) for code in race.round(seed)]

    assert 1 in codes, "nobody was in anybody's way"


def survives(life: Life, status: str) -> None:
    """See that the container of the id is there, works, and goes with one `delete`."""
    assert life.runjail.state("c")["status"] == status
    if status == "created":
        life.runjail.ok("start", "c")
    assert life.runjail.ok("exec", "c", "/bin/echo", "well").stdout == "well\n"
    life.runjail.ok("delete", "--force", "c")
    life.gone()


def sleeper(life: Life) -> str:
    """Return a bundle of which the other one makes its container."""
    return life.bundle.write("/bin/sleep", "600")


def test_a_creator_wakes_up_in_the_directory_of_another(life: Life) -> None:
    """Between mkdir and the lock: the directory was deleted, another creator has made its own of that name."""
    late = stopped_at(life, "container.hold", "create", "-b", sleeper(life), "c")
    life.runjail.ok("delete", "--force", "c")
    life.runjail.ok("create", "-b", sleeper(life), "c")
    code, said = resumed(life, late)

    assert (code, said) == (1, "runjail: container with given ID already exists: c\n")
    survives(life, "created")


@pytest.mark.parametrize("place", ["foreground.wait", "run.started"])
def test_an_id_made_anew_under_a_foreground_run(life: Life, place: str) -> None:
    """While it waits for its program, or before it starts it: what it starts and deletes is what it made."""
    running = stopped_at(life, place, "run", "-b", sleeper(life), "c")
    assert life.runjail.state("c")["status"] == ("running" if place == "foreground.wait" else "created")
    life.runjail.ok("delete", "--force", "c")
    life.runjail.ok("create", "-b", sleeper(life), "c")
    code, said = resumed(life, running)

    assert (code, said) == ((137, "") if place == "foreground.wait" else (1, "runjail: container does not exist: c\n"))
    survives(life, "created")


def test_an_id_made_anew_while_a_hook_runs(life: Life) -> None:
    """No lock is held then: create, start and delete each find out, and leave the other one's container alone."""
    for kind, verb in (("createRuntime", "create"), ("poststart", "start"), ("poststop", "delete")):
        script = (
            f"cd {life.path}; touch {kind}; while ! test -e go-{kind}; do sleep 0.02; done; test {kind} != poststart"
        )
        hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}
        life.bundle.config["hooks"] = {kind: [hook]}
        bundle = sleeper(life)
        if verb != "create":
            life.runjail.ok("create", "-b", bundle, "c")
        verbs = {"create": ["create", "-b", bundle, "c"], "start": ["start", "c"], "delete": ["delete", "c"]}
        hooked = begin(life.runjail, *verbs[verb])
        until((life.path / kind).exists)
        life.runjail.ok("delete", "--force", "c")
        life.bundle.config["hooks"] = {}
        life.runjail.ok("create", "-b", sleeper(life), "c")
        (life.path / f"go-{kind}").touch()

        assert hooked.wait(200) == (0 if verb == "delete" else 1), kind
        survives(life, "created")


@pytest.mark.parametrize("entry", ["directory", "link", "link to a directory", "file"])
def test_something_else_has_the_name(life: Life, entry: str, tmp_path: Path) -> None:
    """An empty directory is taken; of a file or a link create says what is wrong, and follows nothing."""
    life.runjail.root.mkdir(mode=0o700, exist_ok=True)
    place, elsewhere = life.runjail.root / "c", tmp_path / "elsewhere"
    (elsewhere / "inner").mkdir(parents=True)
    if entry == "directory":
        (place / "rootfs").mkdir(parents=True)
    elif entry == "file":
        place.touch()
    else:
        place.symlink_to(elsewhere if entry == "link to a directory" else tmp_path / "nothing")
    result = life.runjail("create", "-b", sleeper(life), "c")
    if entry == "directory":
        assert result.returncode == 0, result
        survives(life, "created")
    else:
        assert (result.returncode, result.stderr) == (1, f"runjail: making {place}: it is not a directory\n")
        place.unlink()
    assert [path.name for path in elsewhere.iterdir()] == ["inner"]


@pytest.mark.parametrize("verb", ["create", "delete", "delete --force", "list", "state", "run"])
@pytest.mark.parametrize("left", [(), ("rootfs/",), ("state.json.new", "programs")], ids=str)
def test_a_directory_that_is_nobodys(life: Life, verb: str, left: tuple[str, ...]) -> None:
    """Left by a creator that died at once, or by a boot that took the files: it keeps no id, and every verb agrees."""
    place = life.runjail.root / "c"
    place.mkdir(parents=True)
    for name in left:
        (place / name).mkdir() if name.endswith("/") else (place / name).touch()
    if verb == "list":
        assert life.runjail.ok("list", "-q").stdout == ""
    elif verb == "run":
        assert life.runjail("run", "-b", life.bundle.write("/bin/sh", "-c", "exit 7"), "c").returncode == 7
    elif verb == "create":
        life.runjail.ok("create", "-b", sleeper(life), "c")
        survives(life, "created")
    else:
        result = life.runjail(*verb.split(), "c")
        missing = (1, "runjail: container does not exist: c\n")
        assert (result.returncode, result.stderr) == ((0, "") if "--force" in verb else missing)
        assert place.exists() == (verb == "state")


def test_an_id_of_another_boot(life: Life) -> None:
    """Nothing of it lives, as if a boot had wiped its state: create replaces it, and its poststop hook has run."""
    life.bundle.config["hooks"] = {
        "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo x >> {life.path}/ran"]}]
    }
    life.create("/bin/sleep", "600")
    os.kill(life.runjail.state("c")["pid"], 9)
    life.runjail.wait("c")
    facts = life.runjail.root / "c" / "state.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "boot": "another"}))
    assert life.runjail.state("c")["status"] == "stopped"
    life.create("/bin/sleep", "600")

    assert (life.path / "ran").read_text() == "x\n"
    survives(life, "created")
    life.create("/bin/sleep", "600")
    assert life.runjail("create", "-b", sleeper(life), "c").returncode == 1, "one of this boot stays"


def groups(leftovers: Leftovers, path: str) -> list[list[str]]:
    """Return the processes of each control group at a path."""
    return [Path(found, "cgroup.procs").read_text().split() for found in leftovers.cgroups() if found.endswith(path)]


@pytest.mark.linux
@pytest.mark.needs("cgroups")
@pytest.mark.parametrize("racing", [True, False])
def test_a_control_group_of_two_roots(life: Life, leftovers: Leftovers, racing: bool) -> None:
    """The same cgroupsPath below two roots: a creation that fails, or the first delete, leaves it to the other."""
    other = Runjail(life.path)
    bundle, path = sleeper(life), life.bundle.config["linux"]["cgroupsPath"]
    late = None
    if racing:  # both see that it is missing
        late = stopped_at(life, "cgroups.make", "create", "-b", bundle, "--pid-file", "/nowhere/pid", "c")
    other.ok("create", "-b", bundle, "c")
    pid = str(other.state("c")["pid"])
    assert set(map(tuple, groups(leftovers, path))) == {(pid,)}
    if late:
        code, said = resumed(life, late)
        assert (code, said) == (1, "runjail: writing pid file /nowhere/pid: does not exist\n")
    else:
        life.runjail.ok("create", "-b", bundle, "c")
        life.runjail.ok("delete", "c")
    assert set(map(tuple, groups(leftovers, path))) == {(pid,)}
    other.ok("start", "c")
    life.runjail.ok("create", "-b", bundle, "c")
    other.ok("delete", "--force", "c")
    assert set(map(tuple, groups(leftovers, path))) == {(str(life.runjail.state("c")["pid"]),)}
    survives(life, "created")

    assert groups(leftovers, path) == []
