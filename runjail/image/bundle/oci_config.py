"""From an image config to config.json, for what FreeBSD and Linux hosts can run.

See image-spec, conversion.md. A FreeBSD image gets a jail with devfs. A Linux image gets linprocfs and linsysfs from a
FreeBSD host, and from a Linux host what runc's users are used to. The image is not trusted: it says what to run and as
whom, never what it may do.
"""

from __future__ import annotations

import os
import posixpath

from runjail import rootfs
from runjail.errors import ImageError, reason
from runjail.image import model
from runjail.image.bundle import default_mounts, users
from runjail.image.bundle.users import Identity
from runjail.image.model import ImageConfig
from runjail.target import TARGETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

LONGEST_HOSTNAME = 64  # bytes that Linux takes (sethostname(2)); FreeBSD takes 255
IMAGE = "org.opencontainers.image."
# Annotations that tell a runtime what a container may do. As labels, anybody who builds an image could write them.
NOT_FROM_LABELS = (
    *("org.freebsd.", "org.runjail.", "org.systemd.", "run.oci.", "qos.", f"{IMAGE}os"),
    *("io.kubernetes.", "io.containerd."),  # in which pod it is: NRI plugins are told
)


def config(
    image: ImageConfig,
    root: str,
    *,
    host: str,
    args: Sequence[str] = (),
    user: str = "",
    cwd: str = "",
    hostname: str = "",
    network: str = "host",
    readonly: bool = False,
    etc: default_mounts.Mounts | None = None,
) -> dict[str, Any]:
    """Return config.json for a root that was made of the image.

    root: its directory, which names users, and gets directories for volumes. host: a name of TARGETS. args: instead
    of the image's Cmd; its Entrypoint stays before them. user, cwd: instead of the image's. network: "host" (then the
    host's resolv.conf is shown), "none", "private" (default_mounts.linux), or one that is there (NetworkHost).
    readonly: the root; volumes are in memory then, otherwise directories of the root. etc: mounts of files of /etc.

    Raises ImageError for an image that says nothing to run, is for another system, or has a config that means nothing.
    """
    if etc is None:
        etc = default_mounts.resolver(host) if network == "host" else []
    system = image.platform.os or host
    if system not in TARGETS:
        raise ImageError(f"the image is for {system[:40]}, which neither FreeBSD nor Linux can run")
    volumes = _volumes(image)
    identity = _look(root, user or _text(image, "User"), () if readonly else volumes, bool(user))
    document: dict[str, Any] = {
        "ociVersion": "1.3.0",
        "process": _process(image, system, identity, args, cwd),
        "root": {"path": root, "readonly": readonly},
        "mounts": [*default_mounts.mounts(system, host), *_in_memory(volumes if readonly else ()), *etc],
        "annotations": _annotations(image, system),
    }
    if hostname:
        document["hostname"] = hostname
    _isolate(document, TARGETS[system].jails or TARGETS[host].jails, network)
    return document


def _isolate(document: dict[str, Any], jail: bool, network: str) -> None:
    """Say what the container is kept apart by: a jail, or the kernel's namespaces."""
    if not jail:
        document["process"] |= default_mounts.CONFINED
        document["linux"] = default_mounts.linux(network)
    elif network not in ("host", "none"):
        document["freebsd"] = {"jail": {"parent": network}}
    else:
        inherit = "inherit" if network == "host" else "disable"
        document["freebsd"] = {"jail": {"ip4": inherit, "ip6": inherit}}


def _in_memory(volumes: Sequence[str]) -> default_mounts.Mounts:
    return [default_mounts.volume(path) for path in volumes if not default_mounts.is_kernels(path)]


def _look(root: str, user: str, volumes: Sequence[str], asked: bool) -> Identity:
    """Return who a user is below the root, in which directories are made for volumes that have none.

    asked: the user is none of the image's, but of who runs it.
    """
    try:
        directory = rootfs.open_root(root)
    except OSError as error:
        raise ImageError(f"cannot open the root {root}: {reason(error)}") from error
    try:
        for path in volumes:
            rootfs.mount_point(directory, path, True, lambda *_made: None).close()
        try:
            return users.resolve(directory, user)
        except ImageError as error:
            raise error if not asked else ImageError(f"--user {user[:100]}: {error}") from None
    except OSError as error:
        raise ImageError(f"cannot make the image's volumes: {reason(error)}") from error
    finally:
        os.close(directory)


def _process(image: ImageConfig, system: str, identity: Identity, args: Sequence[str], cwd: str) -> dict[str, Any]:
    words = [*_words(image, "Entrypoint"), *(args or _words(image, "Cmd"))]
    if not words or not words[0]:
        raise ImageError(
            "the image does not say what to run",
            "name a program and its arguments behind the container's id, or the bundle's directory",
        )
    directory = cwd or _text(image, "WorkingDir") or "/"
    if not directory.startswith("/") or "\0" in directory:
        raise ImageError(f"the image's WorkingDir must be an absolute path, not {directory[:100]!r}")
    groups = [identity.gid, *identity.groups]  # the primary one too, as other engines write it: host.process.set_ids
    found = {"uid": identity.uid, "gid": identity.gid, "additionalGids": groups}
    return {"user": found, "args": words, "env": _environment(image, system, identity.home), "cwd": directory}


def _environment(image: ImageConfig, system: str, home: str) -> list[str]:
    """Return the image's variables, of two with one name the later; a PATH and a HOME where it has none."""
    found: dict[str, str] = {}
    for text in _words(image, "Env"):
        name, equals, value = text.partition("=")
        if not name:
            raise ImageError(f"the image's Env must be NAME=VALUE each, not {text[:100]!r}")
        if equals:  # a name alone sets nothing: podman would take our caller's variable
            found[name] = value
    found.setdefault("PATH", TARGETS[system].path)
    if home:
        found.setdefault("HOME", home)
    return [f"{name}={value}" for name, value in found.items()]


def _volumes(image: ImageConfig) -> list[str]:
    """Return the paths of Volumes. Raises ImageError for one that is not a place of its own below the root."""
    paths = []
    for path in _members(image, "Volumes"):
        if (
            not path.startswith("/")
            or ".." in path.split("/")
            or "\0" in path
            or posixpath.normpath(path) in ("/", "//")
        ):
            raise ImageError(f"the image's Volumes must be absolute paths below /, not {path[:100]!r}")
        paths.append(posixpath.normpath(f"/{path.lstrip('/')}"))
    return sorted(set(paths))


def _annotations(image: ImageConfig, system: str) -> dict[str, str]:
    """Return what conversion.md makes annotations of; labels win over it where they may speak at all."""
    platform = image.platform
    found = {
        f"{IMAGE}os": system,
        f"{IMAGE}architecture": platform.architecture,
        f"{IMAGE}variant": platform.variant,
        f"{IMAGE}os.version": platform.os_version,
        f"{IMAGE}os.features": ",".join(platform.os_features),
        f"{IMAGE}author": _if_text(model.get(image.data, "author")),
        f"{IMAGE}created": _if_text(model.get(image.data, "created")),
        f"{IMAGE}stopSignal": _text(image, "StopSignal"),
        f"{IMAGE}exposedPorts": ",".join(_members(image, "ExposedPorts")),
    }
    texts = {key: "" if value is None else value for key, value in _members(image, "Labels").items()}  # null is Go's ""
    labels = {key: value for key, value in texts.items() if not key.startswith(NOT_FROM_LABELS)}
    if not all(isinstance(value, str) for value in labels.values()):
        raise ImageError("the image's Labels must be texts by name")
    return {key: value for key, value in found.items() if value} | {k: v for k, v in labels.items() if k}


def _if_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _text(image: ImageConfig, name: str) -> str:
    value = image.run(name)
    if value is not None and not isinstance(value, str):
        raise ImageError(f"the image's {name} must be a text")
    return value or ""


def _words(image: ImageConfig, name: str) -> list[str]:
    value = image.run(name) or []
    if not isinstance(value, list) or not all(isinstance(word, str) and "\0" not in word for word in value):
        raise ImageError(f"the image's {name} must be an array of texts without NUL")
    return value


def _members(image: ImageConfig, name: str) -> dict[str, Any]:
    value = image.run(name) or {}
    if not isinstance(value, dict):
        raise ImageError(f"the image's {name} must be an object")
    return value
