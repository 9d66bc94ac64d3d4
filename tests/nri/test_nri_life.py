"""Plugins and whole containers on Linux: what really changes, what fails, and what stays (nothing)."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import until
from tests.support.nri.plugins import Plugins, gone
from tests.support.program import Bundle, Runjail

pytestmark = pytest.mark.linux
TOP = "/sys/fs/cgroup"
V1 = not os.path.exists(f"{TOP}/cgroup.controllers")
SEED = """{
  "version": "0.1",
  "plugins": [
    {
      "type": "konfine",
      "conf": {
        "systemReserved": [0, 1]
      }
    },
    {
      "type": "clearcfs"
    }
  ]
}
"""
QUOTA = {"quota": 20000, "period": 100000}


def quota(group: str) -> str:
    path = f"{TOP}/cpu/{group}/cpu.cfs_quota_us" if V1 else f"{TOP}/{group}/cpu.max"
    return Path(path).read_text(encoding="ascii").split()[0]


def memory(group: str) -> str:
    path = f"{TOP}/memory/{group}/memory.limit_in_bytes" if V1 else f"{TOP}/{group}/memory.max"
    return Path(path).read_text(encoding="ascii").strip()


def of_container(bundle: Bundle, **linux: Any) -> str:
    """Write the bundle with these resources; returns the path of its control group."""
    bundle.config["linux"]["resources"] = linux
    bundle.write()
    path: str = bundle.config["linux"]["cgroupsPath"]
    return path.strip("/")


def left_behind(runjail: Runjail, bundle: Bundle, group: str) -> list[str]:
    """Return what there still is of a container that should be gone."""
    found = runjail.ids() + [path for path in (f"{TOP}/cpu/{group}", f"{TOP}/{group}") if os.path.exists(path)]
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return found + [line for line in file if str(bundle.path) in line]


@pytest.mark.needs("cgroups")
def test_the_documented_example_runs_unchanged(runjail: Runjail, bundle: Bundle, plugins: Plugins) -> None:
    """konfine, then clearcfs: the container's CPUs and its quota are others afterwards, as the kernel says."""
    bundle.config["annotations"] = {"qos.class": "ls"}
    group = of_container(bundle, cpu=QUOTA)
    (plugins.etc / "resource.d" / "10-seed.conf").write_text(SEED, encoding="ascii")
    env = plugins.env()
    plugins.settings.write_text(f'[nri]\nconfig = "{plugins.etc}"\n', encoding="utf-8")  # the plugins that come along
    runjail.ok("create", "-b", str(bundle.path), "web", env=env)
    pid = runjail.state("web")["pid"]
    before = os.sched_getaffinity(pid)
    assert quota(group) == "20000"

    runjail.ok("start", "web", env=env)

    assert quota(group) == ("-1" if V1 else "max")
    assert os.sched_getaffinity(pid) == (before - {0, 1} or {max(before)})
    inside = runjail.ok("exec", "web", "/bin/grep", "Cpus_allowed_list", "/proc/self/status").stdout.split()[1]
    assert inside == ",".join(map(str, sorted(os.sched_getaffinity(pid)))) or "-" in inside
    runjail.ok("update", "--cpu-quota", "30000", "web", env=env)
    assert quota(group) == ("-1" if V1 else "max")
    runjail.ok("delete", "-f", "web", env=env)


def test_plugins_see_the_whole_life(runjail: Runjail, bundle: Bundle, plugins: Plugins) -> None:
    """create, update, pause, resume, delete: each once, each with what is true at that moment."""
    plugins.recorder("recorder")
    plugins.name({"type": "recorder", "conf": {"a": [1]}})
    bundle.config["annotations"] = {"io.kubernetes.cri.sandbox-id": "pod7", "x": "y"}
    group = of_container(bundle, pids={"limit": 50})
    env = plugins.env()

    runjail.ok("create", "-b", str(bundle.path), "web", env=env)
    assert plugins.requests() == []
    pid = runjail.state("web")["pid"]
    runjail.ok("start", "web", env=env)
    runjail.ok("update", "--pids-limit", "60", "--memory", "64m", "web", env=env)
    runjail.ok("pause", "web", env=env)
    runjail.ok("resume", "web", env=env)
    runjail.ok("delete", "-f", "web", env=env)

    seen = plugins.requests()
    assert [request["state"] for request in seen] == ["create", "update", "pause", "resume", "delete"]
    assert [request.get("pid") for request in seen] == [pid] * 4 + [None]
    assert {request["sandboxID"] for request in seen} == {"pod7"}
    assert all(request["conf"] == {"a": [1]} and request["spec"]["annotations"]["x"] == "y" for request in seen)
    assert seen[0]["spec"]["resources"] == {"pids": {"limit": 50}}
    assert seen[1]["spec"]["resources"] == {"pids": {"limit": 60}, "memory": {"limit": 64 << 20}}
    assert seen[0]["spec"]["cgroupsPath"].strip("/") == group
    assert seen[0]["spec"]["namespaces"]["net"] == f"/proc/{pid}/ns/net"


def test_what_was_never_started_is_not_mentioned(runjail: Runjail, bundle: Bundle, plugins: Plugins) -> None:
    plugins.recorder("recorder")
    plugins.name("recorder")
    runjail.ok("create", "-b", bundle.write(), "web", env=plugins.env())
    runjail.ok("delete", "web", env=plugins.env())

    assert plugins.requests() == []


def test_plugins_run_before_hooks_and_the_program(runjail: Runjail, bundle: Bundle, plugins: Plugins) -> None:
    plugins.add("first", f"date +%s%N > {plugins.base}/plugin; sleep 0.05; echo '{{}}'\n")
    plugins.name("first")
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "date +%s%N > /hook; cat /started || echo no > /was"]}
    bundle.config["hooks"] = {"startContainer": [hook]}
    bundle.write("/bin/sh", "-c", "echo yes > /started; sleep 600")

    runjail.ok("create", "-b", str(bundle.path), "web", env=plugins.env())
    runjail.ok("start", "web", env=plugins.env())

    assert (bundle.rootfs / "hook").exists() and (bundle.rootfs / "was").exists()
    assert (plugins.base / "plugin").stat().st_mtime_ns < (bundle.rootfs / "hook").stat().st_mtime_ns
    runjail.ok("delete", "-f", "web", env=plugins.env())


BOMB = (
    'if [ "$1" -gt 0 ]; then for i in 1 2; do sh "$0" $(($1 - 1)) & done; fi\necho $$ >> {base}/pids\nexec sleep 600\n'
)
FAILURES = {
    "missing": (None, "not found in "),
    "not executable": ("echo '{}'\n", "may not be executed"),
    "exit": ("echo '{}'; exit 3\n", "exit status 3"),
    "garbage": ("echo hello\n", "its answer is no JSON: 'hello'"),
    "nothing": ("cat >/dev/null\n", "it answered nothing"),
    "huge": ("exec yes\n", "its answer is larger than 1048576 bytes"),
    "error": ('echo \'{"error": "no room for it"}\'\n', "no room for it"),
    "hang": ("echo $$ > {base}/pids; sleep 600\n", "no answer after 1 s"),
    "bomb": ("sh {base}/bomb 3 &\nsleep 0.3; echo '{}'\n", "it left processes behind, which were killed"),
    "bomb that hangs": ("sh {base}/bomb 3 &\nsleep 600\n", "no answer after 1 s"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_plugin_that_fails_fails_start(runjail: Runjail, bundle: Bundle, plugins: Plugins, kind: str) -> None:
    """One line that names plugin and cause; the container, its group, its mounts and every process are gone."""
    text, cause = FAILURES[kind]
    group = of_container(bundle, pids={"limit": 50})
    (plugins.base / "bomb").write_text(BOMB.replace("{base}", str(plugins.base)), encoding="ascii")
    if text is not None:
        path = plugins.add("bad", text.replace("{base}", str(plugins.base)))
        if kind == "not executable":
            path.chmod(0o644)
    plugins.recorder("good")
    plugins.recorder("late")
    plugins.name("good", "bad", "late")
    env = plugins.env(timeout=1)
    runjail.ok("create", "-b", str(bundle.path), "web", env=env)
    pid = runjail.state("web")["pid"]

    result = runjail("--log", str(plugins.base / "log"), "--log-format", "json", "start", "web", env=env)

    assert result.returncode == 1
    said = result.stderr.splitlines()
    assert said[0].startswith("runjail: NRI plugin bad: ") and cause in said[0], said
    assert len([line for line in said if line.startswith("runjail: ")]) == 1
    (logged,) = (plugins.base / "log").read_text(encoding="utf-8").splitlines()
    assert json.loads(logged)["level"] == "error" and "NRI plugin bad: " in json.loads(logged)["msg"]
    states = [request["state"] for request in plugins.requests()]
    assert states == ["create", "delete"], "who answered hears of the end; who was not asked hears of nothing"
    assert gone(pid) and left_behind(runjail, bundle, group) == []
    pids = plugins.base / "pids"
    numbers = pids.read_text(encoding="ascii").split() if pids.exists() else []
    until(lambda: all(gone(int(number)) for number in numbers))


def test_run_undoes_as_well(runjail: Runjail, bundle: Bundle, plugins: Plugins) -> None:
    plugins.add("bad", 'echo \'{"error": "no"}\'\n')
    plugins.name("bad")

    for option in ((), ("-d",)):
        result = runjail("run", *option, "-b", bundle.write("/bin/true"), "web", env=plugins.env())

        assert result.returncode == 1 and result.stderr.startswith("runjail: NRI plugin bad: no"), result
        assert runjail.ids() == []


def test_a_broken_configuration_stops_start_and_not_delete(runjail: Runjail, bundle: Bundle, plugins: Plugins) -> None:
    plugins.recorder("recorder")
    plugins.name("recorder")
    runjail.ok("create", "-b", bundle.write(), "one", env=plugins.env())
    bundle.config["linux"]["cgroupsPath"] += "-two"
    runjail.ok("create", "-b", bundle.write(), "two", env=plugins.env())
    runjail.ok("start", "one", env=plugins.env())
    (plugins.etc / "conf.json").write_text("{", encoding="ascii")

    result = runjail("start", "two", env=plugins.env())

    assert result.returncode == 1 and f"invalid {plugins.etc}/conf.json: is no JSON" in result.stderr
    assert runjail.state("two")["status"] == "created", "it can be started once that is mended"
    deleted = runjail.ok("delete", "-f", "one", env=plugins.env())
    assert "conf.json" in deleted.stderr and "warning" in deleted.stderr
    runjail.ok("delete", "-f", "two", env=plugins.env())


def test_delete_warns_and_goes_on(runjail: Runjail, bundle: Bundle, plugins: Plugins) -> None:
    plugins.add("bad", 'grep -q \'"delete"\' && exit 3\necho "{}"\n')
    plugins.recorder("good")
    plugins.name("bad", "good")
    runjail.ok("run", "-d", "-b", bundle.write(), "web", env=plugins.env())

    deleted = runjail.ok("delete", "-f", "web", env=plugins.env())

    assert "NRI plugin bad: exit status 3" in deleted.stderr
    assert plugins.requests()[-1]["state"] == "delete" and runjail.ids() == []


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_refused_pause_or_resume_did_not_happen(
    runjail: Runjail, bundle: Bundle, plugins: Plugins, verb: str
) -> None:
    plugins.add("bad", f'grep -q \'"state": "{verb}"\' && {{ echo \'{{"error": "no"}}\'; exit; }}\necho \'{{}}\'\n')
    plugins.name("bad")
    runjail.ok("run", "-d", "-b", bundle.write(), "web", env=plugins.env())
    if verb == "resume":
        runjail.ok("pause", "web", env=plugins.env())
    before = runjail.state("web")["status"]

    result = runjail(verb, "web", env=plugins.env())

    assert result.returncode == 1 and "NRI plugin bad: no" in result.stderr
    assert runjail.state("web")["status"] == before
    runjail.ok("delete", "-f", "web", env=plugins.env())


def test_a_plugin_may_call_runjail(runjail: Runjail, bundle: Bundle, plugins: Plugins) -> None:
    """No lock is held meanwhile, in any state: asking for the state and changing limits both work."""
    calls = f"{runjail.program} state web > {plugins.base}/state.$$ || exit 5\n"
    calls += f"{runjail.program} update --pids-limit 70 web > {plugins.base}/update.$$ 2>&1\necho '{{}}'\n"
    plugins.add("caller", calls)
    plugins.name("caller")
    env = plugins.env(timeout=20)
    of_container(bundle, pids={"limit": 50})

    runjail.ok("create", "-b", str(bundle.path), "web", env=env)
    runjail.ok("start", "web", env=env)
    told = [json.loads(path.read_text(encoding="utf-8")) for path in plugins.base.glob("state.*")]
    assert [state["status"] for state in told] == ["created"]
    runjail.ok("pause", "web", env=env)
    runjail.ok("resume", "web", env=env)
    runjail.ok("delete", "-f", "web", env=env)


def test_a_plugin_that_deletes_the_container(runjail: Runjail, bundle: Bundle, plugins: Plugins) -> None:
    """Foolish, and yet nothing hangs and nothing stays."""
    plugins.add("killer", f"RUNJAIL_CONFIG=/dev/null {runjail.program} delete -f web\necho '{{}}'\n")
    plugins.name("killer")
    runjail.ok("create", "-b", bundle.write(), "web", env=plugins.env())

    result = runjail("start", "web", env=plugins.env())

    assert result.returncode == 1 and "container does not exist: web" in result.stderr
    assert runjail.ids() == []


@pytest.mark.needs("cgroups")
def test_a_result_moves_the_container(runjail: Runjail, bundle: Bundle, plugins: Plugins) -> None:
    """The new group has the limits of the old one and all processes, present and future; delete removes both."""
    group = of_container(bundle, cpu=QUOTA, pids={"limit": 50}, memory={"limit": 64 << 20})
    target = f"{group}-qos/{group}-moved"
    plugins.recorder("mover", json.dumps({"cgroupsPath": f"/{target}"}))
    plugins.recorder("after")
    plugins.name("mover", "after")
    env = plugins.env()
    runjail.ok("create", "-b", str(bundle.path), "web", env=env)
    pid = runjail.state("web")["pid"]

    runjail.ok("start", "web", env=env)

    assert [request["spec"]["cgroupsPath"].strip("/") for request in plugins.requests()] == [group, target]
    assert quota(target) == "20000" and memory(target) == str(64 << 20)
    with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
        groups = {line.split(":", 2)[1]: line.split(":", 2)[2].strip() for line in file}
    assert all(groups[name] == f"/{target}" for name in (("cpu", "memory", "pids", "freezer") if V1 else ("",)))
    told = json.loads(runjail.ok("events", "--stats", "web").stdout)["data"]
    assert told["pids"]["limit"] == 50 and told["memory"]["usage"]["limit"] == 64 << 20
    runjail.ok("update", "--cpu-quota", "50000", "web")
    assert quota(target) == "50000" and quota(group) == "20000"
    runjail.ok("pause", "web", env=env)
    runjail.ok("resume", "web", env=env)
    runjail.ok("delete", "-f", "web", env=env)
    assert left_behind(runjail, bundle, group) == left_behind(runjail, bundle, f"{group}-qos") == []


def test_no_configuration_costs_nothing(runjail: Runjail, bundle: Bundle, tmp_path: Path) -> None:
    """No module of ours or Python's is loaded for plugins that are not there; tests/test_imports.py has the budget."""
    from tests.support.imports import loaded

    if os.path.exists("/etc/nri/conf.json") or os.path.exists("/etc/nri/resource.d"):
        pytest.skip("this machine has NRI plugins")
    runjail.ok("create", "-b", bundle.write(), "web")
    for number, verb in enumerate(("start", "pause", "resume", "kill", "delete")):
        words = (verb, "-f", "web") if verb == "delete" else (verb, "web")
        names = loaded(Path(runjail.program), tmp_path / str(number), "--root", str(runjail.root), *words)

        assert not {name for name in names if name.startswith(("runjail.nri", "runjail.settings", "tomllib"))}, verb
        assert "runjail.container.nri" not in names
        assert f"runjail.container.{ {'resume': 'pause'}.get(verb, verb) }" in names
