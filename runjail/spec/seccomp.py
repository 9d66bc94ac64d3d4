"""linux.seccomp: which system calls a container's processes may make.

See runtime-spec, config-linux.md, Seccomp.
"""

from __future__ import annotations

from runjail.spec.model import Seccomp, SeccompRule
from runjail.spec.problems import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.spec.reader import Reader

ACTIONS = tuple(
    f"SCMP_ACT_{word}" for word in "KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG NOTIFY".split()
)
NOTIFY = "SCMP_ACT_NOTIFY"
NEVER_NOTIFIED = "write"  # by which the process reports the listening end: nobody could answer it yet
OPERATORS = tuple(f"SCMP_CMP_{word}" for word in "NE LT LE EQ GE GT MASKED_EQ".split())
ARCHITECTURES = tuple(
    f"SCMP_ARCH_{word}"
    for word in "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 "
    "S390X PARISC PARISC64 RISCV64 LOONGARCH64 M68K SH SHEB".split()
)
FLAGS = tuple(f"SECCOMP_FILTER_FLAG_{word}" for word in ("TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"))
LISTENERS = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
LARGEST_ERRNO = 4095  # MAX_ERRNO of the kernel
LAST_ARGUMENT = 5


def read_seccomp(seccomp: Reader) -> Seccomp | None:
    """Read and check the profile. None when there is none; one that says nothing is none, as for runc."""
    if not seccomp.has("defaultAction") and not seccomp.values.get("syscalls"):
        return None
    rules = tuple(_rule(item) for item in seccomp.sections("syscalls"))
    notifies = any(rule.action == NOTIFY for rule in rules)
    if seccomp.text("defaultAction") == NOTIFY:
        seccomp.refuse(f"{NOTIFY} cannot be used as default action", "defaultAction")
    return Seccomp(
        default=seccomp.word("defaultAction", ACTIONS),
        default_errno=_errno(seccomp, "defaultErrnoRet"),
        architectures=seccomp.words("architectures", ARCHITECTURES),
        flags=_flags(seccomp, notifies),
        rules=rules,
        listener=_listener(seccomp, notifies),
    )


def _flags(seccomp: Reader, notifies: bool) -> tuple[str, ...]:
    flags = seccomp.words("flags", FLAGS)
    if LISTENERS in flags and not notifies:  # seccomp(2): EINVAL
        seccomp.refuse(f"{LISTENERS} is of no use without {NOTIFY}", "flags", flags.index(LISTENERS))
    return flags


def _listener(seccomp: Reader, notifies: bool) -> str:
    """Return who listens, "" where there is nothing to be heard: its path has no effect then."""
    path = seccomp.text("listenerPath")
    if notifies and not path.startswith(("/", "@")):
        seccomp.refuse(f"{NOTIFY} takes the absolute path of a socket, not {quote(path)}", "listenerPath")
    if not path and seccomp.text("listenerMetadata"):
        seccomp.refuse("means nothing without listenerPath", "listenerMetadata")
    return path if notifies else ""


def _rule(rule: Reader) -> SeccompRule:
    names = tuple(name for _, name in rule.texts("names"))
    if not names and rule.report.clean(*rule.path, "names"):
        rule.refuse("must name at least one system call", "names")
    if rule.text("action") == NOTIFY and NEVER_NOTIFIED in names:
        rule.refuse(f"{NOTIFY} cannot be used for the write syscall", "names", names.index(NEVER_NOTIFIED))
    return SeccompRule(
        names=names,
        action=rule.word("action", ACTIONS),
        errno=_errno(rule, "errnoRet"),
        args=tuple(_argument(item) for item in rule.sections("args")),
    )


def _argument(argument: Reader) -> tuple[int, int, int, str]:
    index = argument.number("index") or 0
    if not 0 <= index <= LAST_ARGUMENT:
        argument.refuse(f"must be between 0 and {LAST_ARGUMENT}, not {index}", "index")
    op = argument.word("op", OPERATORS)
    values = []
    for key in ("value", "valueTwo"):
        value = argument.number(key) or 0
        if not 0 <= value < 1 << 64:
            argument.refuse(f"must be a number of 64 bits, not {value}", key)
        values.append(value)
    return index, values[0], values[1], op


def _errno(section: Reader, key: str) -> int | None:
    value = section.number(key)
    if value is not None and not 0 <= value <= LARGEST_ERRNO:
        section.refuse(f"must be between 0 and {LARGEST_ERRNO}, not {value}", key)
    return value
