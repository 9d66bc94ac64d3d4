"""linux.seccomp is read whole, and what is not known is refused where it stands."""

from typing import Any

import pytest

from runjail.errors import InvalidConfig
from runjail.spec.model import Seccomp, SeccompRule
from runjail.spec.parse import parse

CONFIG = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}}


def read(seccomp: dict[str, Any] | None) -> Seccomp | None:
    return parse(CONFIG | {"linux": {"seccomp": seccomp}}, "linux").linux.seccomp


def test_a_whole_profile() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
            {
                "names": ["clone"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 1,
                "args": [{"index": 0, "value": 2**64 - 1, "valueTwo": 5, "op": "SCMP_CMP_MASKED_EQ"}],
            },
        ],
    }

    assert read(profile) == Seccomp(
        "SCMP_ACT_ERRNO",
        38,
        ("SCMP_ARCH_X86_64", "SCMP_ARCH_X32"),
        ("SECCOMP_FILTER_FLAG_LOG",),
        (
            SeccompRule(("read", "write"), "SCMP_ACT_ALLOW"),
            SeccompRule(("clone",), "SCMP_ACT_ERRNO", 1, ((0, 2**64 - 1, 5, "SCMP_CMP_MASKED_EQ"),)),
        ),
    )


@pytest.mark.parametrize("nothing", [None, {}, {"architectures": ["SCMP_ARCH_X86"]}])
def test_no_profile(nothing: dict[str, Any] | None) -> None:
    """runc takes one without an action and calls as none."""
    assert read(nothing) is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"defaultAction": "ALLOW"}, 'linux.seccomp.defaultAction: must be "SCMP_ACT_KILL"'),
        (
            {"defaultAction": "SCMP_ACT_NOTIFY"},
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action",
        ),
        ({"defaultErrnoRet": 4096}, "linux.seccomp.defaultErrnoRet: must be between 0 and 4095, not 4096"),
        ({"architectures": ["SCMP_ARCH_VAX"]}, 'linux.seccomp.architectures[0]: "SCMP_ARCH_VAX" is not known'),
        ({"flags": ["SECCOMP_FILTER_FLAG_NEW"]}, 'linux.seccomp.flags[0]: "SECCOMP_FILTER_FLAG_NEW" is not known'),
        ({"listenerMetadata": "x"}, "linux.seccomp.listenerMetadata: means nothing without listenerPath"),
        (
            {"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]},
            "linux.seccomp.flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is of no use without SCMP_ACT_NOTIFY",
        ),
        (
            {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]},
            'linux.seccomp.listenerPath: SCMP_ACT_NOTIFY takes the absolute path of a socket, not ""',
        ),
        (
            {"listenerPath": "/a", "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"}]},
            "linux.seccomp.syscalls[0].names[1]: SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        ({"syscalls": [{"names": [], "action": "SCMP_ACT_ALLOW"}]}, "linux.seccomp.syscalls[0].names: must name"),
        ({"syscalls": [{"names": ["read"], "action": "x"}]}, "linux.seccomp.syscalls[0].action: must be"),
        (
            {
                "syscalls": [
                    {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "value": 0, "op": "="}]}
                ]
            },
            (
                "linux.seccomp.syscalls[0].args[0].index: must be between 0 and 5, not 6; "
                'linux.seccomp.syscalls[0].args[0].op: must be "SCMP_CMP_NE"'
            ),
        ),
    ],
)
def test_what_cannot_be_applied_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        read({"defaultAction": "SCMP_ACT_ALLOW"} | change)

    assert problem in "; ".join(caught.value.problems)
    assert parse(CONFIG | {"linux": {"seccomp": change}}, "freebsd"), "no jail has such filters"
