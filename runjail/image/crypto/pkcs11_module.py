"""RSA-OAEP with keys that live in a PKCS#11 module, by python-pkcs11."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from runjail.errors import RunjailError
from runjail.image.crypto.options import SchemeError
from runjail.image.crypto.pkcs11_uri import KeyFile, Policy, pin

_ALONE = Lock()  # modules are initialised for one thread, and their environment is the whole process's


class Key:
    """A key of a module, public or private, for the time of an `opened` block. bits: of its modulus."""

    def __init__(self, key: Any) -> None:
        self._key = key
        self.bits: int = key.key_length

    def encrypt(self, data: bytes, hash: str) -> bytes:
        """Return the data for this public key. hash: sha1 or sha256, for OAEP and MGF1 alike. Raises SchemeError."""
        return self._do("encrypt", data, hash)

    def decrypt(self, data: bytes, hash: str) -> bytes:
        """Return what was encrypted for this private key.

        Raises SchemeError; for what the module does not decrypt without a word of why.
        """
        return self._do("decrypt", data, hash)

    def _do(self, what: str, data: bytes, hash: str) -> bytes:
        from pkcs11 import MGF, Mechanism, exceptions

        parameter = (Mechanism.SHA_1, MGF.SHA1, None) if hash == "sha1" else (Mechanism.SHA256, MGF.SHA256, None)
        try:
            done = getattr(self._key, what)(data, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=parameter)
            return bytes(done)
        except (exceptions.ArgumentsBad, exceptions.MechanismInvalid, exceptions.MechanismParamInvalid):
            hint = (
                "OCICRYPT_OAEP_HASHALG=sha1 is what most modules know" if hash != "sha1" and what == "encrypt" else None
            )
            raise SchemeError(f"PKCS11: the module has no RSA-OAEP with {hash}", hint) from None
        except exceptions.PKCS11Error as error:
            why = f": {_name(error)}" if what == "encrypt" else " it"
            raise SchemeError(f"PKCS11: the module cannot {what}{why}") from None


@contextmanager
def opened(file: KeyFile, policy: Policy, private: bool) -> Iterator[Key]:
    """Log in and find a key. Private keys need a PIN; for public ones it is used when the URI gives it.

    Raises SchemeError saying what the module refused or lacks, RunjailError without python-pkcs11.
    """
    try:
        from pkcs11 import ObjectClass, exceptions
    except ImportError:
        hint = "install the port security/py-python-pkcs11, or runjail[pkcs11]"
        raise RunjailError("PKCS11: keys in modules need the Python package pkcs11", hint) from None
    uri = file.uri
    label, id = uri.get("object") or None, uri.id or None
    if not label and not id:
        raise SchemeError("PKCS11: the URI names no key: object or id")
    password = pin(uri) if private or uri.get("pin-value") or uri.get("pin-source") else None
    path = policy.module(uri)
    with _ALONE, _environment(file.env):
        try:
            with _loaded(path) as library, _token(library, file).open(user_pin=password) as session:
                kind = ObjectClass.PRIVATE_KEY if private else ObjectClass.PUBLIC_KEY
                yield Key(session.get_key(kind, label=label, id=id))
        except exceptions.NoSuchKey:
            raise SchemeError(f"PKCS11: the token has no such key: {label or (id or b'').hex()}") from None
        except exceptions.PKCS11Error as error:
            raise SchemeError(f"PKCS11: module {path}: {_name(error)}") from None


@contextmanager
def _environment(env: tuple[tuple[str, str], ...]) -> Iterator[None]:
    """Set variables that a module reads with getenv(3), and take them back."""
    before = {name: os.environ.get(name) for name, _value in env}
    try:
        os.environ.update(env)
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _loaded(path: str) -> Iterator[Any]:
    """Load a module, and finalise it afterwards: the next key may want it with another environment."""
    import pkcs11

    library = pkcs11.lib(path)
    try:
        yield library
    finally:
        library.finalize()


def _token(library: Any, file: KeyFile) -> Any:
    """Return the token of a URI: that in the slot it names, else the one with its label."""
    uri = file.uri
    if uri.slot is None and not uri.get("token"):
        raise SchemeError("PKCS11: the URI names no token: slot-id or token")
    for slot in library.get_slots(token_present=True):
        if uri.slot is not None and slot.slot_id != uri.slot:
            continue
        token = slot.get_token()
        if uri.slot is not None or token.label == uri.get("token"):
            return token
    wanted = uri.get("token") if uri.slot is None else f"slot {uri.slot}"
    raise SchemeError(f"PKCS11: the module has no token {wanted}")


def _name(error: Exception) -> str:
    """Return the name of a PKCS#11 return value: python-pkcs11 has a class for each, mostly without a text."""
    return type(error).__name__
