"""--security-opt of `run --image`: words of podman and docker, and what each puts into config.json."""

from __future__ import annotations

import os

from runjail.cli.named_option import named
from runjail.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Document = dict[str, Any]

LARGEST = 1 << 20  # bytes of a file of seccomp rules
KNOWN = "no-new-privileges, seccomp=, apparmor=, label=, mask= and unmask= are known"
LABEL = ("user", "role", "type", "level")  # the parts of an SELinux context, in order
DEFAULT_LABEL = {"user": "system_u", "role": "system_r", "type": "container_t", "level": "s0"}
FILES = "filetype"  # the type of the container's files
DEFAULT_FILES = {"role": "object_r", "type": "container_file_t"}


def security(texts: list[str], host: str) -> Document:
    """Return "process" (members of it), "seccomp" (a profile and its path, or None), "masked" and "unmasked" (paths).

    And "label": SELinux's of the container's files, "" for none. Raises UsageError, also on FreeBSD for what only Linux
    has.
    """
    found: Document = {"process": {}, "label": "", "seccomp": None, "masked": [], "unmasked": []}
    label: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:  # docker's older way to write it
            name, _, value = text.partition(":")
        if name == "no-new-privileges":
            found["process"]["noNewPrivileges"] = _is(value)
        elif host != "linux":
            raise UsageError(f"--security-opt {text[:80]}: only Linux has this", "here only no-new-privileges is known")
        elif name == "label":
            _take_label(value, label)
        else:
            _take(name, value, found)
    if label:
        of_files = {**label, **DEFAULT_FILES, **({"type": label[FILES]} if FILES in label else {})}
        found["process"]["selinuxLabel"], found["label"] = _context(label), _context(of_files)
    return found


def _context(parts: dict[str, str]) -> str:
    return ":".join({**DEFAULT_LABEL, **parts}[part] for part in LABEL)


def _is(value: str) -> bool:
    if value not in ("", "true", "false"):
        raise UsageError(f"--security-opt: no-new-privileges is true or false, not {value[:40]!r}")
    return value != "false"


def _take_label(value: str, label: dict[str, str]) -> None:
    """Take label=disable, which is how containers are anyway, or one part of an SELinux context: of the files', too."""
    part, _, what = value.partition(":")
    if part in (*LABEL, FILES) and what:
        label[part] = what
    elif value == "disable":
        label.clear()
    else:
        raise UsageError(f"--security-opt: not label=disable or label=type:NAME: {value[:80]!r}")


def _take(name: str, value: str, found: Document) -> None:
    if name == "seccomp" and value:
        found["seccomp"] = None if value == "unconfined" else _seccomp(value)
    elif name == "apparmor" and value:
        found["process"].pop("apparmorProfile", None)
        if value != "unconfined":
            found["process"]["apparmorProfile"] = value
    elif name in ("mask", "unmask") and value:
        found[f"{name}ed"] += _paths(name, value)
    else:
        raise UsageError(f"--security-opt: what is {f'{name}={value}'.removesuffix('=')[:80]!r}?", KNOWN)


def _paths(name: str, value: str) -> list[str]:
    """Return the paths of mask= and unmask=; the latter takes ALL, and patterns. Raises UsageError."""
    paths = value.split(":")
    for path in paths:
        if not path.startswith("/") and not (name == "unmask" and path == "ALL"):
            raise UsageError(f"--security-opt {name}: must be an absolute path: {path[:80]!r}")
    return paths


def _seccomp(path: str) -> tuple[object, str]:
    """Return a profile and its path. Raises UsageError for what is none."""
    from runjail import jsonio
    from runjail.cli.seccomp_profile import convert
    from runjail.files import read

    try:
        with named("--security-opt", f"seccomp={path}"):
            document = jsonio.loads(read(os.path.abspath(path), LARGEST))
    except ValueError as error:
        raise UsageError(f"--security-opt seccomp={path}: not JSON: {error}") from None
    convert(document, path, ())
    return document, path


def apply(document: Document, found: Document) -> None:
    """Put what `security` returned into the config.json of an image."""
    document["process"] |= found["process"]
    if found["label"]:
        document["linux"]["mountLabel"] = found["label"]
    if found["seccomp"]:
        from runjail.cli.seccomp_profile import convert

        profile, path = found["seccomp"]
        document["linux"]["seccomp"] = convert(profile, path, document["process"]["capabilities"]["bounding"])
    if not (found["masked"] or found["unmasked"]):
        return
    for key in ("maskedPaths", "readonlyPaths"):
        paths = [path for path in document["linux"][key] if not _unmasked(path, found["unmasked"])]
        document["linux"][key] = [*paths, *found["masked"]] if key == "maskedPaths" else paths


def _unmasked(path: str, patterns: list[str]) -> bool:
    from fnmatch import fnmatchcase

    return "ALL" in patterns or any(fnmatchcase(path, pattern.rstrip("/")) for pattern in patterns)
