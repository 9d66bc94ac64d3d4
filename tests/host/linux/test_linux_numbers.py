"""Numbers that differ from one processor to the next are those of the kernel's own headers, for each that we name."""

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import TOP

if sys.platform != "linux":  # whose libc it calls
    pytest.skip("needs Linux", allow_module_level=True)
from runjail.host.linux import libc, libc_mounts, seccomp

pytestmark = pytest.mark.needs("linux")
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),  # arm64 and riscv64 have the generic table
    "riscv64": Path("/usr/include/asm-generic/unistd.h"),
}
DURING = (
    *("read", "write", "close", "brk", "mmap", "munmap", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn"),
    *("sendmsg", "futex", "exit_group", "pipe2"),
)
AS_IF = """
import os, sys
sys.path.insert(0, sys.argv[1])
names = os.uname()
os.uname = lambda: os.uname_result((*names[:4], sys.argv[2]))
from runjail.host.linux import libc
print(libc.SYS_CLONE, libc.SYS_BPF[sys.argv[2]], libc._KEYCTL, libc._SECCOMP)
"""


def numbers(machine: str) -> dict[str, int]:
    """Return the kernel's numbers of system calls for a machine, by name."""
    if not HEADERS[machine].exists():
        pytest.skip(f"needs {HEADERS[machine]}: linux-libc-dev")
    text = HEADERS[machine].read_text(encoding="ascii")
    return {
        name: int(number) for name, number in re.findall(r"^#define __NR(?:3264)?_(\w+) (\d+)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("machine", list(HEADERS))
def test_system_calls(machine: str) -> None:
    """Of the calls that libc has no function for; the module takes them at import, so each has a process."""
    kernel = numbers(machine)
    words = [sys.executable, "-c", AS_IF, str(TOP), machine]
    done = subprocess.run(words, capture_output=True, text=True, check=True)

    assert [int(word) for word in done.stdout.split()] == [
        kernel[name] for name in ("clone", "bpf", "keyctl", "seccomp")
    ]


@pytest.mark.parametrize("machine", list(HEADERS))
def test_what_python_needs_between_two_lines(machine: str) -> None:
    kernel = numbers(machine)
    ours = seccomp._X86_64 if machine == "x86_64" else seccomp._GENERIC

    assert ours == tuple(kernel[name] for name in DURING)


@pytest.mark.parametrize("machine", list(HEADERS))
def test_the_calls_for_mounts_have_one_number(machine: str) -> None:
    kernel = numbers(machine)
    names = ("open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "mount_setattr")

    assert [getattr(libc_mounts, name.upper()) for name in names] == [kernel[name] for name in names]


UNKNOWN = """
import os, sys
sys.path.insert(0, sys.argv[1])
names = os.uname()
os.uname = lambda: os.uname_result((*names[:4], sys.argv[2]))
sys.maxsize = int(sys.argv[3])
from runjail.host.linux import libc
for call in (libc.clone_sibling, libc.new_session_keyring, lambda: libc.seccomp(0, 0, 0), lambda: libc.bpf(0, b"")):
    try:
        call()
    except OSError as error:
        print(error.errno, error.strerror)
"""


@pytest.mark.parametrize(("machine", "word"), [("s390x", 2**63 - 1), ("i686", 2**31 - 1), ("x86_64", 2**31 - 1)])
def test_no_other_call_is_made_where_numbers_are_not_known(machine: str, word: int) -> None:
    """A 32-bit Python on a 64-bit kernel is such a machine, whatever uname(2) says."""
    words = [sys.executable, "-c", UNKNOWN, str(TOP), machine, str(word)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)

    assert [line.split()[0] for line in done.stdout.splitlines()] == [str(errno.ENOSYS)] * 4
    assert f"the number of clone(2) is not known on {machine}" in done.stdout


def test_the_tables_name_the_same_machines() -> None:
    """Who is in one of them is in all; another machine gets what the tables' users say."""
    assert set(HEADERS) == set(seccomp._ARCHITECTURES)
    assert set(HEADERS) <= set(libc.SYS_BPF)
