"""A FreeBSD plan as the commands an administrator would type.

The jail stands as a jail.conf(5) in their middle. runjail makes system calls where this shows programs; the effect is
the same. The way back is shown as comments, in the order in which `delete` takes it.
"""

from __future__ import annotations

from collections.abc import Callable

from runjail import steps
from runjail.plan.quoting import comment, conf_value, shell_line
from runjail.plan.show_process import scheduling
from runjail.spec.model import Hook, Process, Spec

RULESET = "1000"  # in this text only: create takes a number that is free
LISTS = ("ip4.addr", "ip6.addr")  # parameters that are split at commas
TITLES = {
    steps.LinuxPrograms: "Linux programs need this module; runjail looks whether it is there.",
    steps.RctlRules: "Limits: nothing runs in the jail yet, and from now on its name is ours.",
    steps.ReadonlyRoot: "A read-only view of the root becomes the jail's root; mount points are made in the original.",
    steps.Mount: "Mounts. runjail follows links inside the root only, and makes mount points that are missing.",
    steps.AddressAlias: "Addresses that the jail will use.",
    steps.CreateJail: "The jail.",
    steps.Cpus: "Processors it may run on.",
    steps.JailDataset: "Datasets that the jail manages itself; their property jailed has to be on.",
    steps.MoveInterface: "Interfaces of its own network stack.",
    steps.Loopback: "Without lo0 not even 127.0.0.1 can be reached.",
}


def write_script(plan: steps.Plan, spec: Spec) -> str:
    """Return the script."""
    lines = [comment(f"runjail create: {plan.source} as the jail {plan.name}")]
    undo: list[list[str]] = []
    title = ""
    for step in plan.steps:
        if TITLES[type(step)] != title:
            title = TITLES[type(step)]
            lines += ["", f"# {title}"]
        forward, back = _RENDERERS[type(step)](step, plan)
        lines += forward
        undo.append(back)
    hooks = spec.hooks
    lines += _hooks("prestart", hooks.prestart) + _hooks("createRuntime", hooks.create_runtime)
    lines += _hooks("createContainer", hooks.create_container)
    lines += ["", "# runjail start"]
    lines += _hooks("startContainer, inside the jail", hooks.start_container) + _process(spec.process, plan.name)
    lines += _hooks("poststart", hooks.poststart)
    lines += ["", "# runjail delete"]
    lines += [comment(line) for back in reversed(undo) for line in back]
    lines += _hooks("poststop", hooks.poststop)
    return "\n".join(lines) + "\n"


def jail_conf(step: steps.CreateJail) -> list[str]:
    """Return the lines of a jail.conf(5) block; `name` is the block's own."""
    lines = [f"{conf_value(step.name)} {{"]
    for param, value in step.params:
        if param == "name":
            continue
        if value is None:
            lines.append(f"    {param};")
        else:
            values = value.split(",") if param in LISTS else [value]
            lines.append(f"    {param} = {', '.join(map(conf_value, values))};")
    # A kernel without jail.meta does without these.
    lines += [f"    {label} = {conf_value(text)};" for label, text in step.labels]
    return [*lines, "}"]


def _limits(step: steps.RctlRules, plan: steps.Plan) -> tuple[list[str], list[str]]:
    subject = f"jail:{step.subject}"
    removed = [shell_line("rctl", "-r", f"{subject}:{rule}") for rule in step.removed]
    added = [shell_line("rctl", "-a", f"{subject}:{rule}") for rule in step.rules]
    return removed + added, [shell_line("rctl", "-r", subject)] if added else []


def _readonly_root(step: steps.ReadonlyRoot, plan: steps.Plan) -> tuple[list[str], list[str]]:
    directories = [step.target] + [step.source + step.directory] * (step.directory not in ("", "/"))
    lines = [
        shell_line("mkdir", "-p", *directories),
        shell_line("mount", "-t", "nullfs", "-o", "ro", step.source, step.target),
    ]
    return lines, [shell_line("umount", step.target), shell_line("rmdir", step.target)]


def _mount(step: steps.Mount, plan: steps.Plan) -> tuple[list[str], list[str]]:
    place = plan.root.rstrip("/") + step.destination
    # ZFS has its own words, all of them among the data.
    words = [] if step.fstype == "zfs" else list(step.flags)
    words += [f"{key}={value}" if value else key for key, value in step.data]
    lines, undo = [], [shell_line("umount", place)]
    ruleset = str(step.ruleset)
    if step.rules:
        # A set that includes the base set would not get what that one includes (vfs.devfs.rule_depth is 1): copy it.
        if step.ruleset:
            lines.append(f"devfs rule -s {ruleset} show | devfs rule -s {RULESET} add -")
        lines += [shell_line("devfs", "rule", "-s", RULESET, "add", *rule.split()) for rule in step.rules]
        ruleset = RULESET
        undo.append(f"devfs rule -s {RULESET} delset")
    if step.ruleset is not None:
        words.append(f"ruleset={ruleset}")
    chosen = ["-o", ",".join(words)] if words else []
    lines.append(shell_line("mount", "-t", step.fstype, *chosen, step.source, place))
    if step.recursive:
        lines.append(comment(f"  and everything that is mounted below {step.source} in the same way"))
    if step.copy_up:
        lines.append("#   and filled with what it covers")
    return lines, undo


def _alias(step: steps.AddressAlias, plan: steps.Plan) -> tuple[list[str], list[str]]:
    command = ("ifconfig", step.interface, step.family, step.address)
    return [shell_line(*command, "alias")], [shell_line(*command, "-alias")]


def _create(step: steps.CreateJail, plan: steps.Plan) -> tuple[list[str], list[str]]:
    command = shell_line("jail", "-q", "-f", "-", "-c", step.name)
    return [f"{command} <<'EOF'", *jail_conf(step), "EOF"], [shell_line("jail", "-R", step.name)]


def _cpus(step: steps.Cpus, plan: steps.Plan) -> tuple[list[str], list[str]]:
    return [shell_line("cpuset", "-l", step.cpus, "-j", plan.name)], []


def _linux(step: steps.LinuxPrograms, plan: steps.Plan) -> tuple[list[str], list[str]]:
    return [shell_line("kldload", "-n", "linux64")], []


def _dataset(step: steps.JailDataset, plan: steps.Plan) -> tuple[list[str], list[str]]:
    return [shell_line("zfs", "jail", plan.name, step.dataset)], [shell_line("zfs", "unjail", plan.name, step.dataset)]


def _move_interface(step: steps.MoveInterface, plan: steps.Plan) -> tuple[list[str], list[str]]:
    command = ("ifconfig", step.interface)
    return [shell_line(*command, "vnet", plan.name)], [shell_line(*command, "-vnet", plan.name)]


def _loopback(step: steps.Loopback, plan: steps.Plan) -> tuple[list[str], list[str]]:
    return [shell_line("ifconfig", "-j", plan.name, "lo0", "inet", "127.0.0.1/8", "up")], []


_RENDERERS: dict[type[steps.Step], Callable[..., tuple[list[str], list[str]]]] = {
    steps.RctlRules: _limits,
    steps.ReadonlyRoot: _readonly_root,
    steps.Mount: _mount,
    steps.AddressAlias: _alias,
    steps.CreateJail: _create,
    steps.Cpus: _cpus,
    steps.JailDataset: _dataset,
    steps.LinuxPrograms: _linux,
    steps.MoveInterface: _move_interface,
    steps.Loopback: _loopback,
}


def _hooks(when: str, hooks: tuple[Hook, ...]) -> list[str]:
    return [comment(f"hook {when}: {shell_line(hook.path, *hook.args[1:])}") for hook in hooks]


def _process(process: Process | None, name: str) -> list[str]:
    """Return the process as jexec(8) would start it, and what jexec(8) has no words for."""
    if process is None:
        return ["# no process"]
    user = process.user
    lines = [comment(f"as user {user.uid}, group {user.gid}, which jexec cannot do by number")] if user.uid else []
    lines += [f"# limit {limit.type}: {limit.soft}, at most {limit.hard}" for limit in process.rlimits]
    lines += [f"# {words}" for words in scheduling(process)]
    return [*lines, shell_line("env", "-i", *process.env, "/usr/sbin/jexec", "-d", process.cwd, name, *process.args)]
