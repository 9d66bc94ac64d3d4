"""Which key providers there are: the file of OCICRYPT_KEYPROVIDER_CONFIG.

See ocicrypt's docs/keyprovider.md. It is JSON: `{"key-providers": {NAME: {"cmd": {"path", "args"}}}}`, or `"grpc":
"host:port"` with an optional `"grpc-tls"`.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Any

from runjail import files, jsonio
from runjail.errors import InvalidConfig, UnreadableFile
from runjail.image import model

VARIABLE = "OCICRYPT_KEYPROVIDER_CONFIG"
LARGEST = 1 << 20  # bytes of the configuration, and of the files that it names
NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@dataclass(frozen=True)
class Tls:
    """How a gRPC provider is reached with TLS. Files are PEM; without a root the system's are trusted."""

    root_ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    insecure_skip_verify: bool = False


@dataclass(frozen=True)
class Provider:
    """How to ask a provider: a command, path first, or else a gRPC service at host:port."""

    command: tuple[str, ...] = ()
    grpc: str = ""
    tls: Tls | None = None


def valid_name(name: str) -> bool:
    """Whether a provider may be called that: it becomes part of an annotation's name."""
    return 0 < len(name) <= 128 and NAME.issuperset(name)


def configured() -> dict[str, Provider]:
    """Return the providers that OCICRYPT_KEYPROVIDER_CONFIG of this process' environment configures; see `read`."""
    path = os.environ.get(VARIABLE, "")
    return read(path) if path else {}


def read(path: str) -> dict[str, Provider]:
    """Return the providers of a configuration file by name; none when there is no such file.

    Raises InvalidConfig naming the file and every mistake in it.
    """
    try:
        document = jsonio.loads(files.read(path, LARGEST))
    except UnreadableFile as error:
        if error.errno == errno.ENOENT:
            return {}
        raise InvalidConfig([error.why], path) from None
    except (ValueError, RecursionError) as error:
        raise InvalidConfig([f"not JSON: {error}"], path) from None
    entries = model.get(document, "key-providers") if isinstance(document, dict) else None
    if not isinstance(entries, dict):
        raise InvalidConfig(["key-providers: must be an object"], path)
    problems: list[str] = []
    providers = {name: _provider(name, entry, problems) for name, entry in entries.items()}
    if problems:
        raise InvalidConfig(problems, path)
    return providers


def _provider(name: str, entry: Any, problems: list[str]) -> Provider:
    """Read one provider; mistakes are added to `problems`."""
    where = f"key-providers.{name[:128]}"
    if not valid_name(name):
        problems.append(f"{where}: a name consists of letters, digits, dot, underscore and hyphen")
    if not isinstance(entry, dict):
        problems.append(f"{where}: must be an object")
        return Provider()
    command, grpc, tls = (model.get(entry, member) for member in ("cmd", "grpc", "grpc-tls"))
    if command is None and grpc is None:
        problems.append(f"{where}: Unsupported keyprovider invocation. Supported invocation methods are grpc and cmd")
    if grpc is not None and not (isinstance(grpc, str) and grpc):
        problems.append(f"{where}.grpc: must be host:port")
        grpc = ""
    words = _command(f"{where}.cmd", command, problems) if command is not None else ()
    return Provider(words, grpc or "", _tls(f"{where}.grpc-tls", tls, problems) if tls is not None else None)


def _command(where: str, command: Any, problems: list[str]) -> tuple[str, ...]:
    path = model.get(command, "path") if isinstance(command, dict) else None
    words = (model.get(command, "args") or []) if isinstance(command, dict) else []
    if not isinstance(path, str) or not path or "\0" in path:
        problems.append(f"{where}.path: must be the program's path or name")
        return ()
    if not isinstance(words, list) or not all(isinstance(word, str) and "\0" not in word for word in words):
        problems.append(f"{where}.args: must be a list of strings")
        return ()
    return (path, *words)


def _tls(where: str, entry: Any, problems: list[str]) -> Tls | None:
    if not isinstance(entry, dict):
        problems.append(f"{where}: must be an object")
        return None
    values = {name: entry.get(name.replace("_", "-")) for name in Tls.__dataclass_fields__}
    for name, value in values.items():
        kind = bool if name == "insecure_skip_verify" else str
        if value is not None and not isinstance(value, kind):
            problems.append(f"{where}.{name.replace('_', '-')}: must be a {'boolean' if kind is bool else 'string'}")
            return None
    if bool(values["cert_file"]) != bool(values["key_file"]):
        problems.append(f"{where}: cert-file and key-file belong together")
    return Tls(**{name: value for name, value in values.items() if value is not None})
