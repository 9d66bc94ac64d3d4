"""Keys and recipients as the command line and key directories give them, into ocicrypt's parameters.

Two things are stricter than ocicrypt's helper. A file that is no key is an error, as in imgcrypt, and not passed over:
it is a typing mistake. And a key directory (ctd-decoder's --decryption-keys-path) may hold nothing but keys and
certificates: ctd-decoder takes an empty file for an empty keyring, and waits for ever at a FIFO.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from runjail import log
from runjail.errors import ImageError, UsageError, reason
from runjail.files import await_data
from runjail.image.crypto import keyfile
from runjail.image.crypto.ocicrypt import SCHEMES, of_schemes
from runjail.image.crypto.options import Parameters, SchemeError
from runjail.sizes import read_descriptor

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

Found = dict[str, tuple[bytes | None, ...]]

VISIBLE = "give it as FILE:file=PATH or FILE:fd=N"
PASSWORD = 64  # bytes that are read from a password's descriptor, as in ocicrypt
PUBLIC = {"x509s"}  # what others may read of what is in key files


def read_keys(specifications: Iterable[str]) -> Parameters:
    """Read what --key gives: FILE, FILE:PASSWORD, FILE:pass=TEXT, FILE:file=PATH, FILE:fd=N, provider:NAME[:ATTRS].

    The path ends at the first colon; the rest, colons included, is the password. A password file is taken whole, its
    last newline too. Raises ImageError: not readable, no key, in ocicrypt's words a missing or wrong password.
    """
    found: Found = {}
    for specification in specifications:
        if specification.startswith("provider:"):
            found = merge(found, provider(specification.removeprefix("provider:")))
            continue
        path, content, mode, password = _read(specification, "--key")
        sorted_out = _sort(path, content, mode, password)
        if not sorted_out:
            raise ImageError(f"unidentified private key in file {path}")
        found = merge(found, sorted_out)
    return found


def read_signing_key(specification: str, option: str) -> PrivateKeyTypes:
    """Read a key that signs: FILE, with its password as in `read_keys`. A password file's last line end is not its own.

    Raises ImageError: not readable, no key, a password that is missing or wrong.
    """
    path, content, mode, password = _read(specification, option)
    try:
        found = keyfile.private_key(content, password and password.removesuffix(b"\n"))
    except SchemeError as error:
        raise ImageError(f"{option} {path}: {error}") from None
    _warn_of_readers(path, mode)
    return found


def _read(specification: str, option: str) -> tuple[str, bytes, int, bytes | None]:
    """Return a key file's path, content, mode and password, None without one."""
    path, colon, secret = specification.partition(":")
    if secret and not secret.startswith(("file=", "fd=")):
        log.warning(f"the password of {option} {path} is seen by all users of this machine, in ps(1): {VISIBLE}")
    return path, *keyfile.read(path), _password(secret) if colon else None


def read_recipients(recipients: Iterable[str]) -> Parameters:
    """Read what --recipient gives: SCHEME:VALUE, or provider:NAME[:ATTRIBUTES]. Who is given twice is one recipient.

    Raises UsageError for what is no recipient, ImageError for a file that is not readable or not of the right kind.
    """
    found: Found = {}
    for text in recipients:
        scheme, colon, value = text.partition(":")
        if not colon:
            raise UsageError(f"Invalid recipient format: {text[:80]!r}", f"a recipient is {recipient_forms()}")
        if scheme != "provider" and scheme not in SCHEMES:
            raise UsageError(
                f"Provided protocol not recognized: {scheme[:40]!r}", f"a recipient is {recipient_forms()}"
            )
        found = merge(found, provider(value) if scheme == "provider" else SCHEMES[scheme].recipient(value))
    return {name: tuple(dict.fromkeys(values)) for name, values in found.items()}


def recipient_forms() -> str:
    """Return how a recipient may be given, for people."""
    forms = [f"{name}:{scheme.RECIPIENT}" for name, scheme in SCHEMES.items()]
    return f"{', '.join(forms)} or provider:NAME[:ATTRIBUTES]"


def read_directory(path: str) -> Parameters:
    """Read every file below a key directory; {} when it is empty. There are no passwords.

    Raises ImageError for what is no key, a symbolic link anywhere, and what cannot be read: a directory with a fault is
    used not at all. Links are not followed even when they appear meanwhile.
    """
    found: Found = {}
    try:
        for name, content, mode in _files(path):
            sorted_out = _sort(name, content, mode, None)
            if not sorted_out:
                raise ImageError(f"Unknown decryption key type: {name}")
            found = merge(found, sorted_out)
    except OSError as error:
        raise ImageError(f"unable to get decryption keys in provided key path: {path}: {reason(error)}") from None
    return found


def merge(first: Parameters, second: Parameters) -> Found:
    """Return the parameters of both, the values of each name one after another."""
    return {name: (*first.get(name, ()), *second.get(name, ())) for name in [*first, *(set(second) - set(first))]}


def provider(text: str) -> Found:
    """Return the parameter for a key provider: NAME, or NAME:ATTRIBUTES. Raises UsageError."""
    name, colon, attributes = text.partition(":")
    if not name or name in of_schemes():
        raise UsageError(f"not a key provider's name: {name[:40]!r}")
    return {name: (attributes.encode() if colon else b"Enabled",)}


def _sort(path: str, content: bytes, mode: int, password: bytes | None) -> Found:
    """Return a file's content under its names, {} when it is none we know."""
    try:
        found = kinds(content, password)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    if set(found) - PUBLIC:
        _warn_of_readers(path, mode)
    passwords = of_schemes().intersection(f"{kind}-passwords" for kind in found)
    return dict.fromkeys(found, (content,)) | dict.fromkeys(passwords, (password,))


def _warn_of_readers(path: str, mode: int) -> None:
    if mode & (stat.S_IRGRP | stat.S_IROTH) and not stat.S_ISFIFO(mode):
        log.warning(f"others can read the private key in {path}: its mode is {stat.S_IMODE(mode):04o}")


def kinds(content: bytes, password: bytes | None = None) -> tuple[str, ...]:
    """Return under which parameters a file's content belongs, () when it is nothing that a scheme knows.

    Private key and certificate may be in one file. Raises SchemeError for a password that is missing or wrong.
    """
    return tuple(dict.fromkeys(name for scheme in SCHEMES.values() for name in scheme.recognise(content, password)))


def _password(text: str) -> bytes:
    kind, equals, value = text.partition("=")
    if equals and kind == "pass":
        return os.fsencode(value)
    if equals and kind == "file":
        return keyfile.read(value)[0]
    return _from_descriptor(value) if equals and kind == "fd" else os.fsencode(text)


def _from_descriptor(text: str) -> bytes:
    """Read a password from an open descriptor, once, and close that, so that no program inherits it."""
    descriptor = read_descriptor(text)
    if descriptor is None:
        raise UsageError(f"could not parse file descriptor {text[:20]!r}")
    try:
        await_data(descriptor)
        password = os.read(descriptor, PASSWORD)
        if descriptor > 2:
            os.close(descriptor)
    except OSError as error:
        raise ImageError(f"could not read from file descriptor {text}: {reason(error)}") from None
    return password


def _files(path: str) -> Iterator[tuple[str, bytes, int]]:
    """Yield path, content and mode of every file below a directory. Raises OSError, ImageError."""
    if stat.S_ISLNK(os.lstat(path).st_mode):
        raise ImageError(f"Symbolic links not supported in decryption keys paths: {path}")
    for directory, directories, files, descriptor in os.fwalk(path, onerror=_raise):
        directories.sort()
        for name in sorted(directories + files):
            where, mode = f"{directory}/{name}", os.lstat(name, dir_fd=descriptor).st_mode
            if stat.S_ISLNK(mode):
                raise ImageError(f"Symbolic links not supported in decryption keys paths: {where}")
            if stat.S_ISREG(mode):
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                yield where, *keyfile.read(where, os.open(name, flags, dir_fd=descriptor))
            elif not stat.S_ISDIR(mode):
                raise ImageError(f"Unknown decryption key type: {where} is not a file")


def _raise(error: OSError) -> None:
    raise error
