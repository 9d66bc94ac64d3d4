"""A Spec as a FreeBSD jail: its parameters, and the order of the steps.

The parameters are in jail(8); the order follows from what each step needs to exist before it.
"""

from __future__ import annotations

from runjail import steps
from runjail.plan import freebsd_devfs, freebsd_mounts
from runjail.plan.freebsd_network import Network
from runjail.plan.freebsd_rctl import plan_limits
from runjail.plan.jail_name import other_name
from runjail.spec.model import Jail, Spec
from runjail.target import LINUX

Params = list[tuple[str, str | None]]


def plan_steps(
    spec: Spec, name: str, container_id: str, root: str, bundle: str, state: str, problems: list[str]
) -> tuple[str, tuple[steps.Step, ...]]:
    """Return the container's root and the steps that make the jail `name` in the bundle's root directory `root`."""
    jail = spec.freebsd.jail
    limits = plan_limits(spec.linux.resources, spec.annotations, name, problems)
    before: list[steps.Step] = [steps.LinuxPrograms()] if _is_linux(jail) else []
    source = root
    if spec.root.readonly:
        root = f"{state}/rootfs"
        before.append(steps.ReadonlyRoot(source, root, spec.process.cwd if spec.process else ""))
    mounted = freebsd_devfs.show(
        freebsd_mounts.translate(spec.mounts, bundle, problems), spec.freebsd.devices, problems
    )
    if source == "/" and (mounted or spec.root.readonly):
        problems.append("root.path: mounts in a container whose root is / would cover the host's own directories")
    network = Network(jail, problems)
    params = _params(spec, name, root, mounted, network)
    created = steps.CreateJail(name, tuple(params), _labels(container_id, bundle), other_name(name, state))
    datasets = [steps.JailDataset(dataset) for dataset in jail.datasets]
    return root, (*before, *mounted, *network.aliases, created, *limits, *datasets, *network.inside)


def _is_linux(jail: Jail) -> bool:
    """Whether the jail runs Linux programs: its image is for Linux, or a parameter of linux(4) is set."""
    return jail.image_os == LINUX.name or any(param.startswith("linux.") for param, _ in jail.params)


def _labels(container_id: str, bundle: str) -> tuple[tuple[str, str], ...]:
    """Return what `jls` shows of the container where the kernel keeps such texts, one printable line each."""
    labels = {"meta.org.runjail.id": container_id, "meta.org.runjail.bundle": bundle}
    return tuple((key, text) for key, text in labels.items() if text.isprintable())


def _params(spec: Spec, name: str, root: str, mounted: tuple[steps.Mount, ...], network: Network) -> Params:
    jail = spec.freebsd.jail
    return [
        ("name", name),
        ("path", root),
        ("persist", None),
        *_host(spec),
        *network.params,
        ("enforce_statfs", str(_enforce_statfs(jail))),
        *_devfs_ruleset(mounted),
        *_system_v(jail),
        *_allow(jail),
        *jail.params,
    ]


def _host(spec: Spec) -> Params:
    """Return host.*: names of its own when there are any, otherwise the host's (or the parent's)."""
    names = [("host.hostname", spec.hostname), ("host.domainname", spec.domainname)]
    given: Params = [(param, value) for param, value in names if value]
    return [("host", spec.freebsd.jail.host or ("new" if given else "inherit")), *given]


def _enforce_statfs(jail: Jail) -> int:
    """Return the specification's default of 2 unless told otherwise; mounting inside the jail needs less."""
    if jail.enforce_statfs is None:
        return 1 if _mountable(jail) else 2
    return jail.enforce_statfs


def _mountable(jail: Jail) -> tuple[str, ...]:
    """Return what the jail may mount. A dataset of its own is of no use to a jail that cannot mount it."""
    more = jail.datasets and "zfs" not in jail.allow_mount
    return (*jail.allow_mount, "zfs") if more else jail.allow_mount


def _devfs_ruleset(mounted: tuple[steps.Mount, ...]) -> Params:
    """Return the ruleset for a devfs that the jail may mount itself: without one it would show every device."""
    rulesets = [step.ruleset for step in mounted if freebsd_devfs.on_dev(step)]
    ruleset = rulesets[-1] if rulesets else freebsd_mounts.DEFAULT_RULESET
    return [("devfs_ruleset", str(ruleset))] if ruleset else []


def _system_v(jail: Jail) -> Params:
    """Return sysvmsg, sysvsem and sysvshm. The specification's default is "new", the kernel's is to refuse all calls.

    Below a parent only what was said: one that has no System V of its own (podman's network jails) refuses it with
    "Operation not permitted", and a plan cannot know.
    """
    default = None if jail.parent else "new"
    settings = [("sysvmsg", jail.sysvmsg), ("sysvsem", jail.sysvsem), ("sysvshm", jail.sysvshm)]
    return [(name, value or default) for name, value in settings if value or default]


def _allow(jail: Jail) -> Params:
    """Return allow.*: what is not mentioned keeps the kernel's default, `false` becomes its `no` form."""
    settings = dict(jail.allow)
    if mountable := _mountable(jail):
        settings |= {"mount": True} | {f"mount.{fstype}": True for fstype in mountable}
    params: Params = []
    for name, value in settings.items():
        above, dot, last = f"allow.{name}".rpartition(".")
        params.append((f"{above}{dot}{last if value else 'no' + last}", None))
    return params
