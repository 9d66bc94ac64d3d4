"""SCMP_ACT_NOTIFY: who listens gets the listening end with a container process state, and decides; as with runc."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import Life, until
from tests.support.container.seccomp_agent import Agent

pytestmark = [pytest.mark.linux, pytest.mark.needs("libseccomp")]
TRY = "mkdir /tmp/made 2>&1; ls -d /tmp/made 2>/dev/null; true"
REFUSED = "mkdir: can't create directory '/tmp/made': No medium found\n"


def profile(agent: Path | str, *names: str, **more: Any) -> dict[str, Any]:
    rules = [{"names": list(names) or ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]
    return {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(agent), "syscalls": rules, **more}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    found = Agent(tmp_path / "agent")
    yield found
    found.close()


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_the_program_is_listened_to(life: Life, agent: Agent, no_new_privileges: bool) -> None:
    life.bundle.config["annotations"] = {"a.b": "c"}
    life.bundle.config["linux"]["seccomp"] = profile(agent.path, listenerMetadata="for you")
    created = life.create("/bin/sh", "-c", TRY, noNewPrivileges=no_new_privileges)
    (state,) = until(lambda: agent.states)
    ours = life.runjail.state("c")
    life.runjail.ok("start", "c")
    life.runjail.wait("c")

    assert created.stdout == REFUSED
    assert (state["fds"], state["descriptors"], state["metadata"]) == (["seccompFd"], 1, "for you")
    assert (state["ociVersion"], state["pid"]) == ("1.3.0", ours["pid"])
    assert state["state"]["status"] == "creating"
    assert {key: state["state"][key] for key in ("id", "pid", "bundle", "annotations")} == {
        key: ours[key] for key in ("id", "pid", "bundle", "annotations")
    }


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_every_exec_is_listened_to(life: Life, agent: Agent, tmp_path: Path, no_new_privileges: bool) -> None:
    life.bundle.config["linux"]["seccomp"] = profile(agent.path)
    life.start("/bin/sleep", "600", noNewPrivileges=no_new_privileges)
    document = {"args": ["/bin/sh", "-c", TRY], "cwd": "/", "env": ["PATH=/bin"], "noNewPrivileges": no_new_privileges}
    (tmp_path / "process.json").write_text(json.dumps(document))
    options = ("--pid-file", str(tmp_path / "pid"), "-p", str(tmp_path / "process.json"))

    assert life.runjail.ok("exec", *options, "c").stdout == REFUSED
    state = until(lambda: agent.states[1:])[0]
    assert "metadata" not in state
    assert state["pid"] == int((tmp_path / "pid").read_text())
    assert (state["state"]["pid"], state["state"]["status"]) == (life.runjail.state("c")["pid"], "running")


def test_an_exec_of_a_pod_is_told_by_the_number_it_has_meanwhile(life: Life, agent: Agent, make_bundle: Any) -> None:
    """In a namespace of processes that is there already the process appears last, as another one."""
    life.sleep()
    pod = Life(life.runjail, make_bundle("pod"))
    pod.bundle.config["linux"]["seccomp"] = profile(agent.path)
    kinds = [{"type": kind} for kind in ("mount", "ipc", "uts", "network")]
    path = f"/proc/{life.runjail.state('c')['pid']}/ns/pid"
    pod.bundle.config["linux"]["namespaces"] = [*kinds, {"type": "pid", "path": path}]

    assert pod.run(TRY, id="d").stdout == REFUSED


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_calls_of_ours_are_let_happen(life: Life, tmp_path: Path, no_new_privileges: bool) -> None:
    """What the process does on its way waits for its listener as well; all but write(2)."""
    listening = Agent(tmp_path / "agent", answer=0)
    names = ("execve", "openat", "open", "read", "close", "fcntl", "recvfrom", "sendto", "clone", "mkdir")
    life.bundle.config["linux"]["seccomp"] = profile(listening.path, *names, flags=["SECCOMP_FILTER_FLAG_TSYNC"])
    try:
        result = life.run(TRY, noNewPrivileges=no_new_privileges)
    finally:
        listening.close()

    assert (result.returncode, result.stdout) == (0, "/tmp/made\n")
    assert len(listening.calls) > 3


def test_start_container_hooks_are_listened_to(life: Life, agent: Agent) -> None:
    """They see no more descriptors than others: 0, 1, 2 and that of the directory they read."""
    life.bundle.config["linux"]["seccomp"] = profile(agent.path)
    script = "ls /proc/self/fd > /tmp/seen; mkdir /tmp/made"
    life.bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script + "; true"]}]}
    life.start("/bin/sleep", "600")

    assert (life.bundle.rootfs / "tmp/seen").read_text().split() == ["0", "1", "2", "3"]
    assert not (life.bundle.rootfs / "tmp/made").exists()
    assert [state["state"]["status"] for state in agent.states] == ["creating", "created"]


def test_a_call_after_the_listener_has_gone_does_not_wait(life: Life, tmp_path: Path) -> None:
    listening = Agent(tmp_path / "agent")
    life.bundle.config["linux"]["seccomp"] = profile(listening.path)
    created = life.create("/bin/sh", "-c", TRY)
    listening.close()
    life.runjail.ok("start", "c")
    life.runjail.wait("c")

    assert created.stdout == "mkdir: can't create directory '/tmp/made': Function not implemented\n"


def test_a_path_without_a_rule_means_nothing(life: Life) -> None:
    """runc: the listener is ignored. Here it is said so."""
    life.bundle.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nowhere/agent"}

    result = life.run(TRY)
    assert (result.returncode, result.stdout) == (0, "/tmp/made\n")
    assert result.stderr.endswith('level=warning msg="without effect here: linux.seccomp.listenerPath"\n')


def test_an_abstract_name(life: Life, tmp_path: Path) -> None:
    """Written with @, as Go programs write it."""
    name = f"runjail-agent-{os.getpid()}"
    listening = Agent(Path(f"\0{name}"))
    life.bundle.config["linux"]["seccomp"] = profile(f"@{name}")
    try:
        assert life.run(TRY).stdout == REFUSED
    finally:
        listening.close()


@pytest.mark.parametrize("path", ["/nowhere/agent.sock", "@nobody-is-here"])
def test_nobody_listens(life: Life, path: str) -> None:
    life.bundle.config["linux"]["seccomp"] = profile(path)
    result = life.runjail("create", "-b", life.bundle.write(), "c")

    assert result.returncode == 1
    assert result.stderr.startswith(
        f"runjail: failed to connect with seccomp agent specified in the seccomp profile: {path}: "
    )
    life.gone()


@pytest.mark.peers("runc")
@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_a_listener_sees_what_it_sees_of_runc(
    life: Life, agent: Agent, tmp_path: Path, no_new_privileges: bool
) -> None:
    life.bundle.config["linux"]["seccomp"] = profile(agent.path, listenerMetadata="m")
    ours = life.run(TRY, noNewPrivileges=no_new_privileges)
    command = ["runc", "--root", str(tmp_path / "runc"), "run", "-b", str(life.bundle.path), "c"]
    runc = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    mine, theirs = (known(state) for state in agent.states)

    assert (ours.returncode, ours.stdout) == (runc.returncode, runc.stdout)
    assert mine == theirs


def known(state: dict[str, Any]) -> dict[str, Any]:
    """Return a process state without what differs from process to process, and what is only ours."""
    assert state["pid"] == state["state"]["pid"]
    inner = {key: value for key, value in state["state"].items() if key in ("id", "status", "bundle", "annotations")}
    inner["annotations"] = inner.get("annotations") or {}
    return {key: value for key, value in state.items() if key not in ("pid", "ociVersion")} | {"state": inner}
