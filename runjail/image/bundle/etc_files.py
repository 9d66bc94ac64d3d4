"""/etc/hosts, /etc/hostname and /etc/resolv.conf of an image's container, as podman makes them.

They are files of the bundle, mounted one by one: the image's own stay as they are below, and no layer that is made of
the container has them. Forms: hosts(5), resolv.conf(5).
"""

from __future__ import annotations

import os

from runjail.errors import StorageError, reason
from runjail.image.bundle import default_mounts
from runjail.image.bundle.default_mounts import RESOLVER
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

HOSTS = "/etc/hosts"
HOSTNAME = "/etc/hostname"
GATEWAY = "host.containers.internal"  # podman's name for the host in a network of containers
RESOLVED = "/run/systemd/resolve/resolv.conf"  # the servers behind systemd-resolved's stub (systemd-resolved(8))
LOOPBACK = ("127.", "::1")
LOCALHOST = (("127.0.0.1", "localhost"), ("::1", "localhost"))
LARGEST = 1 << 20  # bytes that are read of a file of the host


class Names(Record):
    """What a container is told of names.

    hostname: its own; others: its further names. hosts: (address, name) of --add-host, before the host's. servers,
    search, options: of resolv.conf instead of the host's, None for the host's. resolver: whether there is to be one.
    apart: whether the container has a network of its own, where nobody reaches what listens on the host's loopback;
    addresses: its own there; gateway: the host's; server: of names, before the host's.
    """

    hostname: str
    others: tuple[str, ...] = ()
    hosts: tuple[tuple[str, str], ...] = ()
    servers: tuple[str, ...] | None = None
    search: tuple[str, ...] | None = None
    options: tuple[str, ...] | None = None
    resolver: bool = True
    apart: bool = False
    addresses: tuple[str, ...] = ()
    gateway: str = ""
    server: str = ""


def make(directory: str, names: Names, host: str, taken: Sequence[str], label: str = "") -> list[dict[str, Any]]:
    """Write the files into a bundle's directory and return the mounts that show them.

    host: a name of target.TARGETS. taken: mount points that the caller has something else for. label: the files' for
    SELinux, "" for that of their directory. Raises StorageError.
    """
    contents = {HOSTS: hosts(names), HOSTNAME: f"{names.hostname}\n"}
    if names.resolver and (names.apart or names.servers is not None or os.path.isfile(RESOLVER)):
        contents[RESOLVER] = resolver(names)
    mounts = []
    for place, text in contents.items():
        if place in taken:
            continue
        path = f"{directory}/{os.path.basename(place)}"
        try:
            _write(path, text, label)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {reason(error)}") from error
        mounts.append(default_mounts.file(place, path, host))
    return mounts


def tell(directory: str, names: Names) -> None:
    """Write what is known by now into the files that `make` has made. Raises StorageError."""
    for place, text in ((HOSTS, hosts(names)), (RESOLVER, resolver(names))):
        path = f"{directory}/{os.path.basename(place)}"
        try:
            with open(path, "r+", encoding="utf-8", errors="surrogateescape") as stream:
                stream.truncate()
                stream.write(text)
        except FileNotFoundError:  # the caller has something else for this place
            continue
        except OSError as error:
            raise StorageError(f"cannot write {path}: {reason(error)}") from error


def hosts(names: Names) -> str:
    """Return /etc/hosts: what was asked for, the host's of other names, localhost, and the container's own names."""
    added = {name for _address, name in names.hosts}
    own = [name for name in dict.fromkeys((names.hostname, *names.others)) if name not in added]
    lines = [f"{address}\t{name}" for address, name in names.hosts]
    known: set[str] = set()
    for address, found in _entries(_read(HOSTS)):
        kept = [name for name in found if name not in added and name not in own]
        lines += [f"{address}\t{' '.join(kept)}"] if kept else []
        known.update(kept)
    lines += [f"{address}\t{name}" for address, name in LOCALHOST if name not in known | added]
    if names.gateway and GATEWAY not in known | added:
        lines.append(f"{names.gateway}\t{GATEWAY}")
    lines += [f"{address}\t{' '.join(own)}" for address in names.addresses or ("127.0.0.1",) if own]
    return "\n".join(lines) + "\n"


def _entries(text: str) -> list[tuple[str, list[str]]]:
    """Return the address and the names of each line of a hosts file."""
    lines = (line.partition("#")[0].split() for line in text.split("\n"))
    return [(words[0], words[1:]) for words in lines if len(words) > 1]


def resolver(names: Names) -> str:
    """Return /etc/resolv.conf: the host's, with what was asked for instead of its servers, domains or options."""
    found: dict[str, list[str]] = {"search": [], "nameserver": [], "options": []}
    for line in _servers(names.apart).split("\n"):
        words = line.split()
        if words and words[0] in ("search", "domain"):  # of these the last one counts
            found["search"] = words[1:]
        elif words and words[0] in found:
            found[words[0]] += words[1:]
    if names.server:
        found["nameserver"].insert(0, names.server)
    wanted = {"search": names.search, "nameserver": names.servers, "options": names.options}
    found |= {word: list(values) for word, values in wanted.items() if values is not None}
    lines = [f"search {' '.join(found['search'])}"] if found["search"] else []
    lines += [f"nameserver {server}" for server in found["nameserver"]]
    lines += [f"options {' '.join(found['options'])}"] if found["options"] else []
    return "".join(f"{line}\n" for line in lines)


def _servers(apart: bool) -> str:
    """Return the host's resolv.conf; for a network apart without servers on the host's loopback."""
    text = _read(RESOLVER)
    if not apart:
        return text
    lines = [line.split() for line in text.split("\n")]
    stub = [words[1] for words in lines if words[:1] == ["nameserver"]] == ["127.0.0.53"]
    lines = [line.split() for line in (_read(RESOLVED) or text).split("\n")] if stub else lines
    kept = [words for words in lines if not (words[:1] == ["nameserver"] and "".join(words[1:2]).startswith(LOOPBACK))]
    return "\n".join(map(" ".join, kept))


def _read(path: str) -> str:
    """Return a file of the host, "" where there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(LARGEST)
    except OSError:
        return ""


def _write(path: str, text: str, label: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with open(file, "w", encoding="utf-8", errors="surrogateescape") as stream:
        if label:
            os.setxattr(file, "security.selinux", label.encode())
        os.fchmod(file, 0o644)  # whatever umask our caller has: everybody inside reads it
        stream.write(text)
