"""What config.json says, as immutable values: checked and normalised.

See runtime-spec 1.3 with FreeBSD's section. Names are the specification's, in snake_case. `None` means "not said": the
host's or kernel's default applies. Nothing here depends on where the bundle lies or which host runs it.
"""

from __future__ import annotations

from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runjail.spec.scheduling import MemoryPolicy, Scheduler

BINDS = frozenset(("bind", "rbind", "nullfs"))  # any of these words makes a mount a bind, whatever its type says


class Rlimit(Record):
    """process.rlimits[]: `type` is `RLIMIT_NOFILE` and so on; -1 stands for unlimited."""

    type: str
    soft: int
    hard: int


class User(Record):
    """process.user: numeric ids 0 to 2**32-2; umask 0 to 0o777."""

    uid: int = 0
    gid: int = 0
    umask: int | None = None
    additional_gids: tuple[int, ...] = ()


class Capabilities(Record):
    """process.capabilities (Linux): sets of `CAP_*` names."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Process(Record):
    """config.json's process, or the document of `exec --process`.

    env: `NAME=value` strings, one per name; console_size: rows, columns. io_priority: class and priority. exec_cpus: of
    an exec, the CPUs before and after its control group is entered. personality, memory_policy: of the linux section.
    """

    args: tuple[str, ...]
    cwd: str = "/"
    env: tuple[str, ...] = ()
    terminal: bool = False
    console_size: tuple[int, int] | None = None
    user: User = User()
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    capabilities: Capabilities | None = None
    oom_score_adj: int | None = None
    apparmor_profile: str = ""
    selinux_label: str = ""
    scheduler: Scheduler | None = None
    io_priority: tuple[str, int] | None = None
    exec_cpus: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    personality: str = ""
    memory_policy: MemoryPolicy | None = None

    def is_scheduled(self) -> bool:
        """Say whether anything is to be set from outside once it has appeared, Host.schedule."""
        return bool(self.scheduler or self.io_priority)


IdRange = tuple[int, int, int]  # the first id in the container, the first on the host, how many


class IdMappings(Record):
    """uidMappings and gidMappings of the Linux section, or of a mount: user ids and group ids, in listed order."""

    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]


class Mount(Record):
    """mounts[]: as written; the planner translates types and options. mappings: of an idmapped mount's own."""

    destination: str
    type: str = ""
    source: str = ""
    options: tuple[str, ...] = ()
    mappings: IdMappings | None = None

    @property
    def bind(self) -> bool:
        """Whether it is a bind mount, which FreeBSD calls nullfs."""
        return self.type in ("", "bind", "nullfs") or bool(BINDS.intersection(self.options))


class Hook(Record):
    """One hook: `path` absolute, `args` a whole argv (argv[0] included), `timeout` in seconds or None."""

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None


class Hooks(Record):
    """hooks: six lists, run in listed order."""

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


class Root(Record):
    """root: `path` as written (absolute, or relative to the bundle)."""

    path: str = "rootfs"
    readonly: bool = False


class Device(Record):
    """freebsd.devices[]: `path` below /dev; `mode` permission bits or None."""

    path: str
    mode: int | None = None


class Jail(Record):
    """freebsd.jail with the `org.freebsd.*` annotations merged in.

    allow: kernel parameter names below `allow.` with what was said of each, e.g. (("raw_sockets", True),);
    allow_mount: file system names of `allow.mount.*`. params: parameters that only annotations have, as jail(8) takes
    them: securelevel, osrelease, meta.KEY and so on. datasets: ZFS datasets that the jail manages itself.
    image_os: the system that the image was made for, where somebody said it. beyond: (annotation, parameter) of what
    only the administrator can grant.
    """

    parent: str | None = None
    host: str | None = None
    ip4: str | None = None
    ip4_addr: tuple[str, ...] = ()
    ip6: str | None = None
    ip6_addr: tuple[str, ...] = ()
    vnet: str | None = None
    interface: str | None = None
    vnet_interfaces: tuple[str, ...] = ()
    sysvmsg: str | None = None
    sysvsem: str | None = None
    sysvshm: str | None = None
    enforce_statfs: int | None = None
    allow: tuple[tuple[str, bool], ...] = ()
    allow_mount: tuple[str, ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    datasets: tuple[str, ...] = ()
    image_os: str = ""
    needs_grant: tuple[tuple[str, str], ...] = ()


class FreeBSD(Record):
    """The freebsd section."""

    devices: tuple[Device, ...] = ()
    jail: Jail = Jail()


class BlockLimit(Record):
    """One limit of linux.resources.blockIO.

    kind: weight, leaf_weight, rbps, wbps, riops or wiops. device: `major:minor`, "" for the weight of the whole group.
    """

    kind: str
    device: str
    value: int


class Resources(Record):
    """linux.resources, and the document of `update`.

    Sizes in bytes, -1 for "no limit"; quota, period, burst and the two of realtime in microseconds. hugepages: pairs of
    page size, `2MB`, and limit. priorities: pairs of interface and number. rdma: device, handles, objects. unified:
    pairs of a file of cgroup v2 and its content.
    """

    memory_limit: int | None = None
    memory_reservation: int | None = None
    memory_swap: int | None = None
    cpu_shares: int | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None
    cpus: str | None = None
    mems: str | None = None
    pids_limit: int | None = None
    swappiness: int | None = None
    oom_killer_off: bool = False
    check_before_update: bool = False
    cpu_idle: int | None = None
    cpu_burst: int | None = None
    realtime_period: int | None = None
    realtime_runtime: int | None = None
    hugepages: tuple[tuple[str, int], ...] = ()
    block: tuple[BlockLimit, ...] = ()
    class_id: int | None = None
    priorities: tuple[tuple[str, int], ...] = ()
    rdma: tuple[tuple[str, int | None, int | None], ...] = ()
    unified: tuple[tuple[str, str], ...] = ()


class Namespace(Record):
    """linux.namespaces[]: `path` is "" for a new namespace."""

    type: str
    path: str = ""


class LinuxDevice(Record):
    """linux.devices[]: `type` is c, b, u or p; mode None means 0666."""

    path: str
    type: str
    major: int = 0
    minor: int = 0
    mode: int | None = None
    uid: int = 0
    gid: int = 0


class DeviceRule(Record):
    """linux.resources.devices[]: `type` is a (every kind), c or b; -1 stands for every number; access of r, w and m."""

    allow: bool
    type: str = "a"
    major: int = -1
    minor: int = -1
    access: str = "rwm"


class SeccompRule(Record):
    """linux.seccomp.syscalls[]: args as (index, value, second value, SCMP_CMP_ operator); errno None means EPERM."""

    names: tuple[str, ...]
    action: str
    errno: int | None = None
    args: tuple[tuple[int, int, int, str], ...] = ()


class Seccomp(Record):
    """linux.seccomp: words as config.json has them; default_errno None means EPERM.

    listener: path of the socket of who decides about calls with SCMP_ACT_NOTIFY, "" where no rule has that.
    """

    default: str
    default_errno: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    rules: tuple[SeccompRule, ...] = ()
    listener: str = ""


class Linux(Record):
    """The linux section: honoured on the Linux host; on FreeBSD only resources have a meaning.

    namespaces: None when the section does not name any, so that the host chooses. time_offsets: clock, seconds,
    nanoseconds. net_devices: name of an interface here and inside.
    """

    namespaces: tuple[Namespace, ...] | None = None
    cgroups_path: str = ""
    resources: Resources = Resources()
    devices: tuple[LinuxDevice, ...] = ()
    device_rules: tuple[DeviceRule, ...] = ()
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    sysctl: tuple[tuple[str, str], ...] = ()
    rootfs_propagation: str = ""
    seccomp: Seccomp | None = None
    mount_label: str = ""
    time_offsets: tuple[tuple[str, int, int], ...] = ()
    net_devices: tuple[tuple[str, str], ...] = ()
    mappings: IdMappings | None = None


class Spec(Record):
    """A whole config.json. unused: JSON paths of what it says without effect on this system."""

    oci_version: str
    root: Root
    process: Process | None = None
    hostname: str | None = None
    domainname: str | None = None
    mounts: tuple[Mount, ...] = ()
    hooks: Hooks = Hooks()
    annotations: tuple[tuple[str, str], ...] = ()
    freebsd: FreeBSD = FreeBSD()
    linux: Linux = Linux()
    unused: tuple[str, ...] = ()
