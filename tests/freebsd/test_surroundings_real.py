"""Network, limits and terminals of a real FreeBSD."""

import fcntl
import os
import struct
import subprocess
import sys
import termios
import time
from typing import Any

import pytest

from runjail.errors import HostError
from runjail.spec.model import Process, User
from runjail.steps import AddressAlias, Loopback, MoveInterface, RctlRules
from tests.support.freebsd.real import Real

if sys.platform.startswith("freebsd"):
    pass

pytestmark = pytest.mark.freebsd


# Network --------------------------------------------------------------------------------------------------------------


def test_aliases(real: Real) -> None:
    def listing() -> str:
        return subprocess.run(["ifconfig", "lo0"], capture_output=True, text=True, check=True).stdout

    before = listing()
    real.apply(AddressAlias("lo0", "inet", "10.77.77.1/32"), AddressAlias("lo0", "inet6", "fd77::1/128"))
    real.apply(AddressAlias("lo0", "inet", "127.0.0.1/8"), AddressAlias("lo0", "inet6", "::1/128"))
    assert [note["address"] for note in real.notes] == ["10.77.77.1/32", "fd77::1/128"]
    assert "inet 10.77.77.1 netmask 0xffffffff" in listing()
    real.create(("ip4.addr", "10.77.77.1"), ("ip6.addr", "fd77::1"))
    real.undo()
    real.undo()

    assert listing() == before
    with pytest.raises(HostError, match="interface nosuch0 does not exist"):
        real.apply(AddressAlias("nosuch0", "inet", "10.77.77.1/32"))


def test_an_own_network_stack(real: Real) -> None:
    made = subprocess.run(["ifconfig", "epair", "create"], capture_output=True, text=True, check=True).stdout.strip()
    inner = f"{made[:-1]}b"
    try:
        real.create(("vnet", "new"))
        real.apply(MoveInterface(inner), Loopback())
        inside = subprocess.run(["ifconfig", "-j", real.name], capture_output=True, text=True, check=True).stdout
        assert "inet 127.0.0.1" in inside
        assert inner in inside
        real.undo()
        assert subprocess.run(["ifconfig", inner], capture_output=True, check=False).returncode == 0
        real.undo()
        with pytest.raises(HostError, match="interface nosuch0 does not exist"):
            real.apply(MoveInterface("nosuch0"))
    finally:
        real.notes.clear()
        subprocess.run(["ifconfig", made, "destroy"], check=True)


# Limits ---------------------------------------------------------------------------------------------------------------


def wait_for_memory(real: Real) -> dict[str, Any]:
    """The kernel counts memory about once a second."""
    for _ in range(50):
        data = real.host.usage(real.host_state)
        if data["memory"]["usage"]["usage"]:
            break
        time.sleep(0.1)
    return data


def test_limits_and_usage(real: Real) -> None:
    real.apply(RctlRules(real.name, ("maxproc:deny=20", "memoryuse:sigkill=134217728")))
    real.create()
    pid = real.sleeper()

    data = wait_for_memory(real)
    real.apply(RctlRules(real.name, ("maxproc:deny=30",), removed=("memoryuse:sigkill", "pcpu:deny")))

    assert data["pids"] == {"current": 1, "limit": 20}
    assert data["memory"]["usage"]["usage"] > 0
    assert data["memory"]["usage"]["limit"] == 134217728
    assert real.libc.rctl_get_rules(f"jail:{real.name}") == {f"jail:{real.name}:maxproc:deny": 30}
    with pytest.raises(HostError, match=f"jail:{real.name}:cputime:deny=5: operation not supported"):
        real.apply(RctlRules(real.name, ("cputime:deny=5",)))
    real.undo()
    os.waitpid(pid, 0)
    assert real.libc.rctl_get_rules(f"jail:{real.name}") == {}


# Terminals ------------------------------------------------------------------------------------------------------------


def test_a_console(real: Real) -> None:
    real.create()
    process = Process(("x",), user=User(1000, 1000), console_size=(33, 99))
    master, slave = real.host.open_console(process, real.host_state)

    def work() -> object:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        size = struct.unpack("HHHH", fcntl.ioctl(slave, termios.TIOCGWINSZ, bytes(8)))
        return size[:2], os.fstat(slave).st_uid, os.isatty(slave)

    said = real.inside(work, [slave])
    os.close(slave)
    os.close(master)

    assert said == "((33, 99), 1000, True)"


def test_check_finds_this_machine_good_enough(real: Real) -> None:
    rows = {what: works for what, works, _, _ in real.host.check()}

    assert rows["root"]
    assert rows["devfs rules"]
