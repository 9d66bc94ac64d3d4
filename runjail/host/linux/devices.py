"""Which devices the processes of a control group may use: lists of v1, or a program of v2.

To use one is to open or to make it; the program is BPF. The policy is put into force before the first process joins. It
holds for everything that ever runs in the group.
"""

from __future__ import annotations

import errno
import os

from runjail import log
from runjail.errors import HostError, reason
from runjail.host.base import HostState
from runjail.host.linux import cgroups as cgroup
from runjail.steps import DevicePolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runjail.host.linux.bpf import Rule

EVERYTHING = "a *:* rwm"


def hold(policy: DevicePolicy | None, host_state: HostState) -> None:
    """Put a policy into force for host_state.cgroup, or do without where this machine does not let us."""
    if not policy:
        return
    try:
        enforce(host_state.cgroup, policy.allow, policy.rules)
        host_state.devices = {"allow": policy.allow, "rules": policy.rules, "enforced": True}
    except OSError as error:
        if lost := do_without(policy, host_state):
            # Who is not root can make no device files in a container either
            report = log.info if cgroup.ordinary() else log.warning
            report(f"device rules cannot be set ({reason(error)}): {lost}")


def do_without(policy: DevicePolicy | None, host_state: HostState) -> str:
    """Mark the host state as one that lacks its policy, and return what that means, "" when it needs none.

    Its processes get no CAP_MKNOD, and device files do nothing but in its own /dev. Raises HostError when the policy
    forbids something that is there.
    """
    if not policy or (policy.allow and not policy.rules):
        return ""
    if not policy.contained:
        raise HostError("linux.resources.devices cannot be enforced: no control group for devices can be written")
    host_state.devices = {"enforced": False}
    return "the container gets no CAP_MKNOD, and no device files but those of its own /dev"


def enforce(path: str, allow: bool, rules: Sequence[Rule]) -> None:
    """Put a policy into force for a control group that exists. Raises OSError where it cannot be."""
    if cgroup.unified():
        from runjail.host.linux import bpf

        bpf.attach(f"{cgroup.TOP}/{path}", bpf.assemble(allow, rules))
    elif cgroup.is_mounted("devices"):
        _set_lists(f"{cgroup.TOP}/devices/{path}", allow, [_words(rule) for rule in rules])
    else:
        raise OSError(errno.EOPNOTSUPP, "no controller for devices")


def _words(rule: Rule) -> str:
    kind, major, minor, access = rule
    return f"{kind} {'*' if major == -1 else major}:{'*' if minor == -1 else minor} {access}"


def _set_lists(directory: str, allow: bool, rules: list[str]) -> None:
    """Write devices.allow and devices.deny: only what changes, since processes may be in a group that exists."""
    present = cgroup.content(f"{directory}/devices.list").splitlines()
    if allow or EVERYTHING in present:  # what is forbidden in a group that allows everything is not listed
        _write(directory, allow, ["a"])
        present = []
    _write(directory, False, rules if allow else [rule for rule in present if rule not in rules])
    _write(directory, True, [] if allow else [rule for rule in rules if rule not in present])


def _write(directory: str, allow: bool, lines: list[str]) -> None:
    if not lines:
        return
    descriptor = os.open(f"{directory}/devices.{'allow' if allow else 'deny'}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        for line in lines:
            try:
                os.write(descriptor, line.encode())
            except PermissionError:
                if not allow:
                    raise
                log.debug(f"control group {directory}: {line}: forbidden by the group above")
    finally:
        os.close(descriptor)


def check() -> tuple[str, bool, str, str]:
    """Return the row of `runjail check` about device rules."""
    try:
        if cgroup.unified():
            from runjail.host.linux import bpf

            os.close(bpf.load(bpf.assemble(False, ())))
        elif not cgroup.is_mounted("devices"):
            raise OSError(errno.EOPNOTSUPP, "no controller for devices")
        elif not os.access(f"{cgroup.TOP}/devices", os.W_OK):
            raise OSError(errno.EROFS, "its control groups cannot be written")
    except OSError as error:
        found = f"not enforced, so that containers get no CAP_MKNOD: {reason(error)}"
        return ("device rules", False, found, "enable the devices controller, or BPF for control groups, in the kernel")
    return ("device rules", True, f"enforced by {'BPF' if cgroup.unified() else 'the devices controller'}", "")
