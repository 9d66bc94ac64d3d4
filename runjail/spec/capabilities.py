"""The privileges that Linux divides root's into."""

from __future__ import annotations

from runjail.spec.model import Capabilities

# capability(7), by bit number
NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()


def unknown(wanted: Capabilities) -> list[str]:
    """Return the names in any of the sets that stand for nothing: those cannot be granted."""
    declared = {name for field in wanted._fields for name in getattr(wanted, field)}
    return sorted(name for name in declared if name.removeprefix("CAP_") not in NAMES)


def not_ambient(wanted: Capabilities) -> list[str]:
    """Return the names that cannot become ambient: those are permitted and inheritable, too (capabilities(7))."""
    both = set(wanted.permitted) & set(wanted.inheritable)
    return [name for name in wanted.ambient if name not in both and name.removeprefix("CAP_") in NAMES]
