"""What is wrong with an option of `run --image`, said of the option.

Whoever typed it has seen no config.json. Each option is read where it belongs. What only the whole document shows, or
its plan, is found here before anything is fetched, by parsing and planning a document of nothing but what options say.
"""

from __future__ import annotations

import os

from runjail.cli import run_mounts
from runjail.cli.args import Args
from runjail.cli.process import environment, volume_mounts
from runjail.cli.run_devices import DEVICES, split
from runjail.errors import HostError, InvalidConfig, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Document = dict[str, Any]
    Typed = dict[str, str]  # the beginning of a JSON path, and the option that this comes from

ONLINE = "/sys/devices/system/cpu/online"
SYSCTLS = "net.*, kernel.msg*, kernel.sem*, kernel.shm*, fs.mqueue.* and kernel.domainname; net.* with --network NAME"
LABELS = {"apparmor: ": "apparmor", "selinux label ": "label"}  # how errors begin, and what asks for either
HINTS = {"--sysctl": f"a container has of its own {SYSCTLS}", "--cpuset-cpus": "for example 0-2,5"}


def check(args: Args, found: Document, binds: list[Document], network: str, host: str) -> None:
    """Raise UsageError for an option with which there can be no container.

    found: of run_options.options_of; binds: the mounts of --volume; network: of run_image.networks.
    """
    _check_processors(args.text("cpuset-cpus"), host)
    if args.text("workdir") and not args.text("workdir").startswith("/"):
        raise UsageError(f"--workdir: must be an absolute path: {args.text('workdir')[:200]!r}")
    for text in args.many("device") if host == "linux" else ():
        if not split(text)[1].startswith(DEVICES):
            raise UsageError(f"--device: the container has devices below /dev: {text[:200]!r}")
    for path in args.many("env-file"):  # what is there is read later: a pipe can be read once
        if not os.path.exists(path):
            raise UsageError(f"--env-file {path[:200]}: is missing")
    if found["security"]["label"]:
        _require_selinux(args)
    document, typed = _document(args, found, binds, network, host)
    if not typed:
        return
    from runjail.plan.plan import make_plan
    from runjail.spec.parse import parse

    try:
        make_plan(parse(document, host), container_id="web", bundle="/bundle", state="/state", os=host)
    except InvalidConfig as error:
        texts = [text for problem in error.problems if (text := reworded(problem, typed)) != problem]
        for text in texts[:1]:  # what is nobody's option is told of the whole document
            raise UsageError(text, next((HINTS[word] for word in HINTS if text.startswith(word)), None)) from None


def _require_selinux(args: Args) -> None:
    from runjail.host.linux.security_labels import require_selinux

    try:
        require_selinux("the option")
    except HostError as error:
        error.args = (told(str(error), args, []),)
        raise


def reworded(problem: str, typed: Mapping[str, str]) -> str:
    """Return a problem with the option in the place of its JSON path, or as it is."""
    for path, option in typed.items():
        if problem.startswith(path):
            return f"{option}: {problem.removeprefix(path).partition(': ')[2]}"
    return problem


def told(text: str, args: Args, mounts: list[Document]) -> str:
    """Return an error of making a container with the option that it comes from, where that is known.

    mounts: of the container's config.json.
    """
    for start, word in LABELS.items():
        option = next((each for each in args.many("security-opt") if each.startswith(word)), "")
        if option and text.startswith(start):
            return f"--security-opt {option[:80]}: {text}"
    found = [("tmpfs", word, run_mounts.tmpfs(word)) for word in args.many("tmpfs")]
    found += [("mount", word, run_mounts.mount(word)) for word in args.many("mount")]
    found += [("volume", word, mount) for word in args.many("volume") for mount in volume_mounts([word])]
    asked = {mount["destination"]: f"--{name} {word[:200]}" for name, word, mount in found}
    typed = {f"mounts[{index}]": asked.get(mount["destination"], "") for index, mount in enumerate(mounts)}
    return reworded(text, {entry: option for entry, option in typed.items() if option})


def _document(args: Args, found: Document, binds: list[Document], network: str, host: str) -> tuple[Document, Typed]:
    """Return a config.json of what options say, and which of its places is whose."""
    variables = [(text, entry) for text in args.many("env") for entry in environment([text])]
    document = {
        "ociVersion": "1.3.0",
        "root": {"path": "/bundle/rootfs"},
        "hostname": args.text("hostname"),
        "process": {
            "args": ["true"],
            "cwd": "/",
            "env": [entry for _, entry in variables],
            "rlimits": found["rlimits"],
        },
        "mounts": [*found["mounts"], *binds],
        "linux": {"sysctl": found["sysctl"], "resources": found["resources"], **_namespaces(network, host)},
    }
    mounts = [(name, text) for name in ("tmpfs", "mount", "volume") for text in args.many(name)]
    typed = {f"mounts[{index}]": f"--{name} {text[:200]}" for index, (name, text) in enumerate(mounts)}
    typed |= {f"process.env[{index}]": f"--env {text[:200]!r}" for index, (text, _) in enumerate(variables)}
    typed |= {f"process.rlimits[{index}]": f"--ulimit {text[:80]}" for index, text in enumerate(args.many("ulimit"))}
    typed |= _settings(args)
    if args.text("hostname"):
        typed["hostname"] = f"--hostname {args.text('hostname')[:200]!r}"
    if args.text("cpuset-cpus"):
        typed["linux.resources.cpu.cpus"] = f"--cpuset-cpus {args.text('cpuset-cpus')[:80]}"
    return document, typed


def _settings(args: Args) -> Typed:
    from runjail.spec.problems import json_path

    texts = args.many("sysctl")
    return {json_path(("linux", "sysctl", text.partition("=")[0])): f"--sysctl {text[:80]}" for text in texts}


def _namespaces(network: str, host: str) -> Document:
    from runjail.image.bundle.default_mounts import linux

    return {} if host != "linux" else {"namespaces": linux(network)["namespaces"]}


def _check_processors(text: str, host: str) -> None:
    """Raise UsageError for a number that no processor of this machine has; what is no list the parser explains."""
    if host != "linux" or not text:
        return
    try:
        with open(ONLINE, encoding="utf-8") as file:
            online = file.read().strip()
        wanted, there = _numbers(text), _numbers(online)
    except (OSError, ValueError):
        return
    if not wanted <= there:
        raise UsageError(f"--cpuset-cpus {text[:80]}: this machine has processors {online}")


def _numbers(text: str) -> set[int]:
    """Return the numbers of `0-2,5`. Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if len(part) > 20:
            raise ValueError("too long for a range")
        low, high = int(first), int(last if dash else first)
        found.update((low, high), range(low, min(high, 1 << 16)))
    return found


def require_writable(path: str, option: str) -> None:
    """Raise UsageError where no file can be at a path: it is a directory, or there is none to hold it."""
    if os.path.isdir(path):
        raise UsageError(f"{option}: {path} is a directory")
    if not os.path.isdir(os.path.dirname(path)):
        raise UsageError(f"{option}: cannot write {path}: its directory does not exist")
