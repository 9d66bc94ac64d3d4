"""Path strings of a bundle, without looking at the file system."""

from __future__ import annotations


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
