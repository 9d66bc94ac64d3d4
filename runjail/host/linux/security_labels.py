"""AppArmor profiles and SELinux labels, which the next execve(2) takes on.

They are written below /proc/self/attr while that is still the host's: a container could show us another /proc
(CVE-2019-16884). Children inherit them, so who is cloned into a pid namespace later has them too.
"""

from __future__ import annotations

import os

from runjail.errors import HostError, reason
from runjail.host.linux import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.linux.change import Change
    from runjail.spec.model import Process
    from runjail.steps import SecurityLabels

ATTRIBUTES = "/proc/self/attr"
APPARMOR = "/sys/module/apparmor/parameters/enabled"
SELINUX = "/sys/fs/selinux/enforce"
OF_PROCESS = "process.selinuxLabel"


def require(_change: Change, step: SecurityLabels) -> None:
    """Perform the step of `create`: see that the kernel has what labels are for. Raises HostError with runc's words."""
    if step.apparmor:
        _require_apparmor()
    if step.selinux or step.mounts:
        require_selinux(OF_PROCESS if step.selinux else "linux.mountLabel")


def apply(process: Process) -> None:
    """Have this process run under the labels from its next execve(2) on. Raises HostError."""
    if process.apparmor_profile:
        _require_apparmor()
        own = f"{ATTRIBUTES}/apparmor/exec"  # since Linux 5.8; the other one is of the first module that has any
        path = own if os.path.exists(own) else f"{ATTRIBUTES}/exec"
        _write(path, f"exec {process.apparmor_profile}", "apply the AppArmor profile", process.apparmor_profile)
    if process.selinux_label:
        require_selinux()
        _write(f"{ATTRIBUTES}/exec", process.selinux_label, "set the SELinux label", process.selinux_label)
        if os.path.exists(f"{ATTRIBUTES}/keycreate"):  # of the session keyring that it is about to get
            _write(f"{ATTRIBUTES}/keycreate", process.selinux_label, "label the keyring", process.selinux_label)


def _require_apparmor() -> None:
    try:
        with open(APPARMOR, "rb") as file:
            enabled = file.read(1) == b"Y"
    except OSError:
        enabled = False
    if not enabled:
        raise HostError("apparmor: config provided but apparmor not supported", _hint("process.apparmorProfile"))


def require_selinux(asked: str = OF_PROCESS) -> None:
    """Raise HostError, with runc's words, where the kernel has no SELinux. asked: what asks for a label."""
    if not os.path.exists(SELINUX):
        why = "selinux label is specified in config, but selinux is disabled or not supported"
        raise HostError(why, _hint(asked))


def _hint(asked: str) -> str:
    return f"leave {asked} out, or boot a kernel that has it"


def _write(path: str, content: str, doing: str, label: str) -> None:
    try:
        cgroups.write(path, content)
    except OSError as error:
        raise HostError(f"{doing} {label}: write {path}: {reason(error)}", "is it loaded?") from error
