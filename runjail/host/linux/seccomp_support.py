"""What of seccomp this machine has, for `features`: actions, flags and architectures."""

from __future__ import annotations

import errno

from runjail.errors import HostError
from runjail.host.linux import cgroups, libc, libseccomp, seccomp
from runjail.host.linux.seccomp import FLAGS, NEW_LISTENER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OF_LISTENERS = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"  # is invalid without a listener
ACTIONS = "/proc/sys/kernel/seccomp/actions_avail"
KERNEL_NAMES = {"kill": "kill_thread", "notify": "user_notif"}  # where they are not those of libseccomp


def narrow(features: dict[str, Any]) -> None:
    """Take what this machine cannot do out of the words that runjail knows: `linux.seccomp` of a features document.

    Without the library profiles are refused, so there is no seccomp at all.
    """
    try:
        library = libseccomp.Library()
    except HostError:
        features.clear()
        features["enabled"] = False
        return
    actions = cgroups.content(ACTIONS).split()
    features["actions"] = [word for word in features["actions"] if not actions or _kernel_name(word) in actions]
    features["archs"] = [word for word in features["archs"] if libseccomp.takes_architecture(library, word)]
    features["supportedFlags"] = [word for word in features["supportedFlags"] if _has_flag(FLAGS[word])]


def _kernel_name(action: str) -> str:
    word = action.removeprefix("SCMP_ACT_").lower()
    return KERNEL_NAMES.get(word, word)


def _has_flag(flag: int) -> bool:
    """Ask the kernel for a filter that is nowhere: it looks at the flags first (seccomp(2), EFAULT and EINVAL)."""
    try:
        libc.seccomp(seccomp.SECCOMP_SET_MODE_FILTER, flag | (NEW_LISTENER if flag == FLAGS[OF_LISTENERS] else 0), 0)
    except OSError as error:
        return error.errno == errno.EFAULT
    return False
