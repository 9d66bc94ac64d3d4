"""What `run --image` mounts because of --tmpfs and --mount, as podman and docker write them."""

from __future__ import annotations

import os

from runjail.cli.args import size
from runjail.errors import UsageError
from runjail.plan import mount_options
from runjail.sizes import read_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Mount = dict[str, Any]

TMPFS = ["nosuid", "nodev", "noexec", "tmpcopyup"]  # podman's
TMPFS_HINT = "such as size=64m, mode=1777, uid=1000, nr_inodes=1k, ro, exec, notmpcopyup"
TMPFS_VALUES: dict[str, Callable[[str], str]] = {  # tmpfs(5) of both systems
    "size": mount_options.size,
    "mode": mount_options.octal,
    **dict.fromkeys(("uid", "gid"), mount_options.number),
    **dict.fromkeys(("nr_inodes", "nr_blocks", "inodes", "maxfilesize"), mount_options.size),
    **dict.fromkeys(("huge", "mpol"), str),
}
KINDS = ("bind", "tmpfs", "volume")
PLACES = {"target": "destination", "dst": "destination", "src": "source"}  # other words for the same
PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable")
SWITCHES = ("rw", "suid", "nosuid", "dev", "nodev", "exec", "noexec")
YES, NO = ("", "true", "1"), ("false", "0")


def tmpfs(text: str) -> Mount:
    """Return the mount of --tmpfs DST[:OPTIONS]. Raises UsageError."""
    destination, _, more = text.partition(":")
    if not destination.startswith("/"):
        raise UsageError(f"--tmpfs: not an absolute path: {text[:200]!r}")
    words = [word for word in more.split(",") if word]
    for word in words:
        _check_memory(word)
    return _tmpfs(destination, words)


def _check_memory(word: str) -> None:
    """Raise UsageError for what is no option of tmpfs: the kernel would say only that one of them is wrong."""
    name, equals, value = word.partition("=")
    check = TMPFS_VALUES.get(name)
    try:
        if not (word in mount_options.WORDS or (check and equals)):
            raise ValueError("not an option of tmpfs")
        if check and not (name == "size" and _is_share(value)):
            check(value)
    except ValueError as error:
        raise UsageError(f"--tmpfs: {word[:80]!r}: {error}", TMPFS_HINT) from None


def _is_share(text: str) -> bool:
    """Say whether a text is a share of memory, such as `50%`: Linux takes that, too."""
    return text.endswith("%") and read_number(text.removesuffix("%"), 100) is not None


def _tmpfs(destination: str, words: list[str]) -> Mount:
    kept = [word for word in TMPFS if word.removeprefix("no") not in words and f"no{word}" not in words]
    words = [word for word in words if word != "notmpcopyup"]
    return {"type": "tmpfs", "source": "tmpfs", "destination": destination, "options": [*kept, *words]}


def mount(text: str) -> Mount:
    """Return the mount of --mount type=bind|tmpfs|volume,NAME=VALUE,… Raises UsageError."""
    found: dict[str, str] = {}
    for word in _words(text):
        name, equals, value = word.partition("=")
        found[PLACES.get(name, name)] = value if equals else ""
    kind, destination = found.pop("type", "volume"), found.pop("destination", "")
    if kind not in KINDS:
        raise UsageError(
            f"--mount: type is not bind, tmpfs or volume: {kind[:40]!r}", "for example type=bind,src=/a,dst=/b"
        )
    if not destination.startswith("/"):
        raise UsageError(f"--mount: destination must be an absolute path: {text[:200]!r}")
    return {"bind": _bind, "tmpfs": _memory, "volume": _volume}[kind](destination, found)


def _words(text: str) -> list[str]:
    """Return the words between commas; one with a comma in it stands in quotes (RFC 4180)."""
    if '"' not in text:
        return text.split(",")
    import csv

    return next(csv.reader([text]), [])


def _bind(destination: str, found: dict[str, str]) -> Mount:
    source, options = found.pop("source", ""), ["rbind"]
    if not source:
        raise UsageError("--mount: type=bind needs a source")
    if not os.path.lexists(source):
        raise UsageError(f"--mount: the source {os.path.abspath(source)} does not exist")
    for name, value in found.items():
        if name in ("bind-propagation", "propagation") and value in PROPAGATION:
            options.append(value)
        elif name == "bind-nonrecursive":
            options[0] = "bind" if _is(name, value) else "rbind"
        else:
            options += _switches(name, value)
    return {"type": "bind", "source": os.path.abspath(source), "destination": destination, "options": options}


def _volume(destination: str, found: dict[str, str]) -> Mount:
    source, options = found.pop("source", ""), ["rbind"]
    if not source:
        raise UsageError("--mount: type=volume needs a source, the volume's name")
    for name, value in found.items():
        options += _switches(name, value)
    return {"type": "volume", "source": source, "destination": destination, "options": options}


def _memory(destination: str, found: dict[str, str]) -> Mount:
    words = []
    for name, value in found.items():
        if name in ("tmpfs-size", "size"):
            words.append(f"size={size(value, f'--mount: {name}')}")
        elif name in ("tmpfs-mode", "mode") and value and not value.strip("01234567"):
            words.append(f"mode={value}")
        elif name in ("tmpcopyup", "notmpcopyup"):
            words.append(name)
        else:
            words += _switches(name, value)
    return _tmpfs(destination, words)


def _switches(name: str, value: str) -> list[str]:
    """Return the mount option that a switch stands for. Raises UsageError for what none of them is."""
    if name in ("ro", "readonly"):
        return ["ro" if _is(name, value) else "rw"]
    if name in SWITCHES and not value:
        return [name]
    raise UsageError(f"--mount: what is {f'{name}={value}'[:80]!r}?", "man runjail has the words of --mount")


def _is(name: str, value: str) -> bool:
    if value.lower() not in YES + NO:
        raise UsageError(f"--mount: {name} is true or false, not {value[:40]!r}")
    return value.lower() in YES
