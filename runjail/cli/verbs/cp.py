"""cp: files and directories between containers and the host, as docker and podman copy them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from runjail import files, log
from runjail.cli.args import Args, flag
from runjail.cli.context import Context
from runjail.container.container import Runtime
from runjail.container.files_inside import open_root, owner
from runjail.errors import UsageError
from runjail.image.layers import cp
from runjail.image.layers.cp import Place

Owner = tuple[int, int] | None

HELP = "copy files between a container and the host"
ARGS = ("SRC", "DST")
OPTIONS = (
    flag("archive", "a", "what comes into a container belongs to its user (default); =false: to its owner"),
    flag("quiet", "q", "say nothing of what is left out"),
)
STREAM = "-"


def run(args: Args, context: Context) -> int:
    """Copy from SRC to DST: one or both are ID:PATH, one may be `-`, an archive on standard input or output."""
    source, target = args.positionals
    if source == target == STREAM:
        raise UsageError("cp: one side may be -, not both")
    if not (_split(source)[0] or _split(target)[0]):
        raise UsageError("cp: one side must be ID:PATH", "usage: runjail cp ID:PATH DST, or runjail cp SRC ID:PATH")
    runtime = context.runtime()
    with _place(source, runtime) as (origin, _owner), _place(target, runtime) as (place, owner):
        keep = "archive" in args.options and not args.flag("archive")
        warnings = _copy(origin, place, None if keep else owner)
    for text in () if args.flag("quiet") else warnings:
        log.warning(text)
    return 0


def _copy(source: Place | None, target: Place | None, owner: Owner) -> list[str]:
    if source and target:
        return cp.copy(source, target, owner)
    if target:
        return cp.extract(iter(lambda: os.read(0, 1 << 20), b""), target, owner)
    assert source, "both are no streams"
    stream = cp.Stream(source)
    try:
        for chunk in stream.archive(b"." if stream.contents else stream.name):
            files.write_all(1, chunk)
    finally:
        stream.close()
    return []


def _split(text: str) -> tuple[str, str]:
    """Return the id and the path of ID:PATH, "" as id for a path of the host: one that begins with / or a dot."""
    container_id, colon, path = text.partition(":")
    if not colon or not container_id or "/" in container_id or container_id.startswith("."):
        return "", text
    return container_id, path or "/"


@contextmanager
def _place(text: str, runtime: Runtime) -> Iterator[tuple[Place | None, Owner]]:
    """Open the tree that a word is about, and say whose what is made there is to be."""
    container_id, path = _split(text)
    if text == STREAM:
        yield None, None
        return
    if container_id:
        container = runtime.find(container_id)
        root, whose, modes = open_root(container), owner(container), 0o7777
    else:
        path = os.path.join(os.getcwd(), path)  # not abspath, which drops a final /. (contents, not the directory)
        root, whose = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), (os.geteuid(), os.getegid())
        modes = 0o1777  # no set-id bits: a program copied out of a container must not run as another user of the host
    try:
        yield Place(root, path, text, modes), whose
    finally:
        os.close(root)
