"""A root file system as an image of one layer.

It may be FreeBSD's base.txz, a debootstrap directory, or a jail somebody built.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from runjail.errors import Corrupt, ImageError, reason
from runjail.image import media_types, model
from runjail.image.content.recompress import counted, pack
from runjail.image.content.store import ContentStore
from runjail.image.file_range import FileRange, open_file
from runjail.image.layers import tar_directory
from runjail.image.layers.compression import decompress
from runjail.image.layers.tar import Reader
from runjail.image.model import Descriptor, Manifest, Platform
from runjail.image.transport import Progress


def make_image(
    path: str,
    content: ContentStore,
    name: str,
    *,
    platform: Platform,
    cmd: Sequence[str] = (),
    entrypoint: Sequence[str] = (),
    env: Sequence[str] = (),
    compression: str = "gzip",
    level: int | None = None,
    progress: Progress | None = None,
) -> Descriptor:
    """Make an image of a directory or a tar file (compressed in any way). Return its manifest's descriptor.

    A tar file's content becomes the layer as it is. compression: "gzip", "zstd", or "none". env: `NAME=VALUE` each.
    Equal arguments make equal images. progress hears of the bytes that were read, as of a descriptor without a digest.
    Raises ImageError, Corrupt; nothing stays then but blobs without a name.
    """
    _check(cmd, entrypoint, env)
    chunks = tar_directory.stream(path) if os.path.isdir(path) else _file(path)
    what = Descriptor("", path, os.stat(path).st_size if os.path.isfile(path) else 0)
    report: Callable[[int], object] = (lambda count: progress(what, count)) if progress else (lambda _count: None)
    with content.lease():
        try:
            if not os.path.isdir(path):
                _require_tar(path)
            kind = "" if compression == "none" else compression
            layer, diff_id = pack(content, counted(chunks, report), kind, level)
        except Corrupt as error:
            raise Corrupt(f"{path}: {error}") from None
        config = content.add(model.encode(_config(platform, diff_id, cmd, entrypoint, env)), media_types.OCI_CONFIG)
        manifest = content.add(model.encode(Manifest(config, (layer,)).document()), media_types.OCI_MANIFEST)
        manifest = manifest.replace(platform=_bare(platform))
        content.tag(name, manifest)
    return manifest


def _config(
    platform: Platform, diff_id: str, cmd: Sequence[str], entrypoint: Sequence[str], env: Sequence[str]
) -> dict[str, Any]:
    """Return the image config. It says no time and no os.version: equal trees make equal images."""
    run = {"Env": list(env), "Entrypoint": list(entrypoint), "Cmd": list(cmd)}
    return {
        **model.platform_document(_bare(platform)),
        "config": {key: words for key, words in run.items() if words},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created_by": "runjail image import"}],
    }


def _bare(platform: Platform) -> Platform:
    return Platform(platform.os, platform.architecture, platform.variant)


def _require_tar(path: str) -> None:
    """Raise Corrupt for a file that does not begin as a tar file with anything in it."""
    if next(iter(Reader(decompress(_file(path)))), None) is None:
        raise Corrupt("an empty tar file")


def _check(cmd: Sequence[str], entrypoint: Sequence[str], env: Sequence[str]) -> None:
    for text in env:
        if text.find("=") < 1:
            raise ImageError(f"environment must be NAME=VALUE, not {text[:60]!r}")
    if any("\0" in text for text in (*cmd, *entrypoint, *env)):
        raise ImageError("arguments and environment cannot hold a NUL")


def _file(path: str) -> Iterator[bytes]:
    try:
        part = FileRange(open_file(path), 0, os.stat(path).st_size)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {reason(error)}") from error
    try:
        yield from part.blocks()
    except OSError as error:
        raise ImageError(f"cannot read {path}: {reason(error)}") from error
    finally:
        part.close()
