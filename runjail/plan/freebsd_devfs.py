"""devfs rules: which device nodes a container sees beyond those of its ruleset.

Words and meaning: devfs(8).
"""

from __future__ import annotations

from runjail import steps
from runjail.plan.mount_options import LAST_RULESET
from runjail.plan.paths import normalised
from runjail.sizes import read_number
from runjail.spec import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = ("path", "type", "include", "user", "group", "mode")  # each takes a value
BARE = ("hide", "unhide")


def check_rule(text: str) -> tuple[str, ...]:
    """Check one rule such as `path shm unhide mode 1777`; return it with the rules that its parent directories need.

    Raises ValueError with a short reason.
    """
    words = text.split()
    if text != " ".join(words) or not text.isprintable():
        raise ValueError("a rule is words with one blank between them")
    pending, pattern = list(words), ""
    while pending:
        word = pending.pop(0)
        if word in BARE:
            continue
        if word not in WORDS or not pending:
            raise ValueError(f"devfs knows no rule word {word!r}, or it lacks its value")
        value = pending.pop(0)
        if word == "mode" and (value.strip("01234567") or int(value, 8) > 0o7777):
            raise ValueError(f"mode {value} is not octal")
        if word == "include" and read_number(value, LAST_RULESET) is None:
            raise ValueError(f"include {value} is not a ruleset number")
        pattern = value if word == "path" else pattern
    return (*_parents(pattern if "unhide" in words else ""), text)


def rule(device: model.Device) -> tuple[str, ...]:
    """Return the rules that show one entry of freebsd.devices."""
    # The document has a number, devfs(8) reads octal digits.
    mode = "" if device.mode is None else f" mode {device.mode:o}"
    return (*_parents(device.path), f"path {device.path} unhide{mode}")


def _parents(path: str) -> list[str]:
    """A node stays invisible while a directory above it is hidden."""
    names = path.split("/")[:-1]
    return [f"path {'/'.join(names[: i + 1])} unhide" for i in range(len(names))]


def show(
    mounts: Sequence[steps.Mount], devices: Sequence[model.Device], problems: list[str]
) -> tuple[steps.Mount, ...]:
    """Return the mounts, each devfs on /dev with rules for freebsd.devices and for what is mounted inside it later."""
    on_devices = [mount for mount in mounts if on_dev(mount)]
    if devices and not on_devices:
        problems.append("freebsd.devices: no devfs is mounted on /dev to show them in")
    rules = tuple(text for device in devices for text in rule(device))
    shm = any(normalised(mount.destination) == "/dev/shm" for mount in mounts)
    return tuple(
        mount.replace(rules=_with_rules(mount, rules, shm)) if mount in on_devices else mount for mount in mounts
    )


def on_dev(mount: steps.Mount) -> bool:
    """Tell whether this is the container's own devfs."""
    return mount.fstype == "devfs" and normalised(mount.destination) == "/dev"


def _with_rules(mount: steps.Mount, rules: tuple[str, ...], shm: bool) -> tuple[str, ...]:
    named = any(text.startswith("path shm ") for text in mount.rules)
    # The usual rulesets hide shm, and devfs has no mkdir: without this nothing can be mounted there.
    return mount.rules + rules + (("path shm unhide",) if shm and mount.ruleset and not named else ())
