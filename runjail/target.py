"""What differs between operating systems, as data: nobody else compares their names.

A plan for one system can be made on the other, so this is apart from the hosts, which act. `jails` decides between the
two ways of isolation; everything else is a fact by itself.
"""

from __future__ import annotations

import sys


class Target:
    """One operating system.

    name: as config.json, --os and image platforms have it. title: as its makers write it. jails: containers are jails,
    with rctl rules; else they are namespaces and control groups. schema: $defs of config.json (spec/schema.py).
    hostname_max: bytes. groups_max: supplementary groups besides the gid. rlimits: of getrlimit(2), without RLIMIT_.
    state_root, store_root: directories where nobody says other ones. nri_dirs, nri_bins: of NRI's configuration, and of
    its plugins; cni_dirs, cni_bins: of CNI's network lists, and of its plugins. policies: where containers' policy.json
    is. path: PATH of an image's program where the image sets none. runs: names of the other systems whose images it
    runs. bound_to_release: programs of a later release than the kernel's are not supported. ps_by_pid: ps(1) shows who
    has no terminal only if -x is among its options, or who is named by -p. shows_end: a terminal that echoes shows the
    ^D that ends its input.
    """

    __slots__ = (
        *("name", "title", "jails", "schema", "hostname_max", "groups_max", "rlimits", "state_root", "store_root"),
        *("nri_dirs", "nri_bins", "cni_dirs", "cni_bins", "policies", "path", "runs", "bound_to_release", "ps_by_pid"),
        "shows_end",
    )

    def __init__(
        self,
        name: str,
        title: str,
        *,
        jails: bool,
        schema: str,
        hostname_max: int,
        groups_max: int,
        rlimits: str,
        state_root: str,
        store_root: str,
        nri_dirs: tuple[str, ...],
        nri_bins: tuple[str, ...],
        cni_dirs: tuple[str, ...],
        cni_bins: tuple[str, ...],
        policies: tuple[str, ...],
        path: str,
        runs: tuple[str, ...],
        bound_to_release: bool,
        ps_by_pid: bool,
        shows_end: bool,
    ) -> None:
        self.name, self.title, self.jails, self.schema = name, title, jails, schema
        self.hostname_max, self.groups_max, self.rlimits = hostname_max, groups_max, frozenset(rlimits.split())
        self.state_root, self.store_root = state_root, store_root
        self.nri_dirs, self.nri_bins = nri_dirs, nri_bins
        self.cni_dirs, self.cni_bins = cni_dirs, cni_bins
        self.policies = policies
        self.path, self.runs, self.bound_to_release = path, runs, bound_to_release
        self.ps_by_pid, self.shows_end = ps_by_pid, shows_end


FREEBSD = Target(
    "freebsd",
    "FreeBSD",
    jails=True,
    schema="freebsd-config",
    hostname_max=255,  # MAXHOSTNAMELEN less one
    groups_max=1021,  # setgroups(2) takes 1023, and the gid may stand twice (host/child.py)
    rlimits="CPU FSIZE DATA STACK CORE RSS MEMLOCK NPROC NOFILE SBSIZE AS VMEM NPTS SWAP KQUEUES UMTXP PIPEBUF",
    state_root="/var/run/runjail",
    store_root="/var/db/runjail",
    nri_dirs=("/etc/nri", "/usr/local/etc/nri"),
    nri_bins=("/opt/nri/bin", "/usr/local/libexec/nri"),
    cni_dirs=("/usr/local/etc/cni/net.d", "/etc/cni/net.d"),
    cni_bins=("/usr/local/libexec/cni", "/opt/cni/bin"),
    policies=("/usr/local/etc/containers/policy.json",),
    path="/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin",
    runs=("linux",),  # linux(4)
    bound_to_release=True,
    ps_by_pid=True,
    shows_end=True,
)
LINUX = Target(
    "linux",
    "Linux",
    jails=False,
    schema="config",
    hostname_max=64,  # __NEW_UTS_LEN
    groups_max=65535,  # setgroups(2) takes 65536
    rlimits="CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME",
    state_root="/run/runjail",
    store_root="/var/lib/runjail",
    nri_dirs=("/etc/nri",),
    nri_bins=("/opt/nri/bin",),
    cni_dirs=("/etc/cni/net.d", "/usr/local/etc/cni/net.d"),
    cni_bins=("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni", "/usr/local/libexec/cni", "/usr/local/lib/cni"),
    policies=("/etc/containers/policy.json",),
    path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    runs=(),
    bound_to_release=False,
    ps_by_pid=False,
    shows_end=False,
)
TARGETS = {target.name: target for target in (FREEBSD, LINUX)}


def this_system() -> Target:
    """Return the system that this program runs on; any other than FreeBSD is taken for Linux."""
    return FREEBSD if sys.platform.startswith(FREEBSD.name) else LINUX
