"""A profile holds for every process of a container: its program, exec's, startContainer hooks; as with runc."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import Life

pytestmark = [pytest.mark.linux, pytest.mark.needs("libseccomp")]
NO_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}],
}
TRY = "mkdir /tmp/made 2>/dev/null && echo made || echo refused; grep -c '^Seccomp:.*2' /proc/self/status; true"


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_the_program_and_exec_are_under_the_profile(life: Life, no_new_privileges: bool) -> None:
    """Without no_new_privs it is installed while that is still allowed, with it at the last moment."""
    assert life.says(TRY, noNewPrivileges=no_new_privileges) == "made\n0\n", "nothing else refuses it"
    (life.bundle.rootfs / "tmp/made").rmdir()
    life.bundle.config["linux"]["seccomp"] = NO_MKDIR

    assert life.says(TRY, noNewPrivileges=no_new_privileges) == "refused\n1\n"
    life.start("/bin/sleep", "600", noNewPrivileges=no_new_privileges)
    assert life.runjail.ok("exec", "c", "/bin/sh", "-c", TRY).stdout == "refused\n1\n"
    assert life.runjail.ok("exec", "--user", "1000:1000", "c", "/bin/sh", "-c", TRY).stdout == "refused\n1\n"
    life.runjail.ok("delete", "--force", "c")
    life.gone()


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_start_container_hooks_are_under_the_profile(life: Life, no_new_privileges: bool) -> None:
    life.bundle.config["linux"]["seccomp"] = NO_MKDIR
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "mkdir /tmp/hook; echo $? > /tmp/code"]}
    life.bundle.config["hooks"] = {"startContainer": [hook]}

    life.start("/bin/sleep", "600", noNewPrivileges=no_new_privileges)
    life.runjail.ok("delete", "--force", "c")

    assert (life.bundle.rootfs / "tmp/code").read_text() == "1\n"
    assert not (life.bundle.rootfs / "tmp/hook").exists()


def test_a_profile_that_cannot_be_applied_leaves_no_container(life: Life) -> None:
    """Never without it: fail closed."""
    life.bundle.config["linux"]["seccomp"] = NO_MKDIR | {"architectures": ["SCMP_ARCH_SHEB", "SCMP_ARCH_X86_64"]}
    failed = life.runjail("create", "-b", life.bundle.write("/bin/sleep", "600"), "c")

    assert failed.returncode == 1
    assert failed.stderr.startswith("runjail: linux.seccomp.architectures[0]")
    life.gone()


@pytest.mark.peers("runc")
@pytest.mark.parametrize(
    "profile",
    [
        NO_MKDIR,
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL"}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["nosuchcall"], "action": "SCMP_ACT_ERRNO"}]},
        {"defaultAction": "SCMP_ACT_LOG"},
        {},
    ],
    ids=["errno", "kill", "unknown call", "log", "empty"],
)
def test_programs_see_what_they_see_under_runc(life: Life, tmp_path: Path, profile: dict[str, Any]) -> None:
    life.bundle.config["linux"]["seccomp"] = profile
    script = f"{TRY}; rmdir /tmp/made; (mkdir /tmp/other); echo $?; rmdir /tmp/other; exit 0"

    ours = life.run(script)
    command = ["runc", "--root", str(tmp_path / "runc"), "run", "-b", str(life.bundle.path), "peer"]
    runc = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    assert (ours.returncode, ours.stdout) == (runc.returncode, runc.stdout)
