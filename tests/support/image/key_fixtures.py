"""Keys and certificates for tests, made when first asked for and then the same for the whole run."""

import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from runjail.image.crypto import jwk

CURVES = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}


class Pair(NamedTuple):
    """One key in the forms that tools read: PKCS #8 and SPKI PEM, and a self-signed certificate's PEM."""

    key: Any
    private: bytes
    public: bytes
    certificate: bytes

    def parameters(self, *, certificate: bool = False) -> dict[str, tuple[bytes | None, ...]]:
        """Return what opens packets for this key."""
        found: dict[str, tuple[bytes | None, ...]] = {"privkeys": (self.private,), "privkeys-passwords": (None,)}
        return found | ({"x509s": (self.certificate,)} if certificate else {})

    def encoded(self, encoding: str = "PEM", layout: str = "PKCS8", password: bytes | None = None) -> bytes:
        """Return the private key as DER or PEM; PKCS8 or TraditionalOpenSSL."""
        lock = form.BestAvailableEncryption(password) if password else form.NoEncryption()
        data: bytes = self.key.private_bytes(
            getattr(form.Encoding, encoding), getattr(form.PrivateFormat, layout), lock
        )
        return data

    def jwk(self, **more: str) -> dict[str, str]:
        """Return the public key as a JWK."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return jwk.of_public(self.key.public_key()) | more
        numbers = self.key.public_key().public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)} | more

    def private_jwk(self, **more: str) -> dict[str, str]:
        """Return the private key as a JWK."""
        numbers = self.key.private_numbers()
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            size = (self.key.curve.key_size + 7) // 8
            return self.jwk(d=jwk.encode(numbers.private_value.to_bytes(size, "big")), **more)
        names = {"d": numbers.d, "p": numbers.p, "q": numbers.q}
        return self.jwk(**{name: _number(value) for name, value in names.items()}, **more)

    def write(self, directory: Path, name: str) -> dict[str, str]:
        """Write private.pem, public.pem and certificate.pem below a name; returns their paths."""
        (directory / name).mkdir()
        paths = {kind: directory / name / f"{kind}.pem" for kind in ("private", "public", "certificate")}
        for kind, path in paths.items():
            path.write_bytes(getattr(self, kind))
            path.chmod(0o600)
        return {kind: str(path) for kind, path in paths.items()}


def _number(value: int) -> str:
    return jwk.encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@cache
def rsa_pair(name: str = "first", bits: int = 2048) -> Pair:
    """Return the RSA key of this name."""
    return _pair(rsa.generate_private_key(65537, bits), name)


@cache
def ec_pair(name: str = "first", curve: str = "P-256") -> Pair:
    """Return the key of this name on a curve."""
    return _pair(ec.generate_private_key(CURVES[curve]()), name)


def _pair(key: Any, name: str) -> Pair:
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    return Pair(key, private, public, _certificate(key, name).public_bytes(form.Encoding.PEM))


def _certificate(key: Any, name: str) -> x509.Certificate:
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"runjail test {name}")])
    start = datetime.datetime(2020, 1, 1)
    builder = x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number(), start)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.not_valid_after(start + datetime.timedelta(days=36500)).sign(key, hashes.SHA256())
