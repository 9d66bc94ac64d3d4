"""Recipients as the command line gives them, `SCHEME:VALUE`, into ocicrypt's parameters."""

from __future__ import annotations

import os

from runjail.errors import ImageError, UsageError, reason
from runjail.host import programs
from runjail.image.crypto import keyfile, pkcs11
from runjail.image.crypto.keys import merge, provider, read_file
from runjail.image.crypto.options import SchemeError
from runjail.image.crypto.which import PATH, which

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runjail.image.crypto.options import Parameters

LARGEST = 64 << 20  # bytes of a user's public keyring


def read(recipients: Iterable[str]) -> Parameters:
    """Read recipients: jwe:FILE, pkcs7:FILE, pgp:NAME-OR-ADDRESS, pkcs11:FILE, provider:NAME[:ATTRIBUTES].

    Names of pgp are looked up in the keyring of the user's gpg, which is asked for it here. Raises UsageError for what
    is no recipient, ImageError for a file that is not readable or not of the right kind, all in ocicrypt's words.
    """
    found: Parameters = {}
    for recipient in recipients:
        scheme, colon, value = recipient.partition(":")
        if not colon:
            raise UsageError(f"Invalid recipient format: {recipient[:80]!r}")
        if scheme not in READERS:
            raise UsageError(f"Provided protocol not recognized: {scheme[:40]!r}")
        found = merge(found, READERS[scheme](value))
    return {**found, "gpg-pubkeyringfile": (_keyring(),)} if "gpg-recipients" in found else found


def _jwe(path: str) -> Parameters:
    content, _mode = read_file(path)
    if not _is_public_key(content):
        raise ImageError(f"File provided is not a public key: {path}")
    return {"pubkeys": (content,)}


def _pkcs7(path: str) -> Parameters:
    content, _mode = read_file(path)
    try:
        keyfile.certificate(content)
    except SchemeError:
        raise ImageError(f"File provided is not an x509 cert: {path}") from None
    return {"x509s": (content,)}


def _pkcs11(path: str) -> Parameters:
    content, _mode = read_file(path)
    if pkcs11.is_pkcs11_yaml(content):
        return {"pkcs11-yamls": (content,)}
    if _is_public_key(content):
        return {"pkcs11-pubkeys": (content,)}
    raise ImageError(f"Provided file is not a public key: {path}")


def _pgp(name: str) -> Parameters:
    return {"gpg-recipients": (name.encode(),)}


READERS: dict[str, Callable[[str], Parameters]] = {
    "jwe": _jwe,
    "pgp": _pgp,
    "pkcs7": _pkcs7,
    "pkcs11": _pkcs11,
    "provider": provider,
}


def _is_public_key(content: bytes) -> bool:
    try:
        keyfile.public_key(content)
    except SchemeError:
        return False
    return True


def _keyring() -> bytes:
    """Return the public keys of the user's gpg. Raises ImageError."""
    gpg = which("gpg2", "gpg")
    if not gpg:
        raise ImageError("PGP: gpg is not installed", "install the port security/gnupg")
    home = {name: os.environ[name] for name in ("HOME", "GNUPGHOME") if name in os.environ}
    try:
        result = programs.run([gpg, "--batch", "--export"], env={"LC_ALL": "C", "PATH": PATH} | home, limit=LARGEST)
    except OSError as error:
        raise ImageError(f"PGP: cannot start {gpg}: {reason(error)}") from None
    if result.status or result.timed_out:
        raise ImageError(f"PGP: gpg cannot export public keys: {programs.first_line(result.stderr)}")
    return result.stdout
