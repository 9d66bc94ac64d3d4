"""A Spec as a set of Linux namespaces: for development and CI.

What FreeBSD's section says is taken where Linux has the same thing; what would leave a container without a network
that it was promised, or with one that it was denied, is an error.
"""

from __future__ import annotations

from runjail import steps
from runjail.plan import device_rules, linux_mounts
from runjail.plan.linux_cgroup import cgroup_path, plan_limits
from runjail.spec.linux import setting_owner
from runjail.spec.model import Linux, Namespace, Spec

NAMESPACES = ("user", "pid", "network", "mount", "ipc", "uts", "cgroup", "time")  # in this order
USUAL = ("pid", "mount", "uts", "ipc")
NODES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
)


def plan_steps(
    spec: Spec, container_id: str, bundle: str, problems: list[str], systemd: bool = False
) -> tuple[steps.Step, ...]:
    """Return the steps: the control group first, or a scope of systemd's; the rest inside the new namespaces."""
    _refuse_jail(spec, problems)
    linux = spec.linux
    nodes = _nodes(linux, problems)
    limits = _limits(spec, container_id, nodes, problems, systemd)
    namespaces = _namespaces(spec, bundle, problems)
    mounted = linux_mounts.translate(spec.mounts, bundle, problems, linux.mappings or _joined_user(linux))
    if linux.rootfs_propagation in ("shared", "rshared"):
        mounted = tuple(linux_mounts.without_peers(step) for step in mounted)
    if linux.mappings:
        from runjail.plan import user_namespace

        user_namespace.require_user(spec.process, linux.mappings, problems)
        mounted = user_namespace.fit(mounted, spec.mounts, linux.mappings, problems)
    filters = (steps.SeccompFilter(linux.seccomp),) if linux.seccomp else ()
    labels = _labels(spec)
    if linux.mount_label:
        mounted = tuple(linux_mounts.labelled(step, linux.mount_label) for step in mounted)
    made: list[steps.Step] = [*labels, *limits, *filters, namespaces, *mounted]
    if linux_mounts.device_directory(mounted):
        made.append(nodes)
    elif linux.devices:
        problems.append("linux.devices: need a tmpfs on /dev to be made in")
    if linux.net_devices:  # before the sysctls, some of which are an interface's
        made.append(_net_devices(linux, namespaces, problems))
    if linux.sysctl:
        made.append(_sysctls(linux, namespaces, problems))
    # A read-only /dev or other tmpfs has to be filled first
    sealed = tuple(step.destination for step in mounted if step.fstype == "tmpfs" and "ro" in step.flags)
    if linux.masked_paths or linux.readonly_paths or sealed:
        made.append(steps.MaskPaths(linux.masked_paths, (*sealed, *linux.readonly_paths)))
    return tuple(made)


def _joined_user(linux: Linux) -> str:
    """Return the path of the user namespace to join, "" for none: idmapped mounts without ids of their own have its."""
    return next((namespace.path for namespace in linux.namespaces or () if namespace.type == "user"), "")


def _labels(spec: Spec) -> tuple[steps.SecurityLabels, ...]:
    """Return the step that comes before all: where the security module is missing, nothing of the container is made."""
    own = (spec.process.apparmor_profile, spec.process.selinux_label) if spec.process else ("", "")
    labels = (*own, spec.linux.mount_label)
    return (steps.SecurityLabels(*labels),) if any(labels) else ()


def _limits(
    spec: Spec, container_id: str, nodes: steps.DeviceNodes, problems: list[str], systemd: bool
) -> tuple[steps.Step, ...]:
    linux = spec.linux
    devices = device_rules.policy(linux.device_rules, nodes.nodes, problems)
    if systemd:
        from runjail.plan.systemd_scope import plan_scope

        return (plan_scope(linux.cgroups_path, container_id, linux.resources, devices, spec.annotations, problems),)
    return plan_limits(linux.resources, cgroup_path(linux.cgroups_path, problems), container_id, devices)


def _refuse_jail(spec: Spec, problems: list[str]) -> None:
    jail = spec.freebsd.jail
    fields = {
        "parent": jail.parent, "interface": jail.interface, "vnetInterfaces": jail.vnet_interfaces,
        "ip4Addr": jail.ip4_addr, "ip6Addr": jail.ip6_addr,
    }  # fmt: skip
    for field, value in fields.items():
        if value:
            problems.append(f"freebsd.jail.{field}: the Linux host cannot do this")
    if jail.datasets:
        problems.append('annotations["org.runjail.zfs.dataset"]: the Linux host cannot do this')


def _namespaces(spec: Spec, bundle: str, problems: list[str]) -> steps.CreateNamespaces:
    listed = spec.linux.namespaces
    if listed is None:
        jail = spec.freebsd.jail
        isolated = jail.vnet == "new" or (jail.ip4 == "disable" and jail.ip6 == "disable")
        listed = tuple(Namespace(kind) for kind in (*USUAL, *(("network",) if isolated else ())))
    # The mount namespace is always ours: every mount of the container is made in it.
    new = {"mount", *(namespace.type for namespace in listed if not namespace.path)}
    join = {namespace.type: namespace.path for namespace in listed if namespace.path}
    if "mount" in join:
        problems.append("linux.namespaces: a mount namespace cannot be shared, so it takes no path")
    return steps.CreateNamespaces(
        tuple(kind for kind in NAMESPACES if kind in new),
        tuple((kind, join[kind]) for kind in NAMESPACES if kind in join),
        hostname=spec.hostname or None,
        domainname=spec.domainname or None,
        propagation=spec.linux.rootfs_propagation,
        readonly=spec.root.readonly,
        bundle=bundle,
        time_offsets=spec.linux.time_offsets,
        mappings=spec.linux.mappings,
    )


def _nodes(linux: Linux, problems: list[str]) -> steps.DeviceNodes:
    """Return the devices every container has, those that linux.devices adds or changes, and the usual links."""
    nodes = {f"/dev/{name}": (f"/dev/{name}", "c", major, minor, 0o666, 0, 0) for name, major, minor in NODES}
    for i, device in enumerate(linux.devices):
        path = device.path
        if not path.startswith("/dev/") or ".." in path.split("/") or path.endswith("/"):
            problems.append(f"linux.devices[{i}].path: must be a path below /dev")
        mode = 0o666 if device.mode is None else device.mode
        nodes[path] = (path, device.type, device.major, device.minor, mode, device.uid, device.gid)
    return steps.DeviceNodes(tuple(nodes.values()), LINKS)


def _net_devices(linux: Linux, namespaces: steps.CreateNamespaces, problems: list[str]) -> steps.NetDevices:
    if "network" not in (*namespaces.new, *(kind for kind, _ in namespaces.join)):
        problems.append("linux.netDevices: needs a network namespace of the container's own")
    return steps.NetDevices(linux.net_devices)


def _sysctls(linux: Linux, namespaces: steps.CreateNamespaces, problems: list[str]) -> steps.Sysctls:
    """Return the settings; in a namespace that is not the container's own they would change the host."""
    own = {*namespaces.new, *(kind for kind, _ in namespaces.join)}
    owners = {key: setting_owner(key) for key, _ in linux.sysctl}  # the reader has refused a key that has none
    for key, owner in owners.items():
        if owner not in own:
            problems.append(f"linux.sysctl.{key}: needs a {owner} namespace of the container's own")
    return steps.Sysctls(linux.sysctl, tuple(kind for kind, _ in namespaces.join if kind in owners.values()))
