"""SIGKILL before every system call and program of each step: the notes that were written by then undo what was done."""

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from runjail.host import programs
from runjail.host.freebsd import libc as libc_freebsd
from tests.support.freebsd.real import Real, tool

pytestmark = [pytest.mark.freebsd, pytest.mark.slow]

DEV = {"destination": "/dev", "type": "devfs", "source": "devfs"}
TMP = {"destination": "/made/tmp", "type": "tmpfs", "source": "tmpfs"}
WORLDS: dict[str, dict[str, Any]] = {
    "jail": {},
    "volume": {"mounts": [{"destination": "/a/b/c", "type": "bind", "source": "/etc", "options": ["rbind", "ro"]}]},
    "file": {"mounts": [{"destination": "/a/file", "type": "bind", "source": "/etc/passwd", "options": ["bind"]}]},
    "devices": {"mounts": [DEV], "freebsd": {"devices": [{"path": "full"}]}},
    "readonly": {"root": {"path": "ROOT", "readonly": True}, "mounts": [TMP]},
    "copy-up": {"mounts": [{**TMP, "destination": "/etc", "options": ["tmpcopyup"]}]},
    "limits": {"linux": {"resources": {"pids": {"limit": 5}, "cpu": {"cpus": "0"}}}},
    "addresses": {"freebsd": {"jail": {"interface": "lo0", "ip4Addr": ["10.77.77.9/32"]}}},
    "stack": {"freebsd": {"jail": {"vnet": "new"}}},
    "parameters": {"annotations": {"org.freebsd.jail.meta.a": "b", "org.freebsd.jail.allow.mount.tmpfs": "true"}},
}


def world(real: Real) -> list[object]:
    """Return everything of this machine that a container could have changed."""
    files = sorted(os.path.join(top, name) for top, dirs, names in os.walk(real.root) for name in dirs + names)
    system = [tool("devfs", "rule", "showsets"), tool("ifconfig", "lo0"), tool("jls", "jid", "name")]
    return [files, [mounted.path for mounted in real.libc.mounts()], *system, (real.state / "rootfs").exists()]


def die_at(number: int) -> None:
    """*child* End this process just before its n-th system call of ours or program."""
    left = [number]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    libc = libc_freebsd.Libc
    libc._call = counted(libc._call)  # type: ignore[method-assign]
    libc._call_pairs = counted(libc._call_pairs)  # type: ignore[method-assign]
    programs.run = counted(programs.run)  # type: ignore[assignment]


def build_and_die(real: Real, config: dict[str, Any], number: int) -> tuple[bool, list[dict[str, Any]]]:
    """Build in a child that dies at its n-th call. Returns whether it did, and the notes on disk."""
    path, plan = real.base / "undo", real.plan(**config)  # the state has the plan's facts before the first step
    path.write_text("")
    pid = os.fork()
    if not pid:
        status = 1
        try:
            with open(path, "a", buffering=1) as file:
                real.notes = Journal(file)  # type: ignore[assignment]
                die_at(number)
                real.apply(*plan.steps)
            status = 0
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL), "the build failed by itself"
    return status != 0, [json.loads(line) for line in path.read_text().splitlines()]


class Journal:
    """Takes notes as the state directory does: one line each, before the step."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def append(self, note: dict[str, Any]) -> None:
        self._file.write(json.dumps(note) + "\n")


@pytest.mark.parametrize("name", WORLDS)
def test_killed_at_every_call(real: Real, name: str) -> None:
    config = json.loads(json.dumps(WORLDS[name]).replace("ROOT", str(real.root)))
    before, killed, number = world(real), True, 0
    while killed:
        number += 1
        killed, notes = build_and_die(real, config, number)
        for note in reversed(notes):
            real.host.undo(note, real.host_state)
        assert world(real) == before, f"killed before call {number}"
        rules = real.libc.rctl_get_rules(f"jail:{real.name}") if name == "limits" else {}
        assert rules == {}, f"killed before call {number}"

    assert number > 3, "it was killed at all"
