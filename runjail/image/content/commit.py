"""An image of a container: its image's layers, one more of what it changed, a changed config."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runjail import log
from runjail.errors import UsageError
from runjail.image import media_types, model
from runjail.image.content.recompress import as_oci, pack
from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor
from runjail.image.resolve import Image

LISTS = ("CMD", "ENTRYPOINT")
TEXTS = {"USER": "User", "WORKDIR": "WorkingDir", "STOPSIGNAL": "StopSignal"}
SETS = {"EXPOSE": "ExposedPorts", "VOLUME": "Volumes"}
RUN = ("Cmd", "Entrypoint", *TEXTS.values(), *SETS.values(), "Env", "Labels")
TOP = ("config", "rootfs", "history", "created", "author")
WORDS = (*LISTS, *TEXTS, *SETS, "ENV", "LABEL")
SHELL = ["/bin/sh", "-c"]


@dataclass(frozen=True)
class Note:
    """What the config says of how an image came to be."""

    created_by: str
    author: str = ""
    comment: str = ""


def commit(
    content: ContentStore, image: Image, blob: Iterable[bytes], changes: Sequence[str], note: Note, added: set[str]
) -> Descriptor:
    """Return the manifest of an image with one more layer. It has no name; the caller holds the content's lease.

    blob: the layer, a tar stream. changes: instructions of a Containerfile. added: gets the digests of new blobs.
    Raises UsageError for an instruction that is none, ImageError, Corrupt.
    """
    document = _spelled(image.config.data, TOP)
    for text in changes:
        change(document, text)
    layer, diff_id = pack(content, blob, "gzip")
    added.add(layer.digest)
    now = log.timestamp(time.time_ns())
    document["rootfs"] = {"type": "layers", "diff_ids": [*image.config.diff_ids, diff_id]}
    entry = {"created": now, "created_by": note.created_by, "author": note.author, "comment": note.comment}
    document["history"] = [*document.get("history", []), {key: text for key, text in entry.items() if text}]
    document["created"] = now
    if note.author:
        document["author"] = note.author
    config = content.add(model.encode(document), media_types.OCI_CONFIG)
    manifest = as_oci(image.manifest.replace(config=config), [*image.manifest.layers, layer])
    made = content.add(model.encode(manifest.document()), media_types.OCI_MANIFEST)
    added.update((config.digest, made.digest))
    return made.replace(platform=image.descriptor.platform)


def change(document: dict[str, Any], text: str) -> None:
    """Apply one instruction, `CMD ["/bin/sh"]`, `CMD=/bin/sh`, `ENV A=B`, to an image config. Raises UsageError."""
    name, value = _split(text)
    run = document["config"] = _spelled(document.get("config") or {}, RUN)
    if name in LISTS:
        run[name.capitalize()] = _words(value)
        if name == "ENTRYPOINT":
            run.pop("Cmd", None)
    elif name in TEXTS:
        run[TEXTS[name]] = value
    elif name in SETS:
        run[SETS[name]] = {**run.get(SETS[name], {}), **{key: {} for key in _places(name, value)}}
    else:
        key, equals, what = value.partition("=") if "=" in value.split(" ")[0] else value.partition(" ")
        if not key or not equals:
            raise UsageError(f"--change: {name} needs NAME=VALUE: {text[:80]!r}")
        _set(run, name, key, what.strip('"'))


def _spelled(document: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return an object whose members of these names are called so, whatever their case was; without those of null.

    A second one that differs only in case would be another value for Go, and so for whoever runs the image.
    """
    any_case = {name.lower() for name in names}
    others = {key: value for key, value in document.items() if key.lower() not in any_case}
    return others | {name: found for name in names if (found := model.get(document, name)) is not None}


def _split(text: str) -> tuple[str, str]:
    """Return the instruction, in capitals, and what it says."""
    end = min((text.find(mark) for mark in " =" if mark in text), default=len(text))
    name, value = text[:end].upper(), text[end + 1 :].strip()
    if name not in WORDS or not value:
        raise UsageError(f"--change: not an instruction: {text[:80]!r}", f"one of {', '.join(WORDS)} and its value")
    return name, value


def _list(value: str) -> list[str] | None:
    """Return the words of a JSON list, None when it is none."""
    try:
        found = json.loads(value) if value.startswith("[") else None
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(word, str) for word in found) else None


def _words(value: str) -> list[str]:
    """Return a command; what is no list is for the shell, as in a Containerfile."""
    found = _list(value)
    return [*SHELL, value] if found is None else found


def _places(name: str, value: str) -> list[str]:
    found = _list(value)
    places = value.split() if found is None else found
    return [place if name == "VOLUME" or "/" in place else f"{place}/tcp" for place in places]


def _set(run: dict[str, Any], name: str, key: str, what: str) -> None:
    if name == "LABEL":
        run["Labels"] = {**run.get("Labels", {}), key.strip('"'): what}
    else:
        kept = [text for text in run.get("Env", []) if text.partition("=")[0] != key]
        run["Env"] = [*kept, f"{key}={what}"]
