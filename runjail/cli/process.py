"""What options of run and exec change in a config.json: its process, its mounts."""

from __future__ import annotations

import os

from runjail.cli.args import Args
from runjail.errors import UsageError

MAX_ENV_FILE = 1 << 20

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def change(document: dict[str, Any], args: Args, command: list[str]) -> None:
    """Put options into the document; what is malformed stays as it is, for the parser to explain."""
    process = document.get("process")
    if process is None:
        process = document["process"] = {"cwd": "/", "args": []}
    if not isinstance(process, dict):
        return
    if command:
        process["args"] = command
    if args.flag("tty"):
        process["terminal"] = True
    files = args.many("env-file")
    variables = [*(_of_files(files) if files else ()), *environment(args.many("env"))]
    if variables:
        extend(process, "env", variables)


def _of_files(paths: list[str]) -> Iterator[str]:
    """Yield the variables of each --env-file as podman reads it: comments begin with #. Raises UsageError."""
    from runjail.cli.named_option import named
    from runjail.files import read

    for path in paths:
        with named("--env-file", path):
            content = read(os.path.abspath(path), MAX_ENV_FILE).decode("utf-8", "surrogateescape")
        for line, text in enumerate(content.split("\n"), 1):
            text = text.lstrip().removesuffix("\r")
            name = text.partition("=")[0]
            if text and not text.startswith("#") and (not name or name.strip() != name or " " in name):
                raise UsageError(f"--env-file: {path}:{line}: not NAME=VALUE: {text[:80]!r}")
            if text and not text.startswith("#"):
                yield from environment([text])


def environment(wanted: list[str]) -> Iterator[str]:
    """Yield NAME=VALUE for each --env; a bare NAME passes our own variable on, if there is one, as podman does."""
    for text in wanted:
        if "=" in text or not text:
            yield text
        elif text in os.environ:
            yield f"{text}={os.environ[text]}"


def volume_mounts(volumes: list[str]) -> list[dict[str, Any]]:
    """Return the mounts that --volume names. Raises UsageError."""
    mounts = []
    for volume in volumes:
        source, _, rest = volume.partition(":")
        destination, _, options = rest.partition(":")
        if not source or not destination.startswith("/"):
            raise UsageError(f"--volume: not SRC:DST[:ro]: {volume[:200]!r}")
        words = ["rbind", *[word for word in options.split(",") if word]]
        kind, source = ("bind", os.path.abspath(source)) if _is_path(source) else ("volume", source)
        if kind == "bind" and not os.path.lexists(source):
            raise UsageError(f"--volume {volume[:200]}: {source} does not exist")
        mounts.append({"type": kind, "source": source, "destination": destination, "options": words})
    return mounts


def _is_path(source: str) -> bool:
    """Say whether the source of a volume is a path, and not a name: as podman and docker tell them apart."""
    return "/" in source or source.startswith(".")


def extend(document: dict[str, Any], name: str, more: list[Any]) -> None:
    """Add to a list of a document; what is none stays as it is."""
    there = document.get(name) or []
    if isinstance(there, list):
        document[name] = [*there, *more]
