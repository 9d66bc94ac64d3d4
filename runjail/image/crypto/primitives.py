"""AES, RSA, elliptic curves, certificates: by Python's cryptography or the system's libcrypto.

`primitives.NAME` is cryptography's NAME, or where that is missing one that is used in the same way (libcrypto/). It is
loaded when it is asked for: either costs more than most verbs take.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from runjail.errors import RunjailError

if TYPE_CHECKING:
    from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import (
        ECDH,
        ECDSA,
        SECP256R1,
        SECP384R1,
        SECP521R1,
        EllipticCurve,
        EllipticCurvePrivateKey,
        EllipticCurvePrivateNumbers,
        EllipticCurvePublicKey,
        EllipticCurvePublicNumbers,
        generate_private_key,
    )
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP, PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import (
        RSAPrivateKey,
        RSAPrivateNumbers,
        RSAPublicKey,
        RSAPublicNumbers,
        rsa_crt_dmp1,
        rsa_crt_dmq1,
        rsa_crt_iqmp,
    )
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CBC, CTR
    from cryptography.hazmat.primitives.hashes import SHA1, SHA256
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
    from cryptography.hazmat.primitives.padding import PKCS7
    from cryptography.hazmat.primitives.serialization import (
        load_der_private_key,
        load_der_public_key,
        load_pem_private_key,
        load_pem_public_key,
    )
    from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate

__all__ = [
    "AES",
    "AESGCM",
    "CBC",
    "CTR",
    "ECDH",
    "ECDSA",
    "MGF1",
    "OAEP",
    "PKCS7",
    "SECP256R1",
    "SECP384R1",
    "SECP521R1",
    "SHA1",
    "SHA256",
    "Cipher",
    "Ed25519PrivateKey",
    "Ed25519PublicKey",
    "EllipticCurve",
    "EllipticCurvePrivateKey",
    "EllipticCurvePrivateNumbers",
    "EllipticCurvePublicKey",
    "EllipticCurvePublicNumbers",
    "InvalidSignature",
    "InvalidTag",
    "InvalidUnwrap",
    "PKCS1v15",
    "RSAPrivateKey",
    "RSAPrivateNumbers",
    "RSAPublicKey",
    "RSAPublicNumbers",
    "UnsupportedAlgorithm",
    "aes_key_unwrap",
    "aes_key_wrap",
    "generate_private_key",
    "has_cryptography",
    "load_der_private_key",
    "load_der_public_key",
    "load_der_x509_certificate",
    "load_pem_private_key",
    "load_pem_public_key",
    "load_pem_x509_certificate",
    "require",
    "rsa_crt_dmp1",
    "rsa_crt_dmq1",
    "rsa_crt_iqmp",
    "unvalidated",
]
OURS = "runjail.image.crypto.libcrypto."
HAZMAT = "cryptography.hazmat.primitives."
LOADERS = "load_der_private_key load_der_public_key load_pem_private_key load_pem_public_key"
CURVES = "ECDH ECDSA SECP256R1 SECP384R1 SECP521R1 EllipticCurve"
POINTS = "EllipticCurvePrivateKey EllipticCurvePublicKey EllipticCurvePublicNumbers generate_private_key"
NUMBERS = "RSAPrivateNumbers RSAPublicNumbers rsa_crt_dmp1 rsa_crt_dmq1 rsa_crt_iqmp"
PLACES = [  # names, cryptography's module, ours
    ("InvalidSignature InvalidTag UnsupportedAlgorithm", "cryptography.exceptions", "library"),
    ("Cipher", f"{HAZMAT}ciphers", "ciphers"),
    ("AESGCM", f"{HAZMAT}ciphers.aead", "ciphers"),
    ("AES", f"{HAZMAT}ciphers.algorithms", "ciphers"),
    ("CBC CTR", f"{HAZMAT}ciphers.modes", "ciphers"),
    ("InvalidUnwrap aes_key_unwrap aes_key_wrap", f"{HAZMAT}keywrap", "ciphers"),
    ("PKCS7", f"{HAZMAT}padding", "ciphers"),
    (CURVES, f"{HAZMAT}asymmetric.ec", "kinds"),
    (POINTS, f"{HAZMAT}asymmetric.ec", "keys"),
    ("EllipticCurvePrivateNumbers", f"{HAZMAT}asymmetric.ec", "numbers"),
    ("Ed25519PrivateKey Ed25519PublicKey", f"{HAZMAT}asymmetric.ed25519", "keys"),
    ("MGF1 OAEP PKCS1v15", f"{HAZMAT}asymmetric.padding", "kinds"),
    ("RSAPrivateKey RSAPublicKey", f"{HAZMAT}asymmetric.rsa", "keys"),
    (NUMBERS, f"{HAZMAT}asymmetric.rsa", "numbers"),
    ("SHA1 SHA256", f"{HAZMAT}hashes", "kinds"),
    (LOADERS, f"{HAZMAT}serialization", "keys"),
    ("load_der_x509_certificate load_pem_x509_certificate", "cryptography.x509", "keys"),
]


def __getattr__(name: str) -> Any:
    """Return what is called so."""
    for names, theirs, ours in PLACES:
        if name in names.split():
            require()
            module = theirs if has_cryptography() else OURS + ours
            return getattr(import_module(module), name)
    raise AttributeError(name)


def has_cryptography() -> bool:
    """Whether Python's cryptography is there."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        return False
    return True


def require() -> None:
    """Raise RunjailError when there is neither of the two."""
    if has_cryptography():
        return
    if not import_module(OURS + "library").library():
        hint = "install the port security/py-cryptography, or: pip install cryptography"
        text = "encrypted images need the Python package cryptography, which is not installed, or OpenSSL 3's libcrypto"
        raise RunjailError(text, hint)


def unvalidated() -> dict[str, bool]:
    """Return what has an RSA key read without proving that it is one; cryptography before 39 has no such argument."""
    if not has_cryptography():
        return {}
    import cryptography

    return {"unsafe_skip_rsa_key_validation": True} if int(cryptography.__version__.partition(".")[0]) >= 39 else {}
