"""Options and verbs of docker that people use every day: every case is with runjail what it is with runc."""

import contextlib
import functools
import os
from typing import Any

import pytest

from tests.peers.test_docker import OURS, SHELL, said
from tests.support.peers.attaching import engine
from tests.support.peers.commands import eventually
from tests.support.peers.docker import IMAGE, SHIM_SINCE, Docker
from tests.support.peers.kubernetes import groups

pytestmark = [pytest.mark.linux, pytest.mark.peers("dockerd", "docker", "containerd", "runc")]
MOUNTED = "grep ' /mnt' /proc/self/mountinfo | cut -d' ' -f4-6,7 | sed 's/:[0-9]*//; s/master.*/slave/; s/^[^ ]* //'"
REFUSED = ("volume over a file", "file over a directory")  # by every runtime
OPTIONS = {  # options of `docker run`, and what the container says of itself
    "device of another name": ("--device /dev/null:/dev/mine:rwm", "ls -l /dev/mine | cut -c1-10; echo x > /dev/mine"),
    "rule for devices": ("--device-cgroup-rule=c_1:7_rmw --cap-add=MKNOD", "mknod /x c 1 7; echo > /x"),
    "namespaces of the host": ("--userns=host --cgroupns=host", "cat /proc/self/uid_map | tr -s ' '"),
    "private namespaces": ("--cgroupns=private --ipc=private", "ls /proc/self/ns"),
    "no semaphores": ("--ipc=none", "test -e /dev/shm; echo $?"),
    "group of another parent": ("--cgroup-parent=/{group}/other", "grep -v ^0: /proc/self/cgroup | grep -c /other/"),
    "tmpfs": (
        "--tmpfs /mnt:rw,noexec,nosuid,nodev,size=65536k,mode=1770,uid=7,gid=8",
        f"{MOUNTED}; df -k /mnt | tail -n 1 | tr -s ' '; ls -ldn /mnt | cut -c1-20",
    ),
    "tmpfs with exec": ("--tmpfs /mnt:exec,size=10%", MOUNTED),
    "tmpfs mount": ("--mount type=tmpfs,dst=/mnt,tmpfs-size=1m,tmpfs-mode=700", f"{MOUNTED}; ls -ld /mnt | cut -c1-10"),
    "bind mount": ("--mount type=bind,src={dir}/given,dst=/mnt", f"{MOUNTED}; touch /mnt/x"),
    "bind mount, read only": ("--mount type=bind,src={dir}/given,dst=/mnt,readonly", f"{MOUNTED}; touch /mnt/y"),
    "bind mount, slave": ("--mount type=bind,src={dir}/root/given,dst=/mnt,bind-propagation=rslave", MOUNTED),
    "bind mount, shared": ("--mount type=bind,src={dir}/root/given,dst=/mnt,bind-propagation=rshared", MOUNTED),
    "bind mount, private": ("--mount type=bind,src={dir}/given,dst=/mnt,bind-propagation=private", MOUNTED),
    "volume over a file": ("-v {dir}/given:/etc/passwd", "true"),
    "file over a directory": ("-v /etc/hostname:/etc", "true"),
    "named volume": ("-v data:/mnt", "touch /mnt/x; ls /mnt"),
    "volume in a new place": ("-v {dir}/given:/mnt/new/place", "ls -d /mnt/new/place"),
    "all of /proc": ("--security-opt systempaths=unconfined", "cut -d' ' -f5 /proc/self/mountinfo | grep -c ^/proc/"),
    "label": ("--security-opt label=disable", "cat /proc/self/attr/current || echo none"),
    "limits": (
        "--ulimit nofile=50:60 --ulimit core=0 --ulimit nproc=40",
        "ulimit -n; ulimit -Hn; ulimit -c; ulimit -u",
    ),
    "shared memory": ("--shm-size=3m", "df -k /dev/shm | tail -n 1 | tr -s ' '"),
    "init and a signal": ("--init --stop-signal USR1", "cat /proc/1/comm"),
    "swappiness": ("--memory=20m --memory-swappiness=0 --oom-kill-disable", "true"),
    "weights": ("--cpu-shares=2 --cpu-period=50000 --cpu-quota=10000 --blkio-weight=500", "true"),
    "all capabilities but one": ("--cap-drop=ALL --cap-add=CHOWN --user 5", "grep Cap /proc/self/status"),
    "group by number": ("--user 12:34", "id"),
    "directory of another user": ("--user 12 --workdir /root/made", "pwd; ls -ld . | cut -d' ' -f1,3"),
    "names of the host": ("--uts=host", 'test "$(hostname)" && echo same'),
    "log in the local form": ("--log-driver local", "echo out; echo err >&2"),
    "no log": ("--log-driver none", "echo out; echo err >&2"),
    "a terminal that is none": ("--tty", "test -t 1 && tty"),
}


def shown(docker: Docker, name: str) -> Any:
    """Run a row of OPTIONS. An underscore in it is a space."""
    options, script = OPTIONS[name]
    for directory in ("given", "root/given"):
        (docker.directory / directory).mkdir(exist_ok=True)
    places = {"dir": docker.directory, "group": docker.ours.group}
    given = [word.replace("_", " ").format(**places) for word in options.split()]
    words = docker.words("--rm", *SHELL, script)
    at = words.index(IMAGE)
    return said(docker(*words[:at], *given, *words[at:]))


def verbs(docker: Docker) -> Any:
    """Return what comes of a container that is changed, committed, renamed and looked at while it runs."""
    found: list[Any] = []
    id = docker.detached(*SHELL, "echo out; echo made > /made; exec sleep 600", options="--label a=b")
    eventually(lambda: docker("exec", "web", "cat", "/made").out, "it is made")
    changes = ("-c", "CMD cat /made", "-c", "ENV A=b", "web", "committed")
    found.append(docker("commit", *changes).code)
    run = docker.words("--rm")
    found.append(said(docker(*run[: run.index(IMAGE)], "committed")))
    inside = ("exec", "-e", "B=c", "-w", "/tmp", "-u", "12:34", "web", *SHELL, "echo $B; pwd; id")
    found.append(said(docker(*inside)))
    found.append(said(docker("exec", "-d", "web", *SHELL, "echo more > /more")))
    eventually(lambda: docker("exec", "web", "cat", "/more").out, "the other one has run")
    found += [
        docker(*words.split()).code for words in ("rename web other", "rename other web", "update --restart=no web")
    ]
    found.append(docker("logs", "--tail", "1", "web").out)
    found += [(done.code, done.err.replace(id, "ID")) for done in [docker("checkpoint", "create", "web", "x")]]
    found.append(docker("stop", "-t", "1", "web").code)
    found += [docker.status(), docker("exec", "web", "true").code, docker("start", "web").code, docker.status()]
    return found


@pytest.mark.limit(3600)
def test_the_same_as_with_runc(docker: Docker) -> None:
    """Every row and verb, with each runtime that this docker can have."""
    found: dict[str, dict[str, Any]] = {}
    for runtime in ("runc", *OURS[: 1 if docker.major < SHIM_SINCE else 2]):
        docker.runtime = runtime
        found[runtime] = {name: shown(docker, name) for name in OPTIONS}
        found[runtime]["verbs"] = verbs(docker)
        docker.remove_everything()
        remove_groups(docker)
    known = found.pop("runc")

    assert {name: known[name] for name in OPTIONS if known[name][0] == 125 and name not in REFUSED} == {}
    for runtime, each in found.items():
        assert {name: (each[name], known[name]) for name in known if each[name] != known[name]} == {}, runtime


def remove_groups(docker: Docker) -> None:
    """Remove the parent that docker makes for a container and leaves."""
    for path in groups(f"{docker.ours.group}/other"):
        eventually(functools.partial(removed, path), f"{path} is removed")


def removed(path: str) -> bool:
    """Remove a control group where there is one; the end of a container in it may not be complete."""
    with contextlib.suppress(OSError):
        os.rmdir(path)
    return not os.path.isdir(path)


@pytest.mark.limit(1200)
def test_attach(docker: Docker) -> None:
    """A terminal, its keys and its size, signals, and clients that vanish, with each runtime."""
    found = {}
    for runtime in ("runc", *OURS[: 1 if docker.major < SHIM_SINCE else 2]):
        docker.runtime = runtime
        found[runtime] = engine(
            docker,
            lambda options, script: docker.detached(*SHELL, script, options=options),
            lambda: docker.status()[0] == "running",
            docker.remove_everything,
        )
    known = found.pop("runc")

    assert (known["a terminal"][0], known["a signal"], known["killed"]) == (7, 42, (True, 42))
    for runtime, each in found.items():
        assert each == known, runtime
