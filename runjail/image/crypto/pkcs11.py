"""Layer keys wrapped for RSA keys in PKCS#11 modules: `…enc.keys.pkcs11`.

They are made as ocicrypt's keywrap/pkcs11 makes them. A packet is JSON: for each recipient the options encrypted with
RSA-OAEP, there is no session key between. So the key has to be large enough: 193 bytes of options do not fit into 2048
bits with SHA-256.
"""

from __future__ import annotations

import base64
import os
from typing import Any

from runjail import jsonio
from runjail.errors import ImageError
from runjail.image import model
from runjail.image.crypto import keyfile, primitives
from runjail.image.crypto.options import Parameters, SchemeError, decode, given
from runjail.image.crypto.pkcs11_module import opened
from runjail.image.crypto.pkcs11_uri import Policy, find_policy, is_yaml, key_file, policy

NAME = "pkcs11"
RECIPIENT = "FILE"
PARAMETERS = frozenset(("pkcs11-pubkeys", "pkcs11-yamls", "pkcs11-config"))
NO_KEY = "PKCS11: No suitable private key found for decryption"
HASHES = {"sha1": 20, "sha256": 32}  # name: bytes
WRITTEN, MISSING = "sha256", "sha1"  # what is written unless told otherwise, and what a packet means that names none
HASH_VARIABLE = "OCICRYPT_OAEP_HASHALG"
MOST = 128  # recipients of a packet
LARGEST = 1 << 20  # bytes of a packet


def has_keys(parameters: Parameters) -> bool:
    """Whether there is a key in a module among these decryption parameters."""
    return bool(given(parameters, "pkcs11-yamls"))


def recipients(packet: bytes) -> list[str]:
    """Return what ocicrypt shows for these packets: they do not say for whom they are. Raises SchemeError, Corrupt."""
    _parse(packet)
    return ["[pkcs11]"]


def recipient(path: str) -> Parameters:
    """Return the key file of a module, or the public key of one, in a file. Raises ImageError."""
    content, _mode = keyfile.read(path)
    if is_yaml(content):
        return {"pkcs11-yamls": (content,)}
    if keyfile.is_public(content):
        return {"pkcs11-pubkeys": (content,)}
    raise ImageError(f"Provided file is not a public key: {path}")


def recognise(content: bytes, _password: bytes | None) -> tuple[str, ...]:
    """Whether it says where a module has its key."""
    return ("pkcs11-yamls",) if is_yaml(content) else ()


def wrap(options: bytes, parameters: Parameters) -> bytes | None:
    """Return a packet for every RSA key of `pkcs11-pubkeys` and every key file of `pkcs11-yamls`; None without any.

    The hash is that of the variable OCICRYPT_OAEP_HASHALG: sha256 (unset) or sha1. Raises SchemeError when a key is too
    small for it, a key file or module is not usable, or the module does not know that hash.
    """
    public, files = given(parameters, "pkcs11-pubkeys"), given(parameters, "pkcs11-yamls")
    if not public and not files:
        return None
    hash = os.environ.get(HASH_VARIABLE) or WRITTEN
    if hash not in HASHES:
        raise SchemeError(f"PKCS11: {HASH_VARIABLE} must be one of {', '.join(HASHES)}")
    blobs = [_encrypt(options, _public_key(key), hash) for key in public]
    rules = _policy(parameters) if files else None
    blobs += [_encrypt_inside(options, file, rules, hash) for file in files if rules]
    entries = [{"version": 0, "blob": base64.b64encode(blob).decode("ascii"), "hash": hash} for blob in blobs]
    return model.encode({"version": 0, "recipients": entries})


def _public_key(data: bytes) -> primitives.RSAPublicKey:
    try:
        key = (primitives.load_pem_public_key if b"-----BEGIN" in data else primitives.load_der_public_key)(data)
    except ValueError:
        raise SchemeError("PKCS11: a recipient is neither a PEM nor a DER public key") from None
    if not isinstance(key, primitives.RSAPublicKey):
        raise SchemeError("PKCS11: a recipient's public key is not an RSA key")
    return key


def _check_size(options: bytes, bits: int, hash: str) -> None:
    room = bits // 8 - 2 * HASHES[hash] - 2
    if len(options) > room:
        hint = f"use a larger key, or {HASH_VARIABLE}=sha1" if hash != "sha1" else "use a larger key"
        text = f"PKCS11: an RSA key of {bits} bits holds {max(room, 0)} bytes with {hash}, the layer's key takes"
        raise SchemeError(f"{text} {len(options)}", hint)


def _encrypt(options: bytes, key: primitives.RSAPublicKey, hash: str) -> bytes:
    _check_size(options, key.key_size, hash)
    algorithm = primitives.SHA1() if hash == "sha1" else primitives.SHA256()
    return key.encrypt(options, primitives.OAEP(primitives.MGF1(algorithm), algorithm, None))


def _encrypt_inside(options: bytes, file: bytes, rules: Policy, hash: str) -> bytes:
    """Let the module encrypt: it is the one that has to decrypt, and so tells now what it does not know."""
    with opened(key_file(file), rules, private=False) as key:
        _check_size(options, key.bits, hash)
        return key.encrypt(options, hash)


def _policy(parameters: Parameters) -> Policy:
    """Return which modules may be loaded: as given with the keys, else as this process' environment says."""
    handed = given(parameters, "pkcs11-config")
    return policy(handed[0]) if handed and handed[0] else find_policy(os.environ)


def unwrap(packet: bytes, parameters: Parameters) -> bytes:
    """Return the options that one of the keys in `pkcs11-yamls` opens. Raises SchemeError naming what each one met."""
    blobs, reasons = _parse(packet), []
    rules = _policy(parameters)
    for file in given(parameters, "pkcs11-yamls"):
        try:
            with opened(key_file(file), rules, private=True) as key:
                for blob, hash in blobs:
                    try:
                        return key.decrypt(blob, hash)
                    except SchemeError as error:
                        reasons.append(str(error).removeprefix("PKCS11: "))
        except SchemeError as error:
            reasons.append(str(error).removeprefix("PKCS11: "))
    detail = "; ".join(dict.fromkeys(reasons))
    raise SchemeError(f"{NO_KEY}: {detail}" if detail else NO_KEY)


def _parse(packet: bytes) -> list[tuple[bytes, str]]:
    """Return ciphertext and hash of each recipient. Raises SchemeError, Corrupt for bad base64."""
    document = _object(packet)
    entries = model.get(document, "recipients")
    if model.get(document, "version") or not isinstance(entries, list) or not 0 < len(entries) <= MOST:
        raise SchemeError(f"PKCS11: a packet must have version 0 and 1 to {MOST} recipients")
    return [_entry(entry) for entry in entries]


def _object(packet: bytes) -> dict[str, Any]:
    try:
        document = jsonio.loads(packet) if len(packet) <= LARGEST else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise SchemeError("PKCS11: a packet is not a JSON object")
    return document


def _entry(entry: object) -> tuple[bytes, str]:
    if not isinstance(entry, dict):
        raise SchemeError("PKCS11: a recipient in a packet is not a JSON object")
    blob, hash = model.get(entry, "blob"), model.get(entry, "hash") or MISSING
    if model.get(entry, "version") or not isinstance(blob, str):
        raise SchemeError("PKCS11: a recipient in a packet must have version 0 and a blob")
    if hash not in tuple(HASHES):
        raise SchemeError(f"PKCS11: unknown hash {str(hash)[:20]!r} in a packet")
    return decode(blob, "PKCS11 blob"), str(hash)
