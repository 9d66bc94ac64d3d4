"""konfine and clearcfs: what they do to a jail, to a control group, and to processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.errors import HostError
from runjail.host import programs
from runjail.nri.plugins import clearcfs, konfine

CPUS = st.sets(st.integers(0, 70), max_size=8)
JAIL = {"org.runjail.jail.name": "web", "org.runjail.jail.jid": "7"}


class Tools:
    """Programs of FreeBSD that answer as they were recorded, and remember how they were called."""

    def __init__(self) -> None:
        self.answers: dict[str, programs.Result] = {}
        self.calls: list[str] = []

    def run(self, argv: Any, **_named: Any) -> programs.Result:
        self.calls.append(" ".join(argv))
        return self.answers.get(" ".join(argv), programs.Result(0))


def tools(monkeypatch: pytest.MonkeyPatch) -> Tools:
    made = Tools()
    monkeypatch.setattr(programs, "run", made.run)
    return made


def asked(state: str = "create", conf: Any = None, pid: int = 99, **annotations: str) -> dict[str, Any]:
    said = {key.replace("_", "."): value for key, value in annotations.items()}
    return {"state": state, "id": "web", "pid": pid, "conf": conf, "spec": {"annotations": {**JAIL, **said}}}


@pytest.mark.parametrize(("mask", "cpus"), [("0, 1, 2, 3", "2,3"), ("0-5", "2,3,4,5"), ("0, 1", "1"), ("0", "0")])
def test_konfine_pins_the_jail(monkeypatch: pytest.MonkeyPatch, mask: str, cpus: str) -> None:
    """The mask is read from cpuset(1), and set to what is not reserved, or to the last CPU."""
    said = f"jail 7 mask: {mask}\njail 7 domain policy: first-touch mask: 0\n".encode()
    made = tools(monkeypatch)
    made.answers["/usr/bin/cpuset -g -j 7"] = programs.Result(0, said)

    assert konfine.invoke(asked(conf={"systemReserved": [0, 1]})) == {"cpus": cpus}
    assert made.calls == ["/usr/bin/cpuset -g -j 7", f"/usr/bin/cpuset -l {cpus} -j 7"]


@pytest.mark.parametrize("state", ["pause", "resume", "delete", "some-new-state"])
def test_other_states_are_answered_with_nothing(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    made = tools(monkeypatch)

    assert konfine.invoke(asked(state, {"systemReserved": [0]})) == {}
    assert clearcfs.invoke(asked(state, qos_class="ls")) == {}
    assert made.calls == []


@pytest.mark.parametrize("conf", [[0], {"systemReserved": 0}, {"systemReserved": ["0"]}, {"systemReserved": [-1]}, 5])
def test_konfine_checks_its_configuration(conf: Any) -> None:
    with pytest.raises(ValueError, match="systemReserved must be a list of CPU numbers"):
        konfine.invoke(asked(conf=conf))


@given(present=CPUS.filter(bool), reserved=CPUS)
def test_konfine_leaves_a_cpu_and_takes_none_that_was_not_there(present: set[int], reserved: set[int]) -> None:
    left = konfine.left(present, reserved)

    assert left and left <= present
    assert not left & reserved or (present <= reserved and left == {max(present)})


@given(cpus=CPUS)
def test_lists_of_cpus_are_read_as_written(cpus: set[int]) -> None:
    assert konfine.read_list(konfine._written(cpus)) == cpus


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
@pytest.mark.needs("linux")
def test_konfine_without_control_groups_moves_the_tree(tmp_path: Path) -> None:
    """A process and the child it has already: both end up on one CPU."""
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    cpus = sorted(os.sched_getaffinity(parent.pid))
    request = {"state": "create", "pid": parent.pid, "conf": {"systemReserved": cpus[1:]}, "spec": {}}
    try:
        konfine.invoke(request if len(cpus) > 1 else {**request, "conf": {"systemReserved": [4095]}})

        assert os.sched_getaffinity(parent.pid) == os.sched_getaffinity(child) == {cpus[0]}
    finally:
        os.kill(child, 9)
        parent.wait()
        parent.stdout.close()


def test_clearcfs_removes_the_rule_of_the_jail(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tools(monkeypatch)

    assert clearcfs.invoke(asked(qos_class="ls")) == {"cpu.quota": "none"}
    assert made.calls == ["/usr/bin/rctl -r jail:web:pcpu"]


@pytest.mark.parametrize(
    "said",
    [
        "rctl: failed to remove rule 'jail:web:pcpu': No such process",
        "rctl: RACCT/RCTL present, but disabled; enable using kern.racct.enable=1 tunable",
    ],
)
def test_clearcfs_does_not_mind_that_there_is_no_rule(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    made = tools(monkeypatch)
    made.answers["/usr/bin/rctl -r jail:web:pcpu"] = programs.Result(1, b"", said.encode())

    assert clearcfs.invoke(asked(qos_class="ls")) == {}


def test_clearcfs_says_what_rctl_says(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tools(monkeypatch)
    made.answers["/usr/bin/rctl -r jail:web:pcpu"] = programs.Result(1, b"", b"rctl: out of order")

    with pytest.raises(HostError, match="rctl -r jail:web:pcpu returned 1: rctl: out of order"):
        clearcfs.invoke(asked(qos_class="ls"))


def test_clearcfs_leaves_other_classes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tools(monkeypatch)

    assert clearcfs.invoke(asked()) == clearcfs.invoke(asked(qos_class="be")) == {}
    assert made.calls == []


@pytest.mark.parametrize(
    ("file", "value"), [("web/cpu.max", "max"), ("cpu/web/cpu.cfs_quota_us", "-1")], ids=["v2", "v1"]
)
def test_clearcfs_lifts_the_quota_of_a_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, value: str
) -> None:
    monkeypatch.setattr(clearcfs, "TOP", str(tmp_path))
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text("20000", encoding="ascii")
    request = {"state": "update", "pid": 9, "spec": {"cgroupsPath": "/web", "annotations": {"qos.class": "ls"}}}

    assert clearcfs.invoke(request) == {"cpu.quota": "none"}
    assert (tmp_path / file).read_text(encoding="ascii") == value


def test_konfine_in_a_v2_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(konfine, "TOP", str(tmp_path))
    (tmp_path / "web").mkdir()
    for name, text in (
        ("cgroup.controllers", "cpuset"),
        ("web/cpuset.cpus", ""),
        ("web/cpuset.cpus.effective", "0-3\n"),
    ):
        (tmp_path / name).write_text(text, encoding="ascii")
    request = {"state": "create", "pid": 9, "conf": {"systemReserved": [0]}, "spec": {"cgroupsPath": "/web"}}

    assert konfine.invoke(request) == {"cpus": "1,2,3"}
    assert (tmp_path / "web/cpuset.cpus").read_text(encoding="ascii") == "1,2,3"


@pytest.mark.parametrize("name", ["konfine", "clearcfs"])
def test_they_are_programs(name: str) -> None:
    """`make venv` installs them next to runjail; they answer with a result whatever they are asked."""
    path = Path(__file__).parents[2] / ".venv/libexec/runjail/nri" / name
    for argv, text, error in (
        (["invoke"], '{"version": "0.1", "state": "create", "id": "x", "spec": {"resources": null}}', ""),
        (["invoke"], "{", "Expecting"),
        ([], "{}", f"{name} is an NRI plugin"),
    ):
        result = subprocess.run([path, *argv], input=text, capture_output=True, text=True, check=True)
        answer = json.loads(result.stdout)
        assert answer["plugin"] == name and answer["error"].startswith(error) and bool(error) == bool(answer["error"])
