"""What goes with a key of libcrypto's: hashes, paddings and curves, named as in cryptography."""

from __future__ import annotations

from runjail.image.crypto import der


class SHA1:
    """A hash by its name."""

    name = "sha1"


class SHA256:
    """A hash by its name."""

    name = "sha256"


class MGF1:
    """How OAEP stretches a hash."""

    def __init__(self, algorithm: SHA1 | SHA256) -> None:
        self.hash = algorithm


class OAEP:
    """RSA's padding of today; there is no label."""

    def __init__(self, mgf: MGF1, algorithm: SHA1 | SHA256, label: None) -> None:
        self.mgf, self.hash = mgf, algorithm


class PKCS1v15:
    """RSA's older padding."""


class ECDH:
    """The agreement on a secret."""


class ECDSA:
    """Signatures by elliptic curves."""

    def __init__(self, algorithm: SHA256) -> None:
        self.hash = algorithm


class EllipticCurve:
    """One of NIST's. key_size: bits of a coordinate."""

    name, key_size, number, group, object = "", 0, 0, b"", b""


class SECP256R1(EllipticCurve):
    """P-256."""

    name, key_size, number, group = "secp256r1", 256, 415, b"prime256v1"
    object = der.identifier("1.2.840.10045.3.1.7")


class SECP384R1(EllipticCurve):
    """P-384."""

    name, key_size, number, group = "secp384r1", 384, 715, b"secp384r1"
    object = der.identifier("1.3.132.0.34")


class SECP521R1(EllipticCurve):
    """P-521."""

    name, key_size, number, group = "secp521r1", 521, 716, b"secp521r1"
    object = der.identifier("1.3.132.0.35")


CURVES = {curve.group: curve for curve in (SECP256R1, SECP384R1, SECP521R1)}
