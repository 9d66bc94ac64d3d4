"""A Spec as a FreeBSD jail. Parameters: jail(8); order of the steps: what each needs to exist before it."""

from runjail import steps
from runjail.jail import devices, mounts
from runjail.jail.limits import plan_limits
from runjail.jail.network import Network
from runjail.jail.paths import normalised

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.spec.model import Jail, Spec

STRING_MAX = 255  # bytes of host.hostname and host.domainname

Params = list[tuple[str, str | None]]


def plan_steps(
    spec: "Spec", name: str, container_id: str, root: str, bundle: str, state: str, problems: list[str]
) -> tuple[str, tuple[steps.Step, ...]]:
    """Return the container's root and the steps that make the jail `name` in the bundle's root directory `root`."""
    jail = spec.freebsd.jail
    limits = plan_limits(
        spec.linux.resources, spec.annotations, problems, os="freebsd", name=name, container_id=container_id
    )
    before = [step for step in limits if not isinstance(step, steps.Cpus)]
    source = root
    if spec.root.readonly:
        root = f"{state}/rootfs"
        before.append(steps.ReadonlyRoot(source, root))
    mounted = devices.show(mounts.translate(spec.mounts, bundle, problems), spec.freebsd.devices, problems)
    if source == "/" and (mounted or spec.root.readonly):
        problems.append("root.path: mounts in a container whose root is / would cover the host's own directories")
    network = Network(jail, problems)
    params = _params(spec, name, root, mounted, network, problems)
    after = [step for step in limits if isinstance(step, steps.Cpus)]
    created = steps.CreateJail(name, tuple(params))
    return root, (*before, *mounted, *network.aliases, created, *after, *network.inside)


def _params(
    spec: "Spec", name: str, root: str, mounted: tuple[steps.Mount, ...], network: Network, problems: list[str]
) -> Params:
    jail = spec.freebsd.jail
    return [
        ("name", name),
        ("path", root),
        ("persist", None),
        *_host(spec, problems),
        *network.params,
        ("enforce_statfs", str(_enforce_statfs(jail, problems))),
        *_devfs_ruleset(mounted),
        # The specification's default is "new"; the kernel's would be to refuse all System V calls.
        ("sysvmsg", jail.sysvmsg or "new"),
        ("sysvsem", jail.sysvsem or "new"),
        ("sysvshm", jail.sysvshm or "new"),
        *_allow(jail, problems),
    ]


def _host(spec: "Spec", problems: list[str]) -> Params:
    """Return host.*: names of its own when there are any, otherwise the host's (or the parent's)."""
    names = [("host.hostname", spec.hostname), ("host.domainname", spec.domainname)]
    given: Params = [(param, value) for param, value in names if value is not None]
    for param, value in given:
        if value and len(value.encode()) > STRING_MAX:
            problems.append(f"{param.removeprefix('host.')}: longer than {STRING_MAX} bytes")
    mode = spec.freebsd.jail.host or ("new" if given else "inherit")
    if given and mode == "inherit":
        # The kernel would silently make it "new".
        problems.append('freebsd.jail.host: "inherit" contradicts hostname and domainname')
    return [("host", mode), *given]


def _enforce_statfs(jail: "Jail", problems: list[str]) -> int:
    """Return the specification's default of 2 unless told otherwise; mounting inside the jail needs less."""
    if jail.enforce_statfs is None:
        return 1 if jail.allow_mount else 2
    if jail.allow_mount and jail.enforce_statfs > 1:
        problems.append("freebsd.jail.allow.mount: has no effect unless enforceStatfs is 0 or 1")
    return jail.enforce_statfs


def _devfs_ruleset(mounted: tuple[steps.Mount, ...]) -> Params:
    """Return the ruleset for a devfs that the jail may mount itself: without one it would show every device."""
    rulesets = [step.ruleset for step in mounted if step.fstype == "devfs" and normalised(step.destination) == "/dev"]
    ruleset = rulesets[-1] if rulesets else mounts.DEFAULT_RULESET
    return [("devfs_ruleset", str(ruleset))] if ruleset else []


def _allow(jail: "Jail", problems: list[str]) -> Params:
    """Return allow.*: what is not mentioned keeps the kernel's default, `false` becomes its `no` form."""
    said = dict(jail.allow)
    if jail.allow_mount:
        said |= {"mount": True} | {f"mount.{fstype}": True for fstype in jail.allow_mount}
    params: Params = []
    for name, value in said.items():
        plain = name.replace("_", "").replace(".", "")
        if not (plain.isascii() and plain.isalnum()):
            problems.append(f"freebsd.jail.allow: {name!r} cannot be the name of a parameter")
        parent, dot, last = f"allow.{name}".rpartition(".")
        params.append((f"{parent}{dot}{last if value else 'no' + last}", None))
    return params
