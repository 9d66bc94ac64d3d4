"""Key providers: programs and services that wrap layer keys in their own way (ocicrypt's docs/keyprovider.md).

`OCICRYPT_KEYPROVIDER_CONFIG` names a JSON file: `{"key-providers": {NAME: {"cmd": {"path", "args"}}}}`, or `"grpc":
"host:port"` with an optional `"grpc-tls"`. A provider gets one JSON document, which holds all key parameters of the
caller, and answers with one.
"""

from __future__ import annotations

import base64
import errno
import os

from runjail import files, jsonio
from runjail.errors import ImageError, InvalidConfig, UnreadableFile
from runjail.image import model
from runjail.image.crypto.options import SchemeError, decode
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from runjail.image.crypto.options import Parameters

VARIABLE = "OCICRYPT_KEYPROVIDER_CONFIG"
LARGEST = 1 << 20  # bytes of the configuration, and of the files that it names
NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_NOTHING: Mapping[str, tuple[bytes | None, ...]] = {}


class Tls(Record):
    """How a gRPC provider is reached with TLS. Files are PEM; without a root the system's are trusted."""

    root_ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""
    insecure_skip_verify: bool = False


class Provider(Record):
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
    said = {name: entry.get(name.replace("_", "-")) for name in Tls._fields}
    for name, value in said.items():
        kind = bool if name == "insecure_skip_verify" else str
        if value is not None and not isinstance(value, kind):
            problems.append(f"{where}.{name.replace('_', '-')}: must be a {'boolean' if kind is bool else 'string'}")
            return None
    if bool(said["cert_file"]) != bool(said["key_file"]):
        problems.append(f"{where}: cert-file and key-file belong together")
    return Tls(**{name: value for name, value in said.items() if value is not None})


def wrap(
    name: str,
    provider: Provider,
    options: bytes,
    parameters: Parameters,
    decrypt_parameters: Parameters = _NOTHING,
) -> bytes:
    """Return the packet that a provider makes of a layer's private options. Raises SchemeError, never with the options.

    parameters: of encryption, of which those below the provider's own name are for it.
    """
    given = {"Parameters": _listed(parameters), "DecryptConfig": {"Parameters": _listed(decrypt_parameters)}}
    question = _question("keywrap", keywrapparams={"ec": given, "optsdata": _encode(options)})
    return _result(name, _ask(name, provider, "WrapKey", question), "keywrapresults", "annotation")


def unwrap(name: str, provider: Provider, packet: bytes, parameters: Parameters) -> bytes:
    """Return the private options in a packet of a provider's. Raises SchemeError."""
    given = {"dc": {"Parameters": _listed(parameters)}, "annotation": _encode(packet)}
    question = _question("keyunwrap", keyunwrapparams=given)
    return _result(name, _ask(name, provider, "UnWrapKey", question), "keyunwrapresults", "optsdata")


def _question(op: str, **params: Any) -> bytes:
    """Return the document for a provider: both params are always there, as Go writes them."""
    unused = {"keywrapparams": {"ec": None, "optsdata": None}, "keyunwrapparams": {"dc": None, "annotation": None}}
    return model.encode({"op": op, **unused, **params})


def _listed(parameters: Parameters) -> dict[str, list[str | None]]:
    return {
        name: [None if value is None else _encode(value) for value in values] for name, values in parameters.items()
    }


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _ask(name: str, provider: Provider, method: str, question: bytes) -> bytes:
    """Put a question to a provider, by its command if it has one."""
    try:
        if provider.command:
            from runjail.image.crypto import keyprovider_cmd

            return keyprovider_cmd.ask(provider.command, question)
        from runjail.image.crypto import keyprovider_grpc

        return keyprovider_grpc.ask(provider, method, question)
    except ImageError as error:
        raise SchemeError(f"key provider {name}: {error}", error.hint) from None


def _result(name: str, answer: bytes, section: str, member: str) -> bytes:
    """Return the one value of an answer. What it holds instead is not shown: it may be the options."""
    try:
        document = jsonio.loads(answer)
    except (ValueError, RecursionError):
        raise SchemeError(f"key provider {name}: its answer is not JSON") from None
    results = model.get(document, section) if isinstance(document, dict) else None
    value = model.get(results, member) if isinstance(results, dict) else None
    if not isinstance(value, str) or not value:
        raise SchemeError(f"key provider {name}: its answer has no {section}.{member}")
    return decode(value, f"{section}.{member} of key provider {name}")
