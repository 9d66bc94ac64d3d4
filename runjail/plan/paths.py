"""Path strings of a bundle, without looking at the file system."""

from __future__ import annotations

from runjail.spec import model


def normalised(path: str) -> str:
    """Return an absolute path without `.`, `..`, doubled or trailing slashes; `..` stops at the root."""
    names: list[str] = []
    for name in path.split("/"):
        if name == "..":
            del names[-1:]
        elif name not in ("", "."):
            names.append(name)
    return "/" + "/".join(names)


def absolute(path: str, base: str) -> str:
    """Return `path` normalised, read relative to the directory `base` unless it is absolute."""
    return normalised(path if path.startswith("/") else f"{base}/{path}")


def destination(mount: model.Mount, where: str, problems: list[str]) -> str:
    """Return the mount point, absolute in the container; it may not be the root itself."""
    if normalised(mount.destination) == "/":
        problems.append(f"{where}.destination: nothing can be mounted on the root itself")
    # `..` stays: what it means depends on links, which are resolved when the mount is made.
    return "/" + "/".join(name for name in mount.destination.split("/") if name not in ("", "."))
