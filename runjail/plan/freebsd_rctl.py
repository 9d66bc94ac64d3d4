"""linux.resources and `org.runjail.rctl.*` annotations as rctl(8) rules and a CPU set.

| config.json                       | FreeBSD                                    |
| memory.limit                      | memoryuse:sigkill (deny would stop nothing) |
| memory.swap less memory.limit     | swapuse:deny                               |
| pids.limit                        | maxproc:deny                               |
| cpu.quota / cpu.period            | pcpu:deny, in percent of one CPU           |
| cpu.cpus                          | cpuset -l                                  |

cpu.shares, cpu.mems and memory.reservation have no counterpart in FreeBSD and change nothing there.
A limit of 0 on memory or CPU is what clients send for "not said"; on pids it is a limit (runtime-spec 1.3): the program
runs, and cannot fork. A negative limit takes the limit away.
"""

from __future__ import annotations

from runjail import steps
from runjail.plan import mount_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from runjail.spec.model import Resources

ANNOTATION = "org.runjail.rctl."
PERIOD = 100_000  # microseconds: what the kernels and every client take when only a quota is given
IO = ("readbps", "writebps", "readiops", "writeiops")
COUNTERS = ("cputime", "wallclock", *IO)  # used up, not held: nothing to refuse
RESOURCES = (
    *COUNTERS, "datasize", "stacksize", "coredumpsize", "memoryuse", "memorylocked", "maxproc", "openfiles",
    "vmemoryuse", "pseudoterminals", "swapuse", "nthr", "msgqqueued", "msgqsize", "nmsgq", "nsem", "nsemop", "nshm",
    "shmsize", "pcpu",
)  # fmt: skip
SIGNALS = (
    "hup int quit ill trap abrt emt fpe kill bus segv sys pipe alrm term urg stop tstp cont chld ttin ttou io xcpu "
    "xfsz vtalrm prof winch info usr1 usr2 thr"
)
ACTIONS = ("deny", "throttle", "log", "devctl", *(f"sig{name}" for name in SIGNALS.split()))


def plan_limits(
    resources: Resources, annotations: Sequence[tuple[str, str]], name: str, problems: list[str]
) -> tuple[steps.Step, ...]:
    """Return the steps that put limits into force in the jail `name`, and add what is wrong to problems."""
    rules, removed = _rules(resources, problems)
    rules |= _annotated(annotations, problems)
    made: list[steps.Step] = []
    if rules or removed:
        amounts = tuple(f"{rule}={amount}" for rule, amount in rules.items())
        made.append(steps.RctlRules(name, amounts, tuple(rule for rule in removed if rule not in rules)))
    if resources.cpus:
        made.append(steps.Cpus(resources.cpus))
    return tuple(made)


def replacing(made: Sequence[steps.Step], before: Sequence[str]) -> tuple[steps.Step, ...]:
    """Let steps drop the amounts that their own rules replace: rctl_add_rule(2) does so for `deny` only.

    before: rules that the jail has, with their amounts.
    """
    return tuple(_without_stale(step, before) if isinstance(step, steps.RctlRules) else step for step in made)


def _without_stale(step: steps.RctlRules, before: Sequence[str]) -> steps.RctlRules:
    kinds = {rule.partition("=")[0] for rule in step.rules}
    stale = (rule for rule in dict.fromkeys(before) if rule.partition("=")[0] in kinds and rule not in step.rules)
    return step.replace(removed=(*step.removed, *stale))


def _rules(resources: Resources, problems: list[str]) -> tuple[dict[str, int], list[str]]:
    """Return rules with their amounts, and rules to drop."""
    rules: dict[str, int] = {}
    removed: list[str] = []
    _set("memoryuse:sigkill", resources.memory_limit or None, rules, removed)
    _set("maxproc:deny", resources.pids_limit, rules, removed)
    quota, period = resources.cpu_quota, resources.cpu_period or PERIOD
    # rctl counts whole percents, and 0 would stop the container for good.
    _set("pcpu:deny", max(1, 100 * quota // period) if quota and quota > 0 else quota or None, rules, removed)
    limit, both = resources.memory_limit or 0, resources.memory_swap or 0
    if both < 0 or limit < 0:
        removed.append("swapuse:deny")  # swap can only be counted beyond a memory limit
    elif both and not limit:
        problems.append("linux.resources.memory.swap: counts memory and swap, so it needs memory.limit beside it")
    elif both:
        rules["swapuse:deny"] = both - limit
    return rules, removed


def _set(rule: str, amount: int | None, rules: dict[str, int], removed: list[str]) -> None:
    if amount is not None and amount >= 0:
        rules[rule] = amount
    elif amount is not None:
        removed.append(rule)


def _annotated(annotations: Sequence[tuple[str, str]], problems: list[str]) -> dict[str, int]:
    """Return the rules of annotations such as `org.runjail.rctl.openfiles: deny=1024,log=1000`."""
    rules: dict[str, int] = {}
    for key, text in annotations:
        if not key.startswith(ANNOTATION):
            continue
        resource = key.removeprefix(ANNOTATION)
        for part in text.split(","):
            action, _, amount = part.strip().partition("=")
            try:
                _check(resource, action)
                rules[f"{resource}:{action}"] = mount_options.expand(amount)  # the kernel itself refuses suffixes
            except ValueError as error:
                problems.append(f"annotations[{key}]: {part!r}: {error}")
    return rules


def _check(resource: str, action: str) -> None:
    """Refuse what rctl would answer with "Operation not supported" or "Invalid argument"."""
    if resource not in RESOURCES:
        raise ValueError(f"rctl has no resource {resource!r}")
    if action not in ACTIONS:
        raise ValueError(f"rctl has no action {action!r}; write ACTION=AMOUNT, for example deny=100")
    if action == "deny" and resource in COUNTERS:
        raise ValueError(f"{resource} cannot be denied; use {'throttle' if resource in IO else 'sigkill'}")
    if action == "throttle" and resource not in IO:
        raise ValueError(f"{resource} cannot be throttled")
