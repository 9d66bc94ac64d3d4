"""The union of what callers pass: flags of other runtimes are accepted, output is what they parse."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runjail import log
from runjail.cli.args import GLOBALS, Args, parse
from runjail.cli.context import Context
from runjail.cli.verbs import VERBS, monitor
from runjail.cli.verbs import exec as exec_verb
from runjail.container.exec import read_process
from runjail.errors import UsageError
from tests.support.container.harness import Life
from tests.support.program import FREEBSD, Runjail

GLOBAL_FLAGS = [
    ["--systemd-cgroup"],
    ["--systemd-cgroup=true"],
    ["--systemd-cgroup=false"],
    ["--cgroup-manager", "disabled"],
    ["--cgroup-manager=cgroupfs"],
    ["--rootless"],
    ["--rootless=true"],
    ["--rootless=auto"],
    ["--criu", "/usr/sbin/criu"],
    ["--debug"],
    ["--log-level", "info"],
    ["--log-format=text"],
]


@pytest.mark.parametrize("flags", GLOBAL_FLAGS, ids=" ".join)
def test_global_flags(runjail: Runjail, flags: list[str]) -> None:
    """Before the verb, as engines pass them, and after it."""
    assert runjail.ok(*flags, "list", "-q").stdout == ""
    assert runjail.ok("list", *flags, "-q").stdout == ""
    assert runjail.ok("delete", "-f", "nobody", *flags).stderr == ""


def test_the_flags_of_create_and_exec(life: Life) -> None:
    """All that containerd, podman and cri-o add."""
    bundle = life.bundle.write("/bin/sleep", "600")
    life.runjail.ok("create", "--no-pivot", "--no-new-keyring", "--bundle", bundle, "c")
    life.runjail.ok("start", "c")
    exec_flags = ["--process-label", "", "--apparmor=", "-i"]
    exec_flags += [] if FREEBSD else ["--cap", "CAP_CHOWN", "-c", "CAP_KILL"]
    result = life.runjail.ok("exec", *exec_flags, "--no-new-privs", "c", "/bin/echo", "hello")

    assert (result.stdout, result.stderr) == ("hello\n", "")
    result = life.runjail.ok("run", "-no-subreaper", "-b", life.bundle.write("/bin/echo", "ran"), "--rm", "d")
    assert result.stdout == "ran\n"


@pytest.mark.parametrize("option", ["pidfd-socket", "process-label", "apparmor", "cgroup", "cap"])
def test_an_option_that_would_be_without_effect_is_refused(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.setattr(Context, "host", lambda _self: SimpleNamespace(os="freebsd"))
    parsed, process = Args(exec_verb.OPTIONS), SimpleNamespace()
    parse([f"--{option}", "x", "c"], parsed)

    with pytest.raises(UsageError, match=f"^--{option}: only Linux has this$"):
        exec_verb.request(parsed, Context(Args(GLOBALS)), process)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words",
    [
        *(["--cwd", "/"], ["-u", "1"], ["-g", "2"], ["-e", "A=b"], ["--env-file", "/etc/passwd"], ["--no-new-privs"]),
        *(["--cap", "CAP_KILL"], ["--apparmor", "x"], ["--process-label", "x"]),
    ],
    ids=lambda words: words[0],
)
def test_what_a_process_document_would_leave_out(tmp_path: Path, words: list[str]) -> None:
    """The process would run with more than was asked for; runc says nothing."""
    parsed, context = Args((*exec_verb.OPTIONS, *GLOBALS)), Context(Args(GLOBALS))
    parse(["-p", str(tmp_path / "p.json"), *words, "c"], parsed)

    with pytest.raises(UsageError, match=r"^exec takes --process or --[a-z-]+, not both$"):
        exec_verb.run(parsed, context)


def test_a_process_document_with_what_freebsd_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines send capabilities with every exec, of which create has warned."""
    told: list[str] = []
    monkeypatch.setattr(log, "info", told.append)
    freebsd, linux = (cast(Any, SimpleNamespace(os=name)) for name in ("freebsd", "linux"))
    document = {"args": ["x"], "cwd": "/", "capabilities": {"bounding": ["CAP_KILL"]}, "apparmorProfile": "p"}
    read_process(document, freebsd)
    read_process({**document, "capabilities": None}, freebsd)
    read_process({"args": ["x"], "cwd": "/", "oomScoreAdj": 5}, linux)

    assert told == ["without effect here: capabilities, apparmorProfile", "without effect here: apparmorProfile"]


def test_a_monitor_has_the_global_options_that_making_a_container_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda _path, words: executed.append(words))
    for nri_bin in ("/nri", ""):
        monitor.becoming("/root", nri_bin)("c", {})

    assert executed[0][-6:] == ["--root", "/root", "--nri-bin", "/nri", "monitor", "c"]
    assert executed[1][-4:] == ["--root", "/root", "monitor", "c"]


def test_restore_and_checkpoint(runjail: Runjail) -> None:
    """Refused in words, with their flags."""
    words = ["--image-path", "/i", "--work-path", "/w", "--detach", "-no-subreaper", "--bundle", "/b", "c"]
    for verb in ("restore", "checkpoint"):
        result = runjail(verb, *words)
        assert result.returncode == 1
        assert result.stderr.startswith("runjail: ")


@pytest.mark.parametrize("spelling", ["--version", "-v", "-V", "-version"])
def test_what_this_is(runjail: Runjail, spelling: str) -> None:
    """docker looks for one line with `version`, go-runc for `commit: ` and `spec: `."""
    lines = runjail.ok(spelling).stdout.splitlines()

    assert lines[0].startswith("runjail version ")
    assert lines[1].startswith("commit: ")
    assert lines[2] == "spec: 1.3.0"
    assert not any("version" in line for line in lines[1:3])


def test_features(runjail: Runjail) -> None:
    """Needs no root, no state, and prints the same document every time."""
    first, second = runjail.ok("features"), runjail.ok("features", env={"XDG_RUNTIME_DIR": ""})
    document = json.loads(first.stdout)

    assert first.stdout == second.stdout
    assert first.stderr == ""
    assert document["ociVersionMin"] == "1.0.0"
    assert document["ociVersionMax"] == "1.3.0"
    assert len(document["hooks"]) == 6
    assert len(document["mountOptions"]) == len(set(document["mountOptions"]))


@pytest.mark.needs("linux")
def test_features_name_the_control_groups(runjail: Runjail) -> None:
    """features-linux.md: engines look whether systemd's manager can be asked for."""
    groups = json.loads(runjail.ok("features").stdout)["linux"]["cgroup"]

    assert groups == {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True}


@pytest.mark.parametrize(
    "words",
    [["--help"], ["-h"], ["help"], [], ["create", "--help"], ["exec", "-h"], *(["help", name] for name in VERBS)],
)
def test_help(runjail: Runjail, words: list[str]) -> None:
    """On stdout, exit code 0."""
    result = runjail.ok(*words)

    assert result.stdout.startswith("Usage: runjail")
    assert result.stderr == ""


def test_options_after_the_verb(life: Life, tmp_path: Path) -> None:
    """--root is heard wherever it stands."""
    life.create("/bin/sleep", "600")
    there = life.runjail("state", "c", "--root", str(life.runjail.root), root=False)
    elsewhere = life.runjail("state", f"--root={tmp_path}/none", "c")

    assert json.loads(there.stdout)["id"] == "c"
    assert elsewhere.stderr == "runjail: container does not exist: c\n"


def test_the_root_of_the_environment(life: Life) -> None:
    """RUNJAIL_ROOT where no --root is given."""
    life.create("/bin/sleep", "600")

    result = life.runjail.ok("list", "-q", root=False, env={"RUNJAIL_ROOT": str(life.runjail.root)})
    assert result.stdout == "c\n"


def test_the_example_config(runjail: Runjail, tmp_path: Path) -> None:
    """spec writes one that validate accepts, and does not overwrite."""
    runjail.ok("spec", "-b", str(tmp_path))
    before = (tmp_path / "config.json").read_text()
    result = runjail("spec", "--bundle", str(tmp_path))

    assert result.returncode == 1
    assert result.stderr == "runjail: File config.json exists. Remove it first\n"
    assert (tmp_path / "config.json").read_text() == before
    for system in ("freebsd", "linux"):
        assert "is valid" in runjail.ok("validate", "-b", str(tmp_path), "--os", system).stdout


def test_validate_says_everything(runjail: Runjail, tmp_path: Path) -> None:
    """One problem a line."""
    (tmp_path / "config.json").write_text(json.dumps({"ociVersion": 1, "process": {"args": [], "cwd": "x"}}))
    result = runjail("validate", "-b", str(tmp_path))

    assert result.returncode == 1
    assert len(result.stderr.splitlines()) >= 3


def test_plan_is_for_both_systems(runjail: Runjail, tmp_path: Path) -> None:
    """And needs neither root nor that system."""
    (tmp_path / "config.json").write_text(
        json.dumps({"ociVersion": "1.0.0", "process": {"args": ["x"], "cwd": "/"}, "root": {"path": "r"}})
    )
    for system in ("freebsd", "linux"):
        assert runjail.ok("plan", "-b", str(tmp_path), "--os", system, "web").stdout
        document = json.loads(runjail.ok("plan", "-b", str(tmp_path), "--os", system, "-f", "json", "web").stdout)
        assert document["os"] == system


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "--os", "windows"], ["list", "-f", "xml"], ["ps", "-f", "xml", "c"], ["check", "-f", "xml"],
        ["update", "--resources", "/nonexistent", "c"], ["update", "--resources", "/etc/passwd", "c"],
        ["update", "--pids-limit", "x", "c"], ["events", "--interval", "0s", "c"], ["kill"], ["kill", "a", "b", "c"],
        ["state", "a", "b"], ["list", "a"], ["create", "-b"], ["features", "x"], ["kill", "--pid", "x", "c"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_values(runjail: Runjail, words: list[str]) -> None:
    """One line and exit code 1."""
    result = runjail(*words)

    assert result.returncode == 1
    assert result.stderr.startswith("runjail: ")
    assert "internal error" not in result.stderr


def test_update_takes_a_document_from_stdin(life: Life) -> None:
    """`--resources -`, as cri-o and containerd pass it."""
    life.start("/bin/sleep", "600")
    life.runjail.ok("update", "--resources", "-", "c", stdin='{"pids": {"limit": 77}}')
    life.runjail.ok("update", "--resources=-", "c", stdin="{}")
    for broken in ("[]", "{", '{"pids": 5}', '{"pids": {"limit": "x"}}'):
        result = life.runjail("update", "-r", "-", "c", stdin=broken)
        assert result.returncode == 1
        assert "internal error" not in result.stderr


@pytest.mark.parametrize("option", ["kernel-memory", "kernel-memory-tcp"])
def test_limits_that_kernels_gave_up_are_warned_of(life: Life, option: str) -> None:
    life.start("/bin/sleep", "600")
    result = life.runjail.ok("update", f"--{option}", "64m", "c")

    assert f"--{option}: without effect" in result.stderr
    assert "without effect" not in life.runjail.ok("update", "--pids-limit", "77", "c").stderr
