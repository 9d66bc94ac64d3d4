"""What a container's processes learn of a process that joins: nothing, from jail_attach(2) until its execve(2)."""

import ctypes
import json
import os
import time
from collections.abc import Callable, Iterator

import pytest

from runjail.host.base import HostState
from runjail.spec.model import Process, User
from tests.support.container.harness import Life, until
from tests.support.freebsd.real import Real

pytestmark = pytest.mark.freebsd

SECRET = b"of the host"
MEMORY = ctypes.create_string_buffer(len(SECRET))  # at the same address in all children of this interpreter
PT_ATTACH, PT_DETACH = 10, 11
PROC_TRACE_CTL, ENABLE = 7, 1
KTRFAC_SYSCALL = 2
KERN_PROC_VMMAP, KERN_PROC_FILEDESC, KERN_PROC_ENV = 32, 33, 35
USERS = [User(0, 0), User(1000, 1000)]


def call(name: str, *arguments: object) -> None:
    """Make a system call of libc, which is loaded before the jail is entered."""
    if LIBC[name](*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


LIBC = {
    name: getattr(ctypes.CDLL(None, use_errno=True), name, None) for name in ("ptrace", "procctl", "ktrace", "sysctl")
}


def trace(pid: int) -> None:
    call("ptrace", PT_ATTACH, pid, None, 0)
    os.waitpid(pid, 0)
    call("ptrace", PT_DETACH, pid, ctypes.c_void_p(1), 0)


def read_memory(pid: int) -> None:
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    found = os.pread(memory, len(SECRET), ctypes.addressof(MEMORY))
    os.close(memory)
    assert found == SECRET


def read_map(pid: int) -> None:
    with open(f"/proc/{pid}/map", "rb") as file:
        assert file.read()


def ask(kind: int) -> Callable[[int], None]:
    def ask_kernel(pid: int) -> None:
        name = (ctypes.c_int * 4)(1, 14, kind, pid)  # CTL_KERN, KERN_PROC
        size = ctypes.c_size_t(1 << 20)
        call("sysctl", name, 4, ctypes.create_string_buffer(1 << 20), ctypes.byref(size), None, ctypes.c_size_t(0))
        assert size.value

    return ask_kernel


def allow(pid: int) -> None:
    call("procctl", 0, ctypes.c_int64(pid), PROC_TRACE_CTL, ctypes.byref(ctypes.c_int(ENABLE)))


def record(pid: int) -> None:
    call("ktrace", b"/trace", 0, KTRFAC_SYSCALL, pid)
    call("ktrace", b"/trace", 1, KTRFAC_SYSCALL, pid)


ATTACKS = {
    "ptrace": trace,
    "memory": read_memory,
    "map": read_map,
    "ktrace": record,
    "environment": ask(KERN_PROC_ENV),
    "descriptors": ask(KERN_PROC_FILEDESC),
    "mappings": ask(KERN_PROC_VMMAP),
}


def attack(pid: int) -> dict[str, str]:
    """Try everything against a process, inside the jail. Returns what the kernel said to each attempt."""
    return {name: outcome(work, pid) for name, work in ATTACKS.items()}


def outcome(work: Callable[[int], None], pid: int) -> str:
    try:
        work(pid)
    except OSError as error:
        return os.strerror(error.errno or 0)
    except AssertionError:
        return "nothing there"
    return "done"


def spy(real: Real, user: User, pid: int) -> dict[str, str]:
    """Attack a process from inside the jail, as a user."""

    def work() -> object:
        real.host.apply_credentials(Process(("x",), user=user))
        return json.dumps(attack(pid))

    said: dict[str, str] = json.loads(real.inside(work))
    return said


@pytest.fixture
def jailed(real: Real) -> Iterator[Real]:
    """A jail with a procfs, and files that everybody may write."""
    (real.root / "trace").touch(0o666)
    (real.root / "trace").chmod(0o666)
    real.build(mounts=[{"destination": "/proc", "type": "procfs", "source": "procfs"}])
    yield real


def joiner(real: Real, user: User, traceable: bool = False) -> int:
    """Return the pid of a process that has joined, with a secret in its memory, and does not go on to its execve."""
    own = ctypes.c_int(ENABLE)

    def work() -> None:
        real.host.apply_credentials(Process(("x",), user=user))
        MEMORY.raw = SECRET
        if traceable:
            call("procctl", 0, ctypes.c_int64(0), PROC_TRACE_CTL, ctypes.byref(own))
        os.write(2, b"in")
        time.sleep(100)

    pid, reading = real.fork(work)
    assert os.read(reading, 2) == b"in"
    os.close(reading)
    return pid


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("attacker", USERS)
def test_nobody_looks_into_a_process_that_joins(jailed: Real, user: User, attacker: User) -> None:
    pid = joiner(jailed, user)
    said = spy(jailed, attacker, pid)

    assert set(said) == set(ATTACKS)
    refusals = {"Operation not permitted", "Permission denied", "No such process", "No such file or directory"}
    assert set(said.values()) <= refusals, said
    jailed.undo()
    os.waitpid(pid, 0)


@pytest.mark.parametrize("user", USERS)
def test_the_attacks_work_where_they_are_allowed(jailed: Real, user: User) -> None:
    """The control for the test above."""
    pid = joiner(jailed, user, traceable=True)
    said = spy(jailed, USERS[0], pid)

    assert said == dict.fromkeys(ATTACKS, "done")
    jailed.undo()
    os.waitpid(pid, 0)


def test_a_joiner_is_not_made_traceable_by_others(jailed: Real) -> None:
    pid = joiner(jailed, USERS[0])

    assert jailed.inside(lambda: outcome(allow, pid)) == "Operation not permitted"
    jailed.undo()
    os.waitpid(pid, 0)


def test_parked_init_is_out_of_reach_until_it_is_the_program(real: Real, life: Life) -> None:
    """It is the interpreter of the host; `start` makes it the container's own program, which root inside may trace."""
    life.create("/bin/sleep", "600")
    pid = life.runjail.state("c")["pid"]
    facts = json.loads((life.runjail.root / "c" / "state.json").read_text(encoding="utf-8"))
    real.host_state = HostState.from_data(facts["box"])

    assert real.inside(lambda: outcome(trace, pid)) == "Operation not permitted"
    life.runjail.ok("start", "c")
    until(lambda: real.inside(lambda: outcome(trace, pid)) == "done")
    life.runjail.ok("delete", "-f", "c")
