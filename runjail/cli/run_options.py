"""What `run --image` takes as podman and docker do, and what each does to config.json."""

from __future__ import annotations

from runjail.cli.args import Args, flag, number, size, value, values
from runjail.errors import UsageError
from runjail.target import TARGETS, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Document = dict[str, Any]

SECURITY = "no-new-privileges; seccomp=FILE, apparmor=NAME, label=type:NAME, mask=, unmask= (Linux)"
_BYTES = "with k, m or g; -1 for no limit"
OPTIONS = (
    value("entrypoint", "", "WORD", "instead of the image's Entrypoint and Cmd; also a JSON list", image_only=True),
    values("label", "l", "NAME=VALUE", "annotate the container", image_only=True),
    values("tmpfs", "", "DST[:OPTIONS]", "a directory in memory", image_only=True),
    values("cap-add", "", "CAP", "one more capability, or ALL (Linux)", image_only=True),
    values("cap-drop", "", "CAP", "one capability less, or ALL (Linux)", image_only=True),
    values("ulimit", "", "NAME=SOFT[:HARD]", "resource limit of the program, -1 for none", image_only=True),
    values("sysctl", "", "NAME=VALUE", "kernel parameter of the container's namespaces (Linux)", image_only=True),
    value("memory", "m", "BYTES", f"memory limit, {_BYTES}", image_only=True),
    value("cpus", "", "N", "as much time as this number of processors has, e.g. 1.5", image_only=True),
    value("cpuset-cpus", "", "LIST", "processors, e.g. 0-2,5", image_only=True),
    value("pids-limit", "", "N", "number of processes, -1 for no limit", image_only=True),
    values("mount", "", "type=bind|tmpfs|volume,…", "mount src= on dst=, or memory on dst=", image_only=True),
    values("device", "", "HOST[:CONT][:rwm]", "a device of the host, or all in a directory", image_only=True),
    values("add-host", "", "NAME:ADDRESS", "one more line of /etc/hosts", image_only=True),
    values("dns", "", "ADDRESS", "name server instead of the host's; none for no resolv.conf", image_only=True),
    values("dns-search", "", "DOMAIN", "domain to search instead of the host's; . for none", image_only=True),
    values("dns-option", "", "WORD", "option of resolv.conf instead of the host's", image_only=True),
    values("security-opt", "", "WORD", SECURITY, image_only=True),
    flag("init", "", "catatonit or tini as first process, which collects orphans (Linux)", image_only=True),
    value("stop-signal", "", "SIGNAL", "annotate with which signal the program ends", image_only=True),
    value("cidfile", "", "FILE", "write the id there; goes with the container", image_only=True),
    value("name", "", "ID", "the id, when every word that follows is the command", image_only=True),
    value("signature-policy", "", "FILE", "policy.json of containers: which images are taken", image_only=True),
    value("pull", "", "always|missing|never", "whether to ask a registry (default: missing)", image_only=True),
)

INIT = "/run/podman-init"  # where podman shows it
INITS = (
    *("/usr/libexec/podman/catatonit", "/usr/bin/catatonit", "/usr/lib/podman/catatonit"),
    *("/usr/bin/docker-init", "/usr/bin/tini-static", "/sbin/docker-init"),
)
CAPABLE = ("bounding", "effective", "permitted")
PERIOD = 100_000  # microseconds: the kernel's and podman's
MOST_CPUS = 10_000
UNLIMITED = 2**64 - 1  # RLIM_INFINITY
MOST_PIDS = 2**22  # PID_MAX_LIMIT


def entrypoint(args: Args) -> list[str]:
    """Return the words of --entrypoint: one, or a JSON list of them, as podman reads it. Raises UsageError."""
    text = args.text("entrypoint")
    if not text.startswith("["):
        return [text] if text else []
    from runjail import jsonio

    try:
        words = jsonio.loads(text)
    except ValueError:
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise UsageError(f"--entrypoint: not a JSON list of words: {text[:80]!r}")
    return words


def options_of(args: Args, host: str) -> Document:
    """Return what the options put into config.json, before anything is fetched. Raises UsageError.

    host: "freebsd" or "linux". Lists are to be added to the image's, and "capabilities" are two: added and dropped.
    """
    from runjail.cli import run_devices, run_mounts, run_security

    for name in ("cap-add", "cap-drop", "sysctl"):
        if host != "linux" and args.many(name):
            raise UsageError(f"--{name}: only Linux has this")
    if args.text("pull") not in ("", "always", "missing", "never"):
        raise UsageError(f"--pull: not always, missing or never: {args.text('pull')[:40]!r}")
    return {
        "mounts": [*map(run_mounts.tmpfs, args.many("tmpfs")), *map(run_mounts.mount, args.many("mount"))],
        "annotations": dict(_pair(text, "--label") for text in args.many("label")) | _stop_signal(args),
        "sysctl": dict(_pair(text, "--sysctl") for text in args.many("sysctl")),
        "rlimits": [_ulimit(text, TARGETS[host]) for text in args.many("ulimit")],
        "resources": _resources(args),
        "devices": run_devices.devices(args.many("device"), host),
        "security": run_security.security(args.many("security-opt"), host),
        "init": _init(host) if args.flag("init") else "",
        "capabilities": [[_capability(text, name) for text in args.many(name)] for name in ("cap-add", "cap-drop")],
    }


def apply(document: Document, found: Document) -> None:
    """Put what `options_of` returned into the config.json of an image."""
    from runjail.cli import run_security

    process = document["process"]
    document["mounts"] += found["mounts"]
    document.setdefault("annotations", {}).update(found["annotations"])
    if found["rlimits"]:
        process["rlimits"] = found["rlimits"]
    if found["sysctl"]:
        document["linux"].setdefault("sysctl", {}).update(found["sysctl"])
    if found["resources"]:
        document.setdefault("linux", {})["resources"] = found["resources"]
    added, dropped = found["capabilities"]
    if added or dropped:
        process["capabilities"] = _capabilities(process["capabilities"], added, dropped)
    for section, members in found["devices"].items():
        there = document.setdefault(section, {})
        resources = there.get("resources", {}) | members.get("resources", {})
        there.update({**members, "resources": resources} if resources else members)
    run_security.apply(document, found["security"])
    if found["init"]:
        document["mounts"].append(
            {"type": "bind", "source": found["init"], "destination": INIT, "options": ["bind", "ro"]}
        )
        process["args"] = [INIT, "--", *process["args"]]


def _init(host: str) -> str:
    """Return the program that is first in a container with --init. Raises UsageError where there is none."""
    import os

    if host != "linux":
        raise UsageError("--init: only Linux has this", "orphans of a jail are collected by the host's init")
    found = next((path for path in INITS if os.access(path, os.X_OK)), "")
    if not found:
        raise UsageError("--init: there is no catatonit or tini", f"install catatonit; looked for {', '.join(INITS)}")
    return found


def _stop_signal(args: Args) -> Document:
    from runjail.cli.named_option import named
    from runjail.container.kill import signal_number

    text = args.text("stop-signal")
    if not text:
        return {}
    with named("--stop-signal", text):
        if not signal_number(text):
            raise UsageError("0 is no signal")
    return {"org.opencontainers.image.stopSignal": text}


def _capabilities(before: Document, added: list[str], dropped: list[str]) -> Document:
    """Return the sets with what was added and dropped: with ALL dropped, only what is added by name stays."""
    names = set() if "CAP_ALL" in dropped else set(before["bounding"])
    names |= _bounding() if "CAP_ALL" in added else set(added)
    names -= set(dropped)
    return {kind: sorted(names) for kind in CAPABLE}


def _bounding() -> set[str]:
    """Return what ALL means, here as with podman: what we could grant ourselves (capabilities(7), bounding set)."""
    from runjail.spec.capabilities import NAMES

    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:  # ascii would be a module to load
        mask = next((int(line.split()[1], 16) for line in file if line.startswith("CapBnd:")), 0)
    return {f"CAP_{name}" for bit, name in enumerate(NAMES) if mask >> bit & 1}


def _capability(text: str, option: str) -> str:
    from runjail.spec.capabilities import NAMES

    name = f"CAP_{text.upper().removeprefix('CAP_')}"
    if name.removeprefix("CAP_") not in (*NAMES, "ALL"):
        raise UsageError(
            f"--{option}: unknown capability {text[:40]!r}", "such as NET_ADMIN or CAP_NET_ADMIN; man 7 capabilities"
        )
    return name


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, found = text.partition("=")
    if not name or (not equals and option != "--label"):
        raise UsageError(f"{option}: not NAME=VALUE: {text[:80]!r}")
    return name, found


def _ulimit(text: str, target: Target) -> Document:
    name, equals, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    if not (equals and name.isalpha() and name.isascii()):
        raise UsageError(f"--ulimit: not NAME=SOFT[:HARD]: {text[:80]!r}", "for example nofile=1024:4096")
    if name.upper() not in target.rlimits:
        known = ", ".join(sorted(target.rlimits)).lower()
        raise UsageError(f"--ulimit {text[:80]}: {target.title} has no limit {name[:40]!r}", f"one of {known}")
    numbers = [number(part, f"--ulimit {name}", 2**63 - 1, -1) for part in (soft, hard or soft)]
    low, high = (UNLIMITED if each == -1 else each for each in numbers)
    if low > high:
        raise UsageError(f"--ulimit {text[:80]}: the soft limit {soft} is above the hard limit {hard}")
    return {"type": f"RLIMIT_{name.upper()}", "soft": low, "hard": high}


def _resources(args: Args) -> Document:
    """Return linux.resources; on FreeBSD they become rules of rctl(8)."""
    found: Document = {}
    if args.text("memory"):
        found["memory"] = {"limit": size(args.text("memory"), "--memory")}
    if args.text("pids-limit"):
        found["pids"] = {"limit": number(args.text("pids-limit"), "--pids-limit", MOST_PIDS, -1)}
    if args.text("cpuset-cpus"):
        found["cpu"] = {"cpus": args.text("cpuset-cpus")}
    if args.text("cpus"):
        found["cpu"] = found.get("cpu", {}) | {"period": PERIOD, "quota": round(_cpus(args.text("cpus")) * PERIOD)}
    return found


def _cpus(text: str) -> float:
    whole, _, part = text.partition(".")
    if not (f"{whole}{part}".isascii() and f"{whole}{part}".isalnum()):
        raise UsageError(f"--cpus: not a number of processors: {text[:40]!r}")
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.01 <= found <= MOST_CPUS:
        raise UsageError(f"--cpus: not a number of processors: {text[:40]!r}")
    return found
