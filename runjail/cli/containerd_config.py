"""check --containerd: does a config.toml of containerd lead to us, and to our keys.

See stream_processors in its documentation.
"""

from __future__ import annotations

import itertools
import os
import tomllib
from typing import Any

from runjail import files
from runjail.errors import UnreadableFile, UsageError, reason

Row = tuple[str, bool, str, str]  # what, works, found, remedy

RUNTIME = "io.containerd.runjail.v1"
SHIM = "containerd-shim-runjail-v1"
DECODER = "ctd-decoder"
TAR = "application/vnd.oci.image.layer.v1.tar"
# Only to stream processors of these names does containerd send the layer's description, without which none decrypts.
IDS = {"io.containerd.ocicrypt.decoder.v1.tar.gzip": f"{TAR}+gzip", "io.containerd.ocicrypt.decoder.v1.tar": TAR}
CONTENT_OPTION = "--content-store"
KEYS_OPTION = "--decryption-keys-path"
PROVIDER_VARIABLE = "OCICRYPT_KEYPROVIDER_CONFIG="
# Where CRI's configuration is: containerd 1.x (version = 2), and 2.x (version = 3 and later)
CRI = ("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images")
LARGEST = 1 << 20  # bytes


def rows(path: str) -> list[Row]:
    """Return what works and what mends the rest. Raises UsageError for a file that is no TOML."""
    try:
        document = tomllib.loads(files.read(path, LARGEST).decode())
    except UnreadableFile as error:
        raise UsageError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from None
    return [
        _version(document),
        _program(SHIM),
        _runtime(document),
        *_decoders(document),
        _key_model(document),
        _payload(document),
    ]


def table(document: object, *names: str) -> dict[str, Any]:
    """Return a table inside a table, {} for whatever is not there or is no table."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _version(document: dict[str, Any]) -> Row:
    version = document.get("version", 1)
    known = version in (2, 3, 4)
    return ("version", known, str(version), "" if known else "version = 2 (containerd 1.x) or 3 (2.x) at its top")


def _program(name: str) -> Row:
    found = which(name)
    return (name, bool(found), found or "not in PATH", "" if found else "make install, or copy it into PATH")


def which(name: str) -> str:
    """Return the path of a program as containerd would find it, "" when it is not there."""
    if "/" in name:
        return name if os.access(name, os.X_OK) else ""
    directories = os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":")
    paths = (os.path.join(directory, name) for directory in directories if directory)
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), "")


def _runtime(document: dict[str, Any]) -> Row:
    for plugin in CRI[:2]:
        runtimes = table(document, "plugins", plugin, "containerd", "runtimes")
        for name, runtime in runtimes.items():
            if table(runtime).get("runtime_type") == RUNTIME:
                return ("CRI runtime", True, f"runtimes.{name} of {plugin}", "")
    plugin = CRI[0] if document.get("version") == 2 else CRI[1]
    line = f"[plugins.'{plugin}'.containerd.runtimes.runjail] runtime_type = '{RUNTIME}'"
    return ("CRI runtime", False, f"no runtime with runtime_type {RUNTIME}", line)


def _decoders(document: dict[str, Any]) -> list[Row]:
    processors = table(document, "stream_processors")
    found: list[Row] = []
    accepted: list[str] = []
    for name, returned in IDS.items():
        processor = table(processors, name)
        accepts = processor.get("accepts")
        accepted += accepts if isinstance(accepts, list) else []
        found.append(_decoder(name, returned, processor))
    zstd = f"{TAR}+zstd+encrypted" in accepted
    remedy = "" if zstd else f"add {TAR}+zstd+encrypted to accepts of {next(iter(IDS))}"
    found.append(("encrypted zstd layers", zstd, "accepted" if zstd else "not accepted", remedy))
    others = [name for name, each in processors.items() if name not in IDS and _is_decoder(table(each))]
    for name in others:
        found.append(
            (name, False, "containerd sends no keys to a processor of this name", f"call it {next(iter(IDS))}")
        )
    return found


def _is_decoder(processor: dict[str, Any]) -> bool:
    return str(processor.get("path", "")).rpartition("/")[2] == DECODER


def _decoder(name: str, returned: str, processor: dict[str, Any]) -> Row:
    """Look at one stream processor: the program, what it accepts and returns, and its keys."""
    if not processor:
        return (
            name,
            False,
            "not configured",
            f"[stream_processors.'{name}'] as in docs/encrypted-images-containerd.md",
        )
    path = str(processor.get("path", ""))
    if not which(path):
        return (name, False, f"path {path or 'missing'}: no program", f"path = '{which(DECODER) or DECODER}'")
    if f"{returned}+encrypted" not in (processor.get("accepts") or []):
        return (name, False, "does not accept its own layers", f"accepts = ['{returned}+encrypted']")
    if processor.get("returns") != returned:
        return (name, False, f"returns {processor.get('returns')}", f"returns = '{returned}'")
    where, works = _keys(processor)
    return (name, works, where, "" if works else f"args = ['{KEYS_OPTION}', 'DIRECTORY'] with a directory of keys")


def _keys(processor: dict[str, Any]) -> tuple[str, bool]:
    """Return where a decoder's keys come from, and whether there are any."""
    arguments = [str(word) for word in processor.get("args") or []]
    environment = [str(line) for line in processor.get("env") or []]
    file = next(
        (line.removeprefix(PROVIDER_VARIABLE) for line in environment if line.startswith(PROVIDER_VARIABLE)), ""
    )
    directory = next((word for before, word in itertools.pairwise(arguments) if before == KEYS_OPTION), "")
    if file and os.path.isfile(file):
        return f"key providers of {file}", True
    try:
        return (f"keys in {directory}", True) if directory and os.listdir(directory) else ("no keys", False)
    except OSError as error:
        return f"{directory}: {reason(error)}", False


def _key_model(document: dict[str, Any]) -> Row:
    for plugin in CRI:
        model = table(document, "plugins", plugin, "image_decryption").get("key_model", "node")
        if model != "node":
            return ("CRI image_decryption", False, f"key_model = {model!r}", "key_model = 'node'")
    return ("CRI image_decryption", True, "key_model = 'node'", "")


def _payload(document: dict[str, Any]) -> Row:
    """Say whether decoders are told of the layer: containerd 2.1 and later fetch by a service that sends nothing."""
    name = "CRI payload"
    if document.get("version") not in (3, 4):
        return (name, True, "sent by containerd 1.x", "")
    if table(document, "plugins", CRI[2]).get("use_local_image_pull") is True:
        return (name, True, "sent: use_local_image_pull", "")
    decoders = [each for each in map(table, table(document, "stream_processors").values()) if _is_decoder(each)]
    if decoders and all(_has_content(each.get("args")) for each in decoders):
        return (name, True, f"read from {CONTENT_OPTION}", "")
    remedy = f"[plugins.'{CRI[2]}'] use_local_image_pull = true, or {CONTENT_OPTION} in args"
    return (name, False, "containerd 2.1 and later send none", remedy)


def _has_content(arguments: object) -> bool:
    words = [str(word) for word in arguments] if isinstance(arguments, list) else []
    return any(word.split("=", 1)[0] == CONTENT_OPTION for word in words)
