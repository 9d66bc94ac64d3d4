"""What config.json can ask for on Linux, each with what is seen of it from inside: for documents at random.

An aspect draws a value, says it in a document, and returns a question (a line of shell) with its answer.
"""

import os
import resource
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from runjail.spec.capabilities import NAMES
from tests.support.container.harness import Life

Document = dict[str, Any]
Aspect = Callable[[st.DrawFn, Document], tuple[str, str]]

V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
# What /proc/self/limits calls them, and the least with which a shell runs
LIMITS = {"CORE": ("core file size", 0), "NOFILE": ("open files", 512), "STACK": ("stack size", 1 << 20)}
WORD = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)
GROUPS = "/sys/fs/cgroup"
NODES = {"b": (7, 3), "c": (1, 5), "p": (0, 0)}


def prepare(life: Life) -> None:
    """Make the places of mounts and of cwd: a user namespace's root could not."""
    for name in ("fresh", "volume", "deep", "made/here", "sys/fs/cgroup"):
        (life.bundle.rootfs / name).mkdir(parents=True, exist_ok=True)


def bounding() -> list[str]:
    """Return the capabilities that this machine lets root have."""
    with open("/proc/self/status", encoding="ascii") as file:
        mask = next(int(line.split()[1], 16) for line in file if line.startswith("CapBnd"))
    return [f"CAP_{name}" for number, name in enumerate(NAMES) if mask >> number & 1]


def hostname(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    document["hostname"] = draw(WORD)
    return "hostname", document["hostname"]


def domainname(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    document["domainname"] = draw(WORD)
    return "cat /proc/sys/kernel/domainname", document["domainname"]


def cwd(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    document["process"]["cwd"] = draw(st.sampled_from(["/", "/tmp", "/proc", "/made/here"]))
    return "pwd", document["process"]["cwd"]


def variable(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    value = draw(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30))
    document["process"]["env"].append(f"SAID={value}")
    return 'printf "%s\\n" "$SAID"', value


def user(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    uid, gid, more = (draw(st.integers(0, 60000)) for _ in range(3))
    document["process"]["user"] |= {"uid": uid, "gid": gid, "additionalGids": [more]}
    line = "set -- $(grep -E '^(Uid|Gid|Groups):' /proc/self/status); echo $2 $7 ${12} ${13}"
    return line, " ".join(map(str, (uid, gid, *sorted({gid, more}))))


def umask(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    document["process"]["user"]["umask"] = draw(st.integers(0, 0o777))
    return "umask", f"{document['process']['user']['umask']:04o}"


def rlimit(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    name = draw(st.sampled_from(sorted(LIMITS)))
    shown, least = LIMITS[name]
    most = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
    hard = draw(st.integers(least, 1 << 30 if most < 0 else most))
    soft = draw(st.integers(least, hard))
    document["process"]["rlimits"] = [{"type": f"RLIMIT_{name}", "soft": soft, "hard": hard}]
    return f"grep -i 'max {shown}' /proc/self/limits | awk '{{print $(NF-2), $(NF-1)}}'", f"{soft} {hard}"


def capabilities(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    names = sorted(draw(st.sets(st.sampled_from(bounding()))))
    kept = sorted(draw(st.sets(st.sampled_from(names)))) if names else []
    document["process"]["capabilities"] = {"bounding": names, "permitted": names, "effective": kept}
    document["process"]["user"] |= {"uid": 0}
    mask = sum(1 << NAMES.index(name.removeprefix("CAP_")) for name in names)
    # All three: an execve(2) of root's gives what the bounding set has.
    return "grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status | cut -f2 | xargs", " ".join([f"{mask:016x}"] * 3)


def ambient(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    """What a user who is not root keeps at execve(2)."""
    names = sorted(draw(st.sets(st.sampled_from(bounding()))))
    sets = ("bounding", "permitted", "effective", "inheritable", "ambient")
    document["process"]["capabilities"] = dict.fromkeys(sets, names)
    document["process"]["user"] |= {"uid": 1000, "gid": 1000}
    mask = sum(1 << NAMES.index(name.removeprefix("CAP_")) for name in names)
    return "grep -E 'Cap(Inh|Eff|Amb)' /proc/self/status | cut -f2 | xargs", " ".join([f"{mask:016x}"] * 3)


def privileges(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    document["process"]["noNewPrivileges"] = draw(st.booleans())
    return "grep NoNewPrivs /proc/self/status | cut -f2", str(int(document["process"]["noNewPrivileges"]))


def oom_score(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:  # to lower it takes a right
        document["process"]["oomScoreAdj"] = draw(st.integers(int(file.read()), 1000))
    return "cat /proc/self/oom_score_adj", str(document["process"]["oomScoreAdj"])


def scheduler(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    policy, number = draw(st.sampled_from([("SCHED_OTHER", 0), ("SCHED_BATCH", 3)]))
    nice = draw(st.integers(0, 19))
    document["process"]["scheduler"] = {"policy": policy, "nice": nice}
    return "awk '{print $41, $19}' /proc/self/stat", f"{number} {nice}"


def io_priority(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    priority = draw(st.integers(0, 7))
    document["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": priority}
    return "ionice -p $$", f"best-effort: prio {priority}"


def readonly_root(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    document["root"]["readonly"] = draw(st.booleans())
    return "awk '$5 == \"/\" {print substr($6, 1, 2)}' /proc/self/mountinfo", ("rw", "ro")[document["root"]["readonly"]]


def tmpfs(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    words = sorted(draw(st.sets(st.sampled_from(["nosuid", "nodev", "noexec", "ro", "noatime"]))))
    mode, size = draw(st.integers(0, 0o1777)), draw(st.integers(1, 64)) * 4
    options = [*words, f"mode={mode:o}", f"size={size}k"]
    document["mounts"].append({"destination": "/fresh", "type": "tmpfs", "source": "tmpfs", "options": options})
    order = [word for word in ("nosuid", "nodev", "noexec") if word in words]
    flags = ",".join([("rw", "ro")["ro" in words], *order, "noatime" if "noatime" in words else "relatime"])
    shown = f"{flags} size={size}k {mode:o}"
    line = "awk '$5 == \"/fresh\" {print $6, $NF}' /proc/self/mountinfo | sed 's/ .*\\(size=[0-9]*k\\).*/ \\1/'"
    return f'echo "$({line}) $(stat -c %a /fresh)"', shown


def volume(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    flags = draw(st.lists(st.sampled_from(["ro", "rw", "nosuid", "nodev", "noexec", "nosymfollow"]), max_size=4))
    mount = {"destination": "/volume", "type": "bind", "source": "/etc", "options": ["rbind", "rprivate", *flags]}
    document["mounts"].append(mount)
    last = [word for word in flags if word in ("ro", "rw")][-1:] or ["rw"]
    own = os.statvfs("/etc").f_flag
    kept = {"nosuid": os.ST_NOSUID, "nodev": os.ST_NODEV, "noexec": os.ST_NOEXEC, "nosymfollow": 0}
    order = [word for word, bit in kept.items() if word in flags or own & bit]
    line = "awk '$5 == \"/volume\" {print $6}' /proc/self/mountinfo | tr , '\\n' | grep -v time | xargs"
    return line, " ".join([*last, *order])


def deep(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    """A bind mount with what is mounted below it, all of which has the attributes."""
    words = sorted(draw(st.sets(st.sampled_from(["ro", "nosuid", "nodev", "noexec", "nosymfollow"]), min_size=1)))
    options = ["rbind", *(f"r{word}" for word in words)]
    document["mounts"].append({"destination": "/deep", "type": "bind", "source": "/dev", "options": options})
    lacking = " || ".join(f'("," $6 ",") !~ ",{word},"' for word in words)
    return f"awk '$5 ~ \"^/deep\" && ({lacking}) {{n++}} END {{print n + 0}}' /proc/self/mountinfo", "0"


def copied(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    word = draw(st.sampled_from(["tmpcopyup", "notmpcopyup"]))
    mount = {"destination": "/made", "type": "tmpfs", "source": "tmpfs", "options": [word]}
    document["mounts"].append(mount)
    return "echo $(ls /made)", "here" if word == "tmpcopyup" else ""


def propagation(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    word = draw(st.sampled_from(["private", "rprivate", "slave", "rslave", "shared", "rshared"]))
    document["linux"]["rootfsPropagation"] = word
    return "awk '$5 == \"/\" {print ($7 ~ /^shared/)}' /proc/self/mountinfo", str(int(word.endswith("shared")))


def memory_policy(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    word, shown = draw(st.sampled_from([("MPOL_INTERLEAVE", "interleave"), ("MPOL_BIND", "bind")]))
    document["linux"]["memoryPolicy"] = {"mode": word, "nodes": "0"}
    return "head -n 1 /proc/self/numa_maps | cut -d ' ' -f 2", f"{shown}:0"


SETTINGS = [
    *(("net.ipv4.ip_forward", "1"), ("kernel.shmmni", "77"), ("kernel/msgmax", "99"), ("net/core/somaxconn", "33")),
    ("fs.mqueue.queues_max", "44"),
]


def sysctl(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    key, value = draw(st.sampled_from(SETTINGS))
    document["linux"]["sysctl"] = {key: value}
    return f"cat /proc/sys/{key.replace('.', '/')}", value


def device(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    kind, (major, minor) = draw(st.sampled_from(sorted(NODES.items())))
    mode, uid, gid = draw(st.integers(0, 0o777)), draw(st.integers(0, 9999)), draw(st.integers(0, 9999))
    node = {"path": "/dev/sub/mine", "type": kind, "major": major, "minor": minor}
    document["linux"]["devices"] = [node | {"fileMode": mode, "uid": uid, "gid": gid}]
    return "stat -c '%t %T %a %u %g' /dev/sub/mine", f"{major:x} {minor:x} {mode:o} {uid} {gid}"


def masked(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    path = draw(st.sampled_from(["/proc/version", "/proc/cpuinfo", "/etc/passwd"]))
    document["linux"]["maskedPaths"] = [path, "/nowhere"]
    return f"wc -c < {path}", "0"


def sealed(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    path = draw(st.sampled_from(["/proc/sys", "/proc/irq", "/etc", "/tmp"]))
    document["linux"]["readonlyPaths"] = [path, "/nowhere"]
    return f"awk '$5 == \"{path}\" {{print substr($6, 1, 2)}}' /proc/self/mountinfo", "ro"


def namespaces(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    """Those that exist only for this: without them the others of the document are another thing."""
    kinds = {"cgroup": "cgroup", "time": "time"}
    wanted = draw(st.sets(st.sampled_from(sorted(kinds))))
    document["linux"]["namespaces"] += [{"type": kind} for kind in sorted(wanted)]
    hosts = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in kinds}
    question = "; ".join(f'test $(readlink /proc/self/ns/{kind}) = "{hosts[kind]}"; printf $?' for kind in kinds)
    return f"echo $({question})", "".join(str(int(kind in wanted)) for kind in kinds)


def clocks(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    names = sorted(draw(st.sets(st.sampled_from(["boottime", "monotonic"]), min_size=1)))
    said = {name: (draw(st.integers(1, 10**6)), draw(st.integers(0, 10**9 - 1))) for name in names}
    document["linux"]["timeOffsets"] = {name: {"secs": said[name][0], "nanosecs": said[name][1]} for name in names}
    document["linux"]["namespaces"].append({"type": "time"})
    lines = [f"{name} {seconds} {nanoseconds}" for name, (seconds, nanoseconds) in said.items()]
    return "awk '$2 {print $1, $2, $3}' /proc/self/timens_offsets | sort | xargs", " ".join(lines)


def own_ids(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    first, size = draw(st.integers(0, 10**6)), draw(st.integers(65536, 10**6))
    ids = [{"containerID": 0, "hostID": first, "size": size}]
    document["linux"] |= {"uidMappings": ids, "gidMappings": ids}
    document["linux"]["namespaces"].append({"type": "user"})
    return "xargs < /proc/self/uid_map", f"0 {first} {size}"


def group(document: Document, controller: str, file: str) -> str:
    """Return the question for a file of the container's control group, which is shown for it."""
    if not any(mount["destination"] == GROUPS for mount in document["mounts"]):
        document["mounts"].append({"destination": GROUPS, "type": "cgroup", "source": "cgroup", "options": ["ro"]})
    return f"cat {GROUPS}/{'' if V2 else f'{controller}/'}{file}"


def resources(document: Document, kind: str) -> Document:
    """Return what is said so far of the memory, cpu or pids of a document."""
    said: Document = document["linux"].setdefault("resources", {}).setdefault(kind, {})
    return said


def memory(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    limit = draw(st.integers(16, 64)) << 20
    resources(document, "memory")["limit"] = limit
    return group(document, "memory", "memory.max" if V2 else "memory.limit_in_bytes"), str(limit)


def processes(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    limit = draw(st.integers(50, 5000))
    resources(document, "pids")["limit"] = limit
    return group(document, "pids", "pids.max"), str(limit)


def cpu(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    period = draw(st.integers(50, 500)) * 1000
    quota = draw(st.integers(20, 200)) * 1000
    resources(document, "cpu").update(quota=quota, period=period)
    if V2:
        return group(document, "cpu", "cpu.max"), f"{quota} {period}"
    return group(document, "cpu", "cpu.cfs_quota_us"), str(quota)


def cpus(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    first, *others = sorted(os.sched_getaffinity(0))
    ranges = [f"{first}", *(f"{first}-{other}" for other in others if other == first + 1)]
    resources(document, "cpu")["cpus"] = draw(st.sampled_from(ranges))
    return "awk '/Cpus_allowed_list/ {print $2}' /proc/self/status", document["linux"]["resources"]["cpu"]["cpus"]


def shares(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    """Of control groups v1: v2 has weights instead, tests/host/linux says which."""
    resources(document, "cpu")["shares"] = draw(st.integers(2, 100000))
    return group(document, "cpu", "cpu.shares"), str(document["linux"]["resources"]["cpu"]["shares"])


def swappiness(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    resources(document, "memory")["swappiness"] = draw(st.integers(0, 100))
    return group(document, "memory", "memory.swappiness"), str(document["linux"]["resources"]["memory"]["swappiness"])


def reservation(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    amount = draw(st.integers(1, 16)) << 20
    resources(document, "memory")["reservation"] = amount
    return group(document, "memory", "memory.low" if V2 else "memory.soft_limit_in_bytes"), str(amount)


def denied(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    """All devices but one, which is there and cannot be opened."""
    name, minor = draw(st.sampled_from([("full", 7), ("random", 8), ("urandom", 9)]))
    rules = [
        {"allow": True, "access": "rwm"},
        {"allow": False, "type": "c", "major": 1, "minor": minor, "access": "rw"},
    ]
    document["linux"].setdefault("resources", {})["devices"] = rules
    return f"(: < /dev/{name}) 2>&1 | sed 's/.*: //'", "Operation not permitted"


def seccomp(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    number, text = draw(st.sampled_from([(1, "Operation not permitted"), (28, "No space left on device")]))
    call = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": number}
    document["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [call]}
    return "mkdir /tmp/x 2>&1 | sed 's/.*: //'", text


def personality(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    domain = draw(st.sampled_from(["LINUX", "LINUX32"]))
    document["linux"]["personality"] = {"domain": domain}
    machine = os.uname().machine
    return "uname -m", {"x86_64": "i686", "aarch64": "armv8l"}.get(machine, machine) if domain == "LINUX32" else machine


def hook(draw: st.DrawFn, document: Document) -> tuple[str, str]:
    word = draw(WORD)
    script = f"cat >/dev/null; echo {word} > /tmp/hook"
    entry = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}
    document.setdefault("hooks", {})["startContainer"] = [entry]
    document["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]})
    return "cat /tmp/hook", word


ASPECTS: tuple[Aspect, ...] = (
    *(hostname, domainname, cwd, variable, user, umask, rlimit, capabilities, privileges, oom_score, scheduler),
    *(io_priority, readonly_root, tmpfs, volume, sysctl, device, masked, sealed, namespaces, clocks, own_ids, memory),
    *(processes, cpu, seccomp, personality, hook, ambient, deep, copied, propagation, cpus, reservation, denied),
    *(() if V2 else (shares, swappiness)),
    *((memory_policy,) if os.path.exists("/proc/self/numa_maps") else ()),
)
# What cannot be asked for together, or changes what the other one's question shows
APART: dict[Aspect, set[Aspect]] = {
    capabilities: {user, ambient},
    ambient: {user},
    hook: {umask, sealed},
    copied: {cwd},  # which may be in what is mounted over
    clocks: {namespaces},
    own_ids: {device},  # which belongs to nobody there
}
