"""config.json's process, also the document of `exec --process`: identity, limits, environment."""

from __future__ import annotations

from runjail.spec.document import shaped
from runjail.spec.model import Capabilities, Process, Rlimit, User
from runjail.spec.problems import quote
from runjail.spec.reader import Reader, Report
from runjail.target import TARGETS, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


SCHEDULING = {"scheduler", "ioPriority", "execCPUAffinity"}
INFINITY = 2**63  # and above; FreeBSD's RLIM_INFINITY is 2**63-1, Go clients write Linux's 2**64-1


def parse_process(document: object, os: str, linux: dict[str, Any] | None = None) -> Process:
    """Check the document of `exec --process`, or config.json's process, for the system `os` (of target.TARGETS).

    linux: that section of config.json, for what it says of every process. Raises InvalidConfig with every problem.
    """
    report = Report()
    process = read_process(shaped(document, "process", report, "process document"), TARGETS[os])
    if linux and not TARGETS[os].jails:
        process = read_surroundings(process, Reader(linux, ("linux",), report))
    report.raise_if_any("process document")
    return process


def read_process(process: Reader, target: Target) -> Process:
    """Read and check one process object; for the system that will run it."""
    terminal = process.flag("terminal")
    linux = not target.jails
    scheduled = _read_scheduling(process, target) if SCHEDULING & process.values.keys() else {}
    return Process(
        args=_read_args(process),
        cwd=process.absolute("cwd"),
        env=read_environment(process),
        terminal=terminal,
        console_size=_read_console_size(process.section("consoleSize")) if terminal else None,
        user=_read_user(process.section("user"), target),
        rlimits=_read_rlimits(process, target),
        no_new_privileges=process.flag("noNewPrivileges"),
        capabilities=_read_capabilities(process) if linux else None,
        oom_score_adj=process.number("oomScoreAdj") if linux else None,
        apparmor_profile=read_label(process, "apparmorProfile") if linux else "",
        selinux_label=read_label(process, "selinuxLabel") if linux else "",
        **scheduled,
    )


def read_surroundings(process: Process, linux: Reader) -> Process:
    """Return the process of a container, or of an exec, with what linux says of every process (Linux only)."""
    if not linux.values.get("personality") and not linux.has("memoryPolicy"):
        return process
    from runjail.spec import scheduling

    policy = scheduling.read_memory_policy(linux.section("memoryPolicy")) if linux.has("memoryPolicy") else None
    return process.replace(personality=scheduling.read_personality(linux.section("personality")), memory_policy=policy)


def read_environment(section: Reader) -> tuple[str, ...]:
    """Return `env`; of several entries for one name the last counts, as getenv(3) would find the first."""
    found: dict[str, str] = {}
    for index, entry in section.texts("env"):
        name, equals, _ = entry.partition("=")
        if not name or not equals:
            section.refuse(f"must be NAME=VALUE, not {quote(entry)}", "env", index)
        found[name] = entry
    return tuple(found.values())


def read_label(section: Reader, key: str) -> str:
    """Return the name of an AppArmor profile or an SELinux label, "" for none."""
    label = section.text(key)
    if not label.isprintable():
        section.refuse(f"must not have control characters: {quote(label)}", key)
    return label


def _read_args(process: Reader) -> tuple[str, ...]:
    return tuple(text for _, text in process.texts("args"))


def _read_console_size(size: Reader) -> tuple[int, int] | None:
    """Return (rows, columns); docker writes 0 by 0 for a terminal whose size it does not know."""
    rows, columns = size.number("height") or 0, size.number("width") or 0
    if not rows and not columns:
        return None
    for key, value in (("height", rows), ("width", columns)):
        if size.has(key) and not 1 <= value <= 65535:
            size.refuse(f"must be between 1 and 65535, not {quote(value)}", key)
    return rows, columns


def _read_user(user: Reader, target: Target) -> User:
    groups = tuple(gid for gid in user.values.get("additionalGids") or () if gid is not None)
    if len(groups) > target.groups_max:
        user.refuse(f"must hold at most {target.groups_max} groups, not {len(groups)}", "additionalGids")
    return User(user.number("uid") or 0, user.number("gid") or 0, user.number("umask"), groups)


def _read_rlimits(process: Reader, target: Target) -> tuple[Rlimit, ...]:
    found: dict[str, Rlimit] = {}
    for item in process.sections("rlimits"):
        name = item.text("type")
        resource = name.removeprefix("RLIMIT_")
        if item.has("type") and (resource == name or resource not in target.rlimits):
            item.refuse(f"{quote(name)} is not a limit of {target.title}", "type")
            continue
        key = "AS" if resource == "VMEM" else resource
        if key in found:
            item.refuse(f"{name} limits the same as an earlier entry", "type")
        soft, hard = item.number("soft") or 0, item.number("hard") or 0
        if soft > hard and item.has("hard"):
            item.refuse(f"must be at most the hard limit {hard}, not {soft}", "soft")
        found[key] = Rlimit(name, *(-1 if value >= INFINITY else value for value in (soft, hard)))
    return tuple(found.values())


def _read_capabilities(process: Reader) -> Capabilities | None:
    if not process.has("capabilities"):
        return None
    sets = process.section("capabilities")
    return Capabilities(**{name: tuple(text for _, text in sets.texts(name)) for name in Capabilities._fields})


def _read_scheduling(process: Reader, target: Target) -> dict[str, Any]:
    """Return the fields of Process that are about scheduling, as far as something is said of them."""
    from runjail.spec import scheduling

    if target.jails and process.values.get("ioPriority"):
        process.refuse("is not supported: FreeBSD knows no priorities of input and output", "ioPriority")
    return {
        "scheduler": scheduling.read_scheduler(process.section("scheduler"), target),
        "io_priority": scheduling.read_io_priority(process.section("ioPriority")),
        "exec_cpus": scheduling.read_exec_cpus(process.section("execCPUAffinity")),
    }
