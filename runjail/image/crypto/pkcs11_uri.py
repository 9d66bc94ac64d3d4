"""PKCS#11 URIs, the key files that hold them, and which modules may be loaded.

See RFC 7512. A key file is YAML: `pkcs11: {uri: "pkcs11:token=…;object=…?pin-source=…"}` and, when the module needs
environment variables, `module: {env: {NAME: value}}`. The policy is `OCICRYPT_CONFIG`, a YAML file too.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runjail import files
from runjail.errors import RunjailError, UnreadableFile
from runjail.image.crypto.options import SchemeError

SCHEME = "pkcs11:"
LARGEST = 1 << 16  # bytes of a key file, a policy and a PIN file
INTERNAL = tuple(
    "/usr/lib64/pkcs11/ /usr/lib/pkcs11/ /usr/local/lib/pkcs11/ /usr/lib/softhsm/ /usr/local/lib/softhsm/ "
    "/usr/lib/x86_64-linux-gnu/softhsm/ /usr/lib/aarch64-linux-gnu/softhsm/".split()
)
ATTRIBUTES = frozenset(
    "token manufacturer serial model library-manufacturer library-version library-description object type id slot-id "
    "slot-manufacturer slot-description pin-source pin-value module-name module-path".split()
)


@dataclass(frozen=True)
class Uri:
    """What a URI says, percent-encoding removed: RFC 7512's attributes by name. An absent one is not in `said`."""

    attributes: tuple[tuple[str, bytes], ...]

    def get(self, name: str) -> str:
        """Return an attribute as text, "" when it is absent."""
        return dict(self.attributes).get(name, b"").decode("utf-8", "replace")

    @property
    def id(self) -> bytes:
        """CKA_ID: bytes, not text."""
        return dict(self.attributes).get("id", b"")

    @property
    def slot(self) -> int | None:
        """The number of the slot; None when the token's label chooses it."""
        slot = self.get("slot-id")
        return int(slot) if slot else None


def parse(text: str) -> Uri:
    """Read a URI. Raises SchemeError saying which part is wrong; a PIN never appears in it."""
    if not text.startswith(SCHEME):
        raise SchemeError(f"PKCS11: a URI starts with {SCHEME}")
    path, _, query = text.removeprefix(SCHEME).partition("?")
    attributes: dict[str, bytes] = {}
    for part in filter(None, [*path.split(";"), *query.split("&")]):
        name, equals, value = part.partition("=")
        if name not in ATTRIBUTES and not name.startswith("x-"):
            raise SchemeError(f"PKCS11: unknown attribute {name!r} in a URI")
        if not equals or name in attributes:
            raise SchemeError(f"PKCS11: attribute {name} of a URI {'is given twice' if equals else 'has no value'}")
        attributes[name] = urllib.parse.unquote_to_bytes(value)
    if not set(attributes).isdisjoint({"slot-id"}) and not attributes["slot-id"].isdigit():
        raise SchemeError("PKCS11: slot-id of a URI must be a number")
    if "pin-value" in attributes and "pin-source" in attributes:
        raise SchemeError("PKCS11: a URI gives either pin-value or pin-source")
    return Uri(tuple(attributes.items()))


def pin(uri: Uri) -> str:
    """Return the PIN a URI gives, itself or by the name of a file (a path, or `file:` and a path).

    Raises SchemeError when there is none or the file cannot be read. One newline at the file's end is no part of it.
    """
    given = dict(uri.attributes)
    if "pin-value" in given:
        return uri.get("pin-value")
    source = uri.get("pin-source")
    if not source:
        raise SchemeError("PKCS11: the URI has neither pin-value nor pin-source")
    path = source.removeprefix("file:").replace("//", "/", 1) if source.startswith("file:") else source
    if not path.startswith("/"):
        raise SchemeError(f"PKCS11: pin-source {source}: not an absolute path")
    return _read(path, "PIN file").decode("utf-8", "replace").removesuffix("\n")


def _read(path: str, what: str) -> bytes:
    try:
        return files.read(path, LARGEST)
    except UnreadableFile as error:
        raise SchemeError(f"PKCS11: the {what} {error}") from None


@dataclass(frozen=True)
class KeyFile:
    """A key in a PKCS#11 module: where, and the environment that the module wants."""

    uri: Uri
    env: tuple[tuple[str, str], ...] = ()


def is_yaml(data: bytes) -> bool:
    """Whether a file is a PKCS#11 key file. Does not need the YAML package when it plainly is none."""
    if len(data) > LARGEST or b"pkcs11" not in data or b"uri" not in data or b"-----BEGIN" in data:
        return False
    try:
        document = _yaml(data, "key file")
    except SchemeError:
        return False
    return isinstance(document.get("pkcs11"), dict) and "uri" in document["pkcs11"]


def _yaml(data: bytes, what: str) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise RunjailError(
            f"PKCS11: a {what} is YAML", "install the port devel/py-pyyaml, or runjail[pkcs11]"
        ) from None
    try:
        document = yaml.safe_load(data[:LARGEST])
    except (yaml.YAMLError, ValueError, RecursionError):  # its words would quote the PIN
        raise SchemeError(f"PKCS11: the {what} is not YAML") from None
    if not isinstance(document, dict):
        raise SchemeError(f"PKCS11: the {what} is not a YAML mapping")
    return document


def key_file(data: bytes) -> KeyFile:
    """Read a key file. Raises SchemeError saying what is wrong with it."""
    document = _yaml(data, "key file")
    key, module = document.get("pkcs11"), document.get("module") or {}
    if not isinstance(key, dict) or not isinstance(key.get("uri"), str):
        raise SchemeError("PKCS11: the key file has no pkcs11.uri")
    env = (module.get("env") or {}) if isinstance(module, dict) else None
    if not isinstance(env, dict) or not all(isinstance(name, str) and "=" not in name for name in env):
        raise SchemeError("PKCS11: module.env of the key file must map names to values")
    return KeyFile(parse(key["uri"]), tuple((name, str(value)) for name, value in env.items()))


@dataclass(frozen=True)
class Policy:
    """Where modules are looked for by name, and which files may be loaded; a directory with its / allows its files."""

    directories: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()

    def module(self, uri: Uri) -> str:
        """Return the file of a URI's module. Raises SchemeError when it is not found or not allowed."""
        path, name = uri.get("module-path"), uri.get("module-name")
        if not path and not name:
            raise SchemeError("PKCS11: the URI names no module: module-path or module-name")
        if not path:
            path = self._find(name)
        elif os.path.isdir(path):
            path = self._find(name, path)
        real = os.path.normpath(path)
        if path != real or not (real in self.allowed or f"{os.path.dirname(real)}/" in self.allowed):
            raise SchemeError(
                f"PKCS11: module {path} is not allowed", "allowed-module-paths in the file OCICRYPT_CONFIG"
            )
        return real

    def _find(self, name: str, *directories: str) -> str:
        if not name or "/" in name:
            raise SchemeError(f"PKCS11: module-name {name!r} is no name of a module")
        for directory in directories or self.directories:
            for file in (f"{name}.so", f"lib{name}.so", name):
                path = os.path.join(directory, file)
                if os.path.isfile(path):
                    return path
        raise SchemeError(f"PKCS11: module {name} is in none of the module directories")


def policy(data: bytes) -> Policy:
    """Read a policy: YAML with `module-directories` and `allowed-module-paths`. Raises SchemeError.

    In a file they stand below `pkcs11`; in the parameter `pkcs11-config`, which ocicrypt hands on, they do not.
    """
    if data.strip() == b"internal":
        return Policy(INTERNAL, INTERNAL)
    document = _yaml(data, "OCICRYPT_CONFIG file")
    section = document.get("pkcs11", document) or {}
    if not isinstance(section, dict):
        raise SchemeError("PKCS11: pkcs11 in the OCICRYPT_CONFIG file must be a mapping")
    lists = [section.get(name) or [] for name in ("module-directories", "allowed-module-paths")]
    for paths in lists:
        if not isinstance(paths, list) or not all(isinstance(path, str) and path.startswith("/") for path in paths):
            raise SchemeError("PKCS11: the OCICRYPT_CONFIG file must list absolute paths")
    return Policy(tuple(lists[0]), tuple(lists[1]))


def find_policy(environment: Mapping[str, str]) -> Policy:
    """Return the policy of OCICRYPT_CONFIG (`internal`, or a file), else of the first of ocicrypt's files that exists.

    Raises SchemeError, with ocicrypt's words when there is none: then no module may be loaded.
    """
    named = environment.get("OCICRYPT_CONFIG", "")
    if named:
        return policy(b"internal" if named == "internal" else _read(named, "OCICRYPT_CONFIG file"))
    home, config = environment.get("HOME", ""), environment.get("XDG_CONFIG_HOME", "")
    places = [f"{config}/ocicrypt.conf"] * bool(config) + [f"{home}/.config/ocicrypt.conf"] * bool(home)
    for path in [*places, "/etc/ocicrypt.conf"]:
        if os.path.exists(path):
            return policy(_read(path, "OCICRYPT_CONFIG file"))
    raise SchemeError("PKCS11: No ocicrypt config file was found")
