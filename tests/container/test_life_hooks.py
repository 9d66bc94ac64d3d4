"""Hooks: when they run, where, with what, and what their failures do (runtime-spec, POSIX-platform Hooks)."""

import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import Life, is_alive, tree
from tests.support.program import LINUX

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
IN_CREATE = KINDS[:3]
FAILING = KINDS[:5]


def shell(script: str, **more: Any) -> dict[str, Any]:
    """Return a hook that runs a shell script."""
    return {"path": "/bin/sh", "args": ["sh", "-c", script], **more}


def recorder(life: Life, kind: str, index: int) -> dict[str, Any]:
    """Return a hook that keeps its standard input. startContainer hooks run inside, so theirs is kept in the root."""
    name = f"{kind}.{index}"
    directory = "/var" if kind == "startContainer" else str(life.path)
    return shell(f"echo {name} >> {directory}/order; cat > {directory}/{name}", env=["PATH=/bin:/usr/bin"])


def fail_in(life: Life, kind: str, index: int = 1) -> None:
    """Let one of three hooks fail, and keep records of all."""
    hooks = {each: [recorder(life, each, number) for number in range(2)] for each in KINDS}
    hooks[kind].insert(index, shell("echo the reason >&2; exit 3"))
    life.bundle.config["hooks"] = hooks


def recorded(life: Life, kind: str, index: int) -> dict[str, Any]:
    directory = life.bundle.rootfs / "var" if kind == "startContainer" else life.path
    document: dict[str, Any] = json.loads((directory / f"{kind}.{index}").read_text())
    return document


def order(life: Life) -> list[str]:
    """Return the names of the hooks that ran on the host, in their order."""
    path = life.path / "order"
    return path.read_text().split() if path.exists() else []


def test_all_six_kinds(life: Life) -> None:
    """Each at its time, in order, with the state document that `state` would print then."""
    life.bundle.config["annotations"] = {"a": "b"}
    life.bundle.config["hooks"] = {kind: [recorder(life, kind, number) for number in range(2)] for kind in KINDS}
    life.create("/bin/sleep", "600")
    after_create, pid = order(life), life.runjail.state("c")["pid"]
    life.runjail.ok("start", "c")
    after_start = order(life)
    life.runjail.ok("delete", "-f", "c")

    assert after_create == [f"{kind}.{number}" for kind in IN_CREATE for number in range(2)]
    assert after_start[6:] == ["poststart.0", "poststart.1"]
    assert order(life)[8:] == ["poststop.0", "poststop.1"]
    assert (life.bundle.rootfs / "var" / "order").read_text().split() == ["startContainer.0", "startContainer.1"]
    statuses = dict.fromkeys(IN_CREATE, "creating") | {
        "startContainer": "created",
        "poststart": "running",
        "poststop": "stopped",
    }
    for kind in KINDS:
        document = recorded(life, kind, 1)
        assert document["status"] == statuses[kind]
        assert (document["id"], document["bundle"]) == ("c", str(life.path))
        assert (document["ociVersion"], document["annotations"]) == ("1.3.0", {"a": "b"})
        assert document["pid"] == (0 if kind == "poststop" else pid)


@pytest.mark.parametrize("kind", KINDS)
def test_environment_and_arguments_are_exactly_the_hooks(life: Life, kind: str) -> None:
    """args[0] too; nothing of the caller's environment or ours."""
    target = "/var/out" if kind == "startContainer" else str(life.path / "out")
    script = f'echo "$0,$1" > {target}; set >> {target}'
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script, "zero", "one"], "env": ["A=b=c", "B="]}
    life.bundle.config["hooks"] = {kind: [hook]}
    bundle = life.bundle.write("/bin/sleep", "600")
    caller = {"SECRET": "x", "HOME": "/root"}
    life.runjail.ok("create", "-b", bundle, "c", env=caller)
    life.runjail.ok("start", "c", env=caller)
    life.runjail.ok("delete", "-f", "c", env=caller)
    out = life.bundle.rootfs / "var" / "out" if kind == "startContainer" else life.path / "out"
    text = out.read_text()

    assert text.startswith("zero,one\n")
    assert "A='b=c'" in text or "A=b=c" in text
    assert "SECRET" not in text
    assert "HOME=" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_without_an_environment_has_its_callers(life: Life, kind: str) -> None:
    """Programs made for runc and crun count on PATH and the like; inside it is the container's own."""
    inside = kind == "startContainer"
    target = "/var/out" if inside else str(life.path / "out")
    life.bundle.config["hooks"] = {kind: [shell(f'echo "$WHOSE" > {target}')]}
    bundle = life.bundle.write("/bin/sleep", "600", env=["WHOSE=container"])
    caller = {"WHOSE": "caller"}
    life.runjail.ok("create", "-b", bundle, "c", env=caller)
    life.runjail.ok("start", "c", env=caller)
    life.runjail.ok("delete", "-f", "c", env=caller)
    out = life.bundle.rootfs / "var" / "out" if inside else life.path / "out"

    assert out.read_text() == ("container\n" if inside else "caller\n")


def test_a_hook_without_arguments_gets_its_path(life: Life) -> None:
    script = life.path / "hook"
    script.write_text(f'#!/bin/sh\necho "$0" $# > {life.path}/out\n')
    script.chmod(0o755)
    life.bundle.config["hooks"] = {"createRuntime": [{"path": str(script)}]}
    life.create("/bin/sleep", "600")

    assert (life.path / "out").read_text() == f"{script} 0\n"


@pytest.mark.parametrize("kind", FAILING)
def test_a_failing_hook_undoes_everything(life: Life, kind: str) -> None:
    """The verb fails and says which hook and why; later hooks do not run, poststop hooks do; nothing is left."""
    fail_in(life, kind)
    life.bundle.config["mounts"].append({"destination": "/made", "type": "tmpfs", "source": "tmpfs"})
    bundle = life.bundle.write("/bin/sleep", "600")
    created = life.runjail("create", "-b", bundle, "c")
    pid = life.runjail.state("c")["pid"] if created.returncode == 0 else 0
    result = life.runjail("start", "c") if pid else created

    assert (created.returncode == 0) == (kind not in IN_CREATE)
    assert result.returncode == 1
    assert result.stderr == f"runjail: hooks.{kind}[1] (/bin/sh): exit status 3: the reason\n"
    ran = [name for name in order(life) if not name.startswith("poststop")]
    host_kinds = [each for each in KINDS[: KINDS.index(kind)] if each != "startContainer"]
    expected = [f"{each}.{number}" for each in host_kinds for number in range(2)]
    assert ran == expected + ([] if kind == "startContainer" else [f"{kind}.0"])
    assert order(life)[-2:] == ["poststop.0", "poststop.1"]
    assert not pid or not is_alive(pid)
    assert not (life.bundle.rootfs / "made").exists()
    life.gone()


def test_run_with_a_failing_poststart_hook(life: Life) -> None:
    """The foreground run fails as start does and leaves nothing."""
    life.bundle.config["hooks"] = {"poststart": [shell("exit 1")]}
    result = life.runjail("run", "-b", life.bundle.write("/bin/sleep", "600"), "c")

    assert result.returncode == 1
    assert "hooks.poststart[0]" in result.stderr
    life.gone()


def test_a_poststop_failure_only_warns(life: Life) -> None:
    """The others run too, delete succeeds, and the container is gone."""
    fail_in(life, "poststop")
    life.start("/bin/sleep", "600")
    result = life.runjail("delete", "-f", "c")

    assert result.returncode == 0
    assert "hooks.poststop[1]" in result.stderr
    assert order(life)[-2:] == ["poststop.0", "poststop.1"]
    life.gone()


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer", "poststart"])
def test_a_timeout_kills_the_whole_group(life: Life, kind: str) -> None:
    """Also what the hook started; the error says how long it was given."""
    where, seen = ("/var", life.bundle.rootfs / "var") if kind == "startContainer" else (str(life.path), life.path)
    script = f"(while :; do echo alive; sleep 0.1; done >{where}/alive) & sleep 600"
    life.bundle.config["hooks"] = {kind: [shell(script, timeout=1, env=["PATH=/bin:/usr/bin"])]}
    result = life.runjail("run", "-b", life.bundle.write("/bin/sleep", "600"), "c")

    assert result.returncode == 1
    assert result.stderr == f"runjail: hooks.{kind}[0] (/bin/sh): no end after 1 s\n"
    life.gone()
    alive = seen / "alive"  # not there where the shell was too slow to begin
    size = alive.exists() and alive.stat().st_size
    time.sleep(0.5)
    assert (alive.exists() and alive.stat().st_size) == size


@pytest.mark.parametrize("kind", FAILING)
@pytest.mark.parametrize("program", ["missing", "not executable", "a directory"])
def test_a_hook_that_cannot_start(life: Life, kind: str, program: str) -> None:
    """podman must not take it for the container's program: the words that it looks for are avoided."""
    path = {"missing": "/nonexistent/hook", "not executable": "/etc/passwd", "a directory": "/etc"}[program]
    life.bundle.config["hooks"] = {kind: [{"path": path}]}
    result = life.runjail("run", "-b", life.bundle.write("/bin/sleep", "600"), "c")
    said = result.stderr.lower()

    assert result.returncode == 1
    assert f"hooks.{kind.lower()}[0] ({path}): the program" in said
    assert not any(words in said for words in ("no such file", "permission denied", "not found", "not permitted"))
    life.gone()


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "poststart", "poststop"])
def test_a_hook_may_call_us(life: Life, kind: str) -> None:
    """No lock is held: state answers at once, with the status that the hook was told."""
    program = f"{life.runjail.program} --root {life.runjail.root}"
    script = f"{program} state c > {life.path}/said 2>&1; exec {program} list -q > {life.path}/listed"
    life.bundle.config["hooks"] = {kind: [shell(script, timeout=100)]}
    life.start("/bin/sleep", "600")
    pid = life.runjail.state("c")["pid"]
    life.runjail.ok("delete", "-f", "c")
    document = json.loads((life.path / "said").read_text())

    if kind == "poststop":
        assert document["status"] == "stopped"
    else:
        assert document["status"] == ("running" if kind == "poststart" else "creating")
        assert document["pid"] == pid
    assert (life.path / "listed").read_text() == "c\n"


def test_a_poststart_hook_may_exec(life: Life) -> None:
    """As CNI wrappers do."""
    program = f"{life.runjail.program} --root {life.runjail.root}"
    life.bundle.config["hooks"] = {
        "poststart": [shell(f"{program} exec c /bin/echo inside > {life.path}/said", timeout=100)]
    }
    life.start("/bin/sleep", "600")

    assert (life.path / "said").read_text() == "inside\n"


def test_a_hook_may_delete_its_container(life: Life) -> None:
    """The verb fails with what it knows, and nothing is left: no deadlock, no half container."""
    program = f"{life.runjail.program} --root {life.runjail.root}"
    life.bundle.config["hooks"] = {"createRuntime": [shell(f"{program} delete --force c", timeout=100)]}
    result = life.runjail("create", "-b", life.bundle.write("/bin/sleep", "600"), "c")

    assert result.returncode == 1
    life.gone()


def replaces_with(other: Life) -> Any:
    """Return a hook that deletes the container and creates another one under its id."""
    program = f"{other.runjail.program} --root {other.runjail.root}"
    bundle = other.bundle.write("/bin/sleep", "600")
    create = f"{program} create -b {bundle} c </dev/null >/dev/null 2>&1"
    return shell(f"{program} delete --force c; {create}", timeout=100)


def test_a_hook_may_replace_its_container(life: Life, make_bundle: Any) -> None:
    """Deleted and created anew under the same id while create runs a hook: the new one is not touched by the old."""
    other = Life(life.runjail, make_bundle("other"))
    life.bundle.config["hooks"] = {"createRuntime": [replaces_with(other)]}
    result = life.runjail("create", "-b", life.bundle.write("/bin/sleep", "600"), "c")

    assert result.returncode == 1
    assert life.runjail.state("c")["bundle"] == str(other.path)
    assert life.runjail.state("c")["status"] == "created"
    life.runjail.ok("start", "c")


def test_a_poststop_hook_may_create_the_same_id(life: Life, make_bundle: Any) -> None:
    """delete removes the container it deleted, not the one that has its name by now."""
    other = Life(life.runjail, make_bundle("other"))
    life.bundle.config["hooks"] = {"poststop": [replaces_with(other)]}
    life.start("/bin/sleep", "600")
    life.runjail("delete", "-f", "c")

    assert life.runjail.state("c")["bundle"] == str(other.path)


def test_a_background_child_does_not_hold_us(life: Life) -> None:
    """A daemon that a hook leaves keeps its output open; nobody waits for it."""
    script = f"sleep 600 & echo $! >> {life.path}/children"
    life.bundle.config["hooks"] = {
        kind: [shell(script, env=["PATH=/bin:/usr/bin"])] for kind in ("createRuntime", "poststart", "poststop")
    }
    try:
        life.start("/bin/sleep", "600")
        life.runjail.ok("delete", "-f", "c")
        life.gone()
    finally:
        for pid in (life.path / "children").read_text().split():
            os.kill(int(pid), 9)


def test_a_hook_that_reads_nothing_and_one_that_says_much(life: Life) -> None:
    """A large state document and much output block nobody."""
    life.bundle.config["annotations"] = {f"key{number}": "x" * 1000 for number in range(300)}
    much = f"i=0; while test $i -lt 3000; do echo {'-' * 40}; i=$((i+1)); done"
    life.bundle.config["hooks"] = {
        "createRuntime": [shell("exit 0"), shell(much)],
        "createContainer": [shell("exit 0")],
        "startContainer": [shell("exit 0")],
        "poststart": [shell(f"cat > {life.path}/big", env=["PATH=/bin:/usr/bin"])],
    }  # fmt: skip
    life.start("/bin/sleep", "600")

    assert len((life.path / "big").read_text()) > 300_000


def test_create_container_hooks_see_the_containers_namespaces(life: Life) -> None:
    """The host's program, run in the container's world and root directory. A jail has no namespaces to look into."""
    script = f"pwd > {life.path}/out; hostname >> {life.path}/out"
    life.bundle.config["hooks"] = {"createContainer": [shell(script, env=["PATH=/bin:/usr/bin"])]}
    life.create("/bin/sleep", "600")
    where, name = (life.path / "out").read_text().split()

    assert where == str(life.bundle.rootfs)
    assert name == ("runjail-test" if LINUX else platform.node())


def test_start_container_hooks_run_inside(life: Life) -> None:
    """Program and paths are the container's."""
    hook = life.bundle.rootfs / "inside"
    hook.write_text("#!/bin/sh\nhostname > /var/name\n")
    hook.chmod(0o755)
    life.bundle.config["hooks"] = {"startContainer": [{"path": "/inside", "env": ["PATH=/bin"]}]}
    life.start("/bin/sleep", "600")

    assert (life.bundle.rootfs / "var" / "name").read_text() == "runjail-test\n"


def test_start_container_hooks_run_once(life: Life) -> None:
    """Two starts at the same time: one runs the hooks and starts, the other is refused."""
    life.bundle.config["hooks"] = {"startContainer": [shell("echo once >> /var/ran; sleep 0.3", env=["PATH=/bin"])]}
    life.create("/bin/sleep", "600")
    command = [life.runjail.program, "--root", str(life.runjail.root), "start", "c"]
    starts = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(3)]
    said = [process.communicate(timeout=200)[1] for process in starts]

    assert sorted(process.returncode for process in starts) == [0, 1, 1]
    assert said.count(b"runjail: cannot start an already running container\n") == 2
    assert (life.bundle.rootfs / "var" / "ran").read_text() == "once\n"


def test_hooks_get_no_descriptors(life: Life) -> None:
    """Neither ours nor the caller's: 3 to 20 are closed."""
    script = (
        f'for i in 3 4 5 6 7 8 9 10 11 12; do (eval "true <&$i") 2>/dev/null && echo $i >> {life.path}/out; done; true'
    )
    life.bundle.config["hooks"] = {
        kind: [shell(script)] for kind in ("createRuntime", "createContainer", "poststart", "poststop")
    }
    inside = script.replace(str(life.path), "/var")
    life.bundle.config["hooks"]["startContainer"] = [shell(inside)]

    def leak() -> None:
        os.closerange(3, 64)
        for _ in range(4):
            os.set_inheritable(os.open("/dev/null", os.O_RDONLY), True)

    bundle = life.bundle.write("/bin/sleep", "600")
    life.runjail.ok("create", "--preserve-fds", "2", "-b", bundle, "c", preexec_fn=leak, close_fds=False)
    life.runjail.ok("start", "c", preexec_fn=leak, close_fds=False)
    life.runjail.ok("delete", "-f", "c", preexec_fn=leak, close_fds=False)

    assert not (life.path / "out").exists(), (life.path / "out").read_text()
    assert not (life.bundle.rootfs / "var" / "out").exists()


def test_the_root_is_as_before(life: Life, tmp_path: Path) -> None:
    """Hooks or not, a deleted container leaves the image as it was."""
    life.bundle.config["hooks"] = {kind: [shell("exit 0")] for kind in KINDS}
    before = tree(life.bundle.rootfs)
    life.start("/bin/sleep", "600")
    life.runjail.ok("delete", "-f", "c")

    assert tree(life.bundle.rootfs) == before
