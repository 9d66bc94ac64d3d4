"""What plans for people say of a process beside its command: how the kernel is to treat it."""

from __future__ import annotations

from runjail.spec.model import Process


def scheduling(process: Process) -> list[str]:
    """Return one line for each thing that is said of it."""
    lines = []
    if process.scheduler:
        named = ((name, getattr(process.scheduler, name)) for name in process.scheduler._fields)
        lines.append("scheduler " + " ".join(f"{name}={value}" for name, value in named if value))
    if process.io_priority:
        lines.append("I/O priority {} {}".format(*process.io_priority))
    for when, cpus in zip(("before", "after"), process.exec_cpus, strict=True):
        lines += [f"CPUs of an exec {when} it enters: {','.join(map(str, cpus))}"] if cpus else []
    lines += [f"personality {process.personality}"] if process.personality else []
    if process.memory_policy:
        policy = process.memory_policy
        lines.append(" ".join(["memory policy", policy.mode, *policy.flags, ",".join(map(str, policy.nodes))]).rstrip())
    return lines
