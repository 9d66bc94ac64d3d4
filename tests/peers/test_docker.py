"""docker with runjail as its runtime, and with our shim: every case is what it is with runc, in the words of docker."""

import json
import tarfile
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.peers.test_error_texts import about_program
from tests.support.peers.commands import Finished, eventually, on_terminal
from tests.support.peers.docker import Docker

pytestmark = [pytest.mark.linux, pytest.mark.peers("dockerd", "docker", "containerd", "runc")]
OURS = ["runjail", "runjail-shim"]

STATUS = "grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status; "
LOOK = STATUS + "cut -d' ' -f5 /proc/self/mountinfo | grep -v ^/sys/fs/cgroup/ | sort; umask; env | sort; "
LOOK += "ls -l /dev | tr -s ' ' | cut -d' ' -f1,3-6,10"
V1 = ("memory/memory.limit_in_bytes", "cpu/cpu.cfs_quota_us", "cpu/cpu.shares", "pids/pids.max", "cpuset/cpuset.cpus")
V2 = ("memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max", "cpuset.cpus")
LIMITS = f"cd /sys/fs/cgroup; for file in {' '.join(V1 + V2)}; do test ! -e $file || cat $file; done"
OPTIONS = {  # options of `docker run`, and what the container says of itself
    "as it comes": ("--hostname web", LOOK),
    "privileged": ("--privileged", STATUS),
    "user": ("--user 1000:1000 --group-add 7", "id; touch /x"),
    "names": (
        "--hostname web --domainname test --env A=b --workdir /made",
        "hostname; echo $A; pwd; cat /etc/hostname",
    ),
    "read only": ("--read-only --tmpfs /tmp:size=1m", "touch /x; touch /tmp/y && df /tmp | tr -s ' ' | cut -d' ' -f2"),
    "capabilities": ("--cap-drop ALL --cap-add NET_ADMIN", STATUS),
    "unconfined": ("--security-opt no-new-privileges --security-opt seccomp=unconfined", STATUS),
    "devices": ("--device /dev/zero:/dev/mine:r", "head -c 1 /dev/mine | wc -c; echo > /dev/mine"),
    "limits": ("--memory 64m --memory-swap 64m --cpus 0.5 --cpu-shares 512 --pids-limit 20 --cpuset-cpus 0", LIMITS),
    "rlimits": ("--ulimit nofile=100:200 --oom-score-adj 500", "ulimit -n; cat /proc/self/oom_score_adj"),
    "sysctl": ("--sysctl kernel.msgmax=4096 --shm-size 2m", "cat /proc/sys/kernel/msgmax; df /dev/shm | tr -s ' '"),
    "of the host": ("--pid host --ipc host --uts host --network host --cgroupns host", "hostname; ls /proc/self/net"),
    "an init": ("--init", "cat /proc/1/comm; exit 6"),
    "a bad mount": ("--volume /etc/hostname:/etc/passwd/x", "true"),
}
REFUSED = ("run: privileged", "run: a bad mount")  # the former where this machine does not have all capabilities
SHELL = ("/bin/sh", "-c")


def said(done: Finished) -> tuple[int, str, str]:
    """Return what a call ended with: code, output, and what it says of the container's program.

    Other errors of the runtime are in its own words.
    """
    out, words = about_program(done.out), about_program(done.err)
    other = "OCI runtime" in words
    return done.code, out, "an error of the runtime" if other else words.partition("\n")[0]


def options(name: str) -> Callable[[Docker], Any]:
    """Return the case of a row of OPTIONS."""
    words, script = OPTIONS[name]
    return lambda docker: said(docker.run(f"--rm {words}", *SHELL, script))


CASES: dict[str, Callable[[Docker], Any]] = {f"run: {name}": options(name) for name in OPTIONS}


def case(function: Callable[[Docker], Any]) -> Callable[[Docker], Any]:
    """Make a function a case: it returns what has to be the same."""
    CASES[function.__name__.replace("_", " ")] = function
    return function


# Programs that cannot run -----------------------------------------------------------------------------------------

CANNOT = (["nope"], ["/nope"], ["./nope"], ["/etc/passwd"], ["/etc/passwd/x"], [""], ["."])


@case
def run_of_what_cannot_run(docker: Docker) -> Any:
    """125, 126 and 127, and what is left of such a container."""
    found = [said(docker.run("--rm", *words)) for words in CANNOT]
    codes = [docker.run("--rm", "/etc").code, docker.run("--rm --user nobody-here", "true").code]
    docker.run("--name web", "nope")
    return found, codes, docker.status()


@case
def exec_of_what_cannot_run(docker: Docker) -> Any:
    docker.detached("sleep", "600")
    found = [said(docker("exec", "web", *words)) for words in CANNOT]
    codes = [docker("exec", *words).code for words in (("web", "/etc"), ("-w", "/nope", "web", "true"))]
    return found, codes, docker("exec", "-u", "nobody-here", "web", "true").code, docker.status()


# Streams and codes ------------------------------------------------------------------------------------------------


@case
def codes_and_streams(docker: Docker) -> Any:
    codes = [docker.run("--rm", *SHELL, script).code for script in ("exit 3", "kill -SEGV $$", "kill -KILL $$")]
    both = docker.run("--rm -i", *SHELL, "cat; echo wrong >&2", stdin="typed")
    return codes, both.out, both.err


@case
def a_terminal(docker: Docker) -> Any:
    script = "until test \"$(stty size)\" = '33 101'; do sleep 0.1; done; echo ready; read line; echo got $line; exit 7"
    words = [*docker.command, *docker.words("--rm -it", *SHELL, script)]
    shown = on_terminal(words, docker.env, b"something\n", b"ready", (33, 101))
    return shown.code, shown.lines


@case
def exec_on_a_terminal(docker: Docker) -> Any:
    docker.detached("sleep", "600")
    script = "test -t 0 && echo ready; read line; echo got $line; exit 8"
    words = [*docker.command, "exec", "-it", "-e", "A=b", "-w", "/tmp", "-u", "1000", "web", *SHELL, script]
    shown = on_terminal(words, docker.env, b"something\n", b"ready")
    return shown.code, shown.lines


@case
def attach_and_logs(docker: Docker) -> Any:
    docker.detached(*SHELL, "echo wrong >&2; echo first; read line; echo got $line; exit 4", options="-i")
    eventually(lambda: docker.ok("logs", "web").out and docker.ok("logs", "web").err, "the first lines")
    attached = docker("attach", "web", stdin="something\n")
    logs, last = docker.ok("logs", "--follow", "web"), docker.ok("logs", "--tail", "1", "web")
    return attached.code, logs.out, logs.err, last.out, docker.status()


# Verbs ------------------------------------------------------------------------------------------------------------


@case
def stop_restart_and_kill(docker: Docker) -> Any:
    """A first process hears only what it has a trap for, so each waits until it says that it is ready."""
    traps = "trap 'exit 5' TERM; trap 'exit 6' USR2; echo ready; while :; do sleep 0.1; done"
    id, found, lives = docker.detached(*SHELL, traps), list[Any](), 1
    for text in ("stop", "start", "kill -s USR2", "wait", "restart -t 0", "kill", "wait", "kill"):
        eventually(lambda number=lives: len(docker.ok("logs", "web").lines) == number, text)  # type: ignore[misc]
        done = docker(*text.split(), "web")
        lives += "start" in text
        found.append((text, done.code, done.out.replace(id, "ID"), done.err.replace(id, "ID")))
    return found, docker.status()


@case
def stop_of_who_ignores_it(docker: Docker) -> Any:
    docker.detached("sleep", "600")
    return docker("stop", "-t", "1", "web").code, docker.status(), docker.state()["OOMKilled"]


@case
def pause(docker: Docker) -> Any:
    id = docker.detached("sleep", "600")
    found = [docker(*words) for words in (("pause", "web"), ("pause", "web"), ("exec", "web", "true"))]
    status = docker.status()
    found += [docker(*words) for words in (("unpause", "web"), ("unpause", "web"), ("exec", "web", "true"))]
    return [(done.code, done.out, done.err.replace(id, "ID")) for done in found], status, docker.status()


@case
def rm_of_a_paused_container(docker: Docker) -> Any:
    docker.detached("sleep", "600")
    docker.ok("pause", "web")
    return docker("rm", "--force", "web").code, docker("inspect", "web").code


@case
def top_and_stats(docker: Docker) -> Any:
    docker.detached("sleep", "600", options="--memory 64m --pids-limit 9")
    columns = [line.split()[-2:] for line in docker.ok("top", "web", "-o", "pid,comm,args").lines]
    stats = json.loads(docker.ok("stats", "--no-stream", "--format", "{{json .}}", "web").out)
    return columns, stats["MemUsage"].partition("/")[2], stats["PIDs"], stats["MemUsage"][:2] != "0B"


@case
def update(docker: Docker) -> Any:
    docker.detached("sleep", "600", options="--memory 64m --memory-swap 64m")
    changes = ["--memory=80m", "--memory-swap=90m", "--pids-limit=7", "--cpus=0.25", "--cpuset-cpus=0"]
    done = docker("update", *changes, "web")
    return done.code, done.err, docker.ok("exec", "web", *SHELL, LIMITS).out


@case
def files(docker: Docker) -> Any:
    """cp into and out of a running container, what has changed, and what is exported."""
    docker.detached(*SHELL, "echo made > /made; exec sleep 600")
    eventually(lambda: docker("exec", "web", "cat", "/made").out, "it is made")
    (docker.directory / "given").write_text("given", encoding="ascii")
    copied = docker("cp", str(docker.directory / "given"), "web:/tmp/given").code, docker("cp", "web:/made", "-").code
    shown = docker.ok("exec", "web", "cat", "/tmp/given").out
    return copied, shown, sorted(docker.ok("diff", "web").lines), _exported(docker)


def _exported(docker: Docker) -> list[str]:
    docker.ok("export", "-o", str(docker.directory / "exported"), "web")
    with tarfile.open(docker.directory / "exported") as tar:
        return sorted(tar.getnames())


@case
def namespaces_of_another(docker: Docker) -> Any:
    docker.detached("sleep", "600", options="--ipc shareable")
    shared = "--network=container:web --pid=container:web --ipc=container:web"
    done = docker.run(
        f"--rm {shared}",
        *SHELL,
        "cat /proc/1/comm; for k in net pid ipc; do test /proc/1/ns/$k -ef /proc/self/ns/$k && echo $k; done",
    )
    return said(done)


@case
def what_events_say(docker: Docker) -> Any:
    began = str(int(time.time()))
    id = docker.detached("sleep", "600")
    docker.ok("exec", "web", "true")
    for words in (["pause"], ["unpause"], ["kill"]):
        docker.ok(*words, "web")
    eventually(lambda: docker.status()[0] == "exited", "it ends")
    docker.ok("rm", "web")
    span = ("--since", began, "--until", str(int(time.time()) + 1))
    return docker.ok("events", *span, "--filter", f"container={id}", "--format", "{{.Type}} {{.Action}}").lines


@pytest.mark.limit(600)
@pytest.mark.parametrize("runtime", OURS)
@pytest.mark.parametrize("name", CASES)
def test_the_same_as_with_runc(docker: Docker, name: str, runtime: str, known: dict[Any, Any]) -> None:
    docker.needs(runtime)
    key = str(docker.directory), name
    if key not in known:
        known[key] = CASES[name](docker)
        docker.remove_everything()
    docker.runtime = runtime

    assert CASES[name](docker) == known[key]
    assert name in REFUSED or not name.startswith("run: ") or known[key][0] != 125, "what runc itself cannot do here"


@pytest.fixture(scope="module")
def known() -> dict[Any, Any]:
    """What was seen with runc, by dockerd and case."""
    return {}
