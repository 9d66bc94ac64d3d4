"""Seccomp profiles as docker and podman write them, turned into linux.seccomp.

See seccomp.json of containers-common. Rules there may depend on the processor, on capabilities and on the kernel's
version; linux.seccomp has no conditions.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any

from runjail.errors import UsageError
from runjail.sizes import read_number

Document = dict[str, Any]

PLAIN = ("names", "action", "args", "errnoRet")  # members of a rule that are the same in both
TOP = ("defaultAction", "defaultErrnoRet", "architectures", "flags", "listenerPath", "listenerMetadata")
PROFILE_ONLY = ("archMap", "syscalls", "defaultErrno")
CONDITIONS = ("caps", "arches", "minKernel")
MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "x86", "armv7l": "arm", "riscv64": "riscv64"}


def convert(document: object, path: str, capabilities: Sequence[str]) -> Document:
    """Return linux.seccomp for this machine and a container with these capabilities.

    Raises UsageError for what no profile has; the rules themselves are checked by `create`.
    """
    if not isinstance(document, dict):
        raise UsageError(f"--security-opt seccomp={path}: not an object")
    unknown = [key for key in document if key not in (*TOP, *PROFILE_ONLY)]
    if unknown:
        raise UsageError(f"--security-opt seccomp={path}: unknown member {unknown[0][:40]!r}")
    found = {key: document[key] for key in TOP if document.get(key) is not None}
    if document.get("archMap"):
        found["architectures"] = _architectures(document["archMap"], found.get("architectures", []), path)
    rules = document.get("syscalls") or []
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise UsageError(f"--security-opt seccomp={path}: syscalls is not a list of objects")
    found["syscalls"] = [_rule(rule) for rule in rules if _applies(rule, path, frozenset(capabilities))]
    return found


def _architectures(table: object, named: list[str], path: str) -> list[str]:
    """Return the architectures of this machine: what archMap says of its own, and that."""
    if not isinstance(table, list) or not all(isinstance(entry, dict) for entry in table):
        raise UsageError(f"--security-opt seccomp={path}: archMap is not a list of objects")
    own = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64", "riscv64": "SCMP_ARCH_RISCV64"}.get(_machine())
    for entry in table:
        if entry.get("architecture") == own:
            return [entry["architecture"], *(entry.get("subArchitectures") or [])]
    return named


def _machine() -> str:
    return MACHINES.get(os.uname().machine, os.uname().machine)


def _rule(rule: Document) -> Document:
    """Return a rule without its conditions; older ones have `name`, and the error as a word."""
    found = {key: rule[key] for key in PLAIN if rule.get(key)}
    if rule.get("name"):
        found["names"] = [rule["name"]]
    number = getattr(errno, str(rule.get("errno")), None)
    return found if number is None or "errnoRet" in found else {**found, "errnoRet": number}


def _applies(rule: Document, path: str, capabilities: frozenset[str]) -> bool:
    """Tell whether a rule is meant for this machine and for these capabilities."""
    includes, excludes = _conditions(rule, "includes", path), _conditions(rule, "excludes", path)
    if includes.get("arches") and _machine() not in includes["arches"]:
        return False
    if includes.get("minKernel") and _kernel() < _version(includes["minKernel"], path):
        return False
    if not capabilities.issuperset(includes.get("caps") or []):
        return False
    return _machine() not in (excludes.get("arches") or []) and capabilities.isdisjoint(excludes.get("caps") or [])


def _conditions(rule: Document, key: str, path: str) -> Document:
    found = rule.get(key) or {}
    if not isinstance(found, dict) or any(name not in CONDITIONS for name in found):
        raise UsageError(f"--security-opt seccomp={path}: syscalls[].{key} is not of {', '.join(CONDITIONS)}")
    return found


def _kernel() -> tuple[int, ...]:
    return _version(".".join(os.uname().release.split("-")[0].split(".")[:2]), "")


def _version(text: object, path: str) -> tuple[int, ...]:
    numbers = [read_number(part, 10_000) for part in str(text).split(".")[:2]]
    if None in numbers:
        raise UsageError(f"--security-opt seccomp={path}: minKernel is not a version: {str(text)[:40]!r}")
    return tuple(number or 0 for number in numbers)
