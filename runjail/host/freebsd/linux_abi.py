"""Linux programs on FreeBSD: linux(4)."""

from __future__ import annotations

from runjail.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.host.freebsd.change import Change
    from runjail.host.freebsd.libc import Libc
    from runjail.steps import LinuxPrograms

FEATURE = "kern.features.linux64"
BRAND = "kern.elf64.fallback_brand"
LINUX = 3  # ELFOSABI_LINUX
START = "sysrc linux_enable=YES && service linux start"


def runs_linux(libc: Libc) -> bool:
    """Tell whether the module linux64 is there. linprocfs alone brings linux_common, whose variables say nothing."""
    try:
        return libc.sysctl(FEATURE)[:1] == b"\1"
    except OSError:
        return False


def fallback_brand(libc: Libc) -> int:
    """Return what the kernel takes programs without a brand for, as most static ones of Linux are."""
    return int.from_bytes(libc.sysctl(BRAND), "little", signed=True)


def require(change: Change, _step: LinuxPrograms) -> None:
    """Raise HostError when this kernel does not run Linux programs."""
    if not runs_linux(change.libc):
        raise HostError("run Linux programs: the kernel module linux64 is not loaded", START)
