"""JSON Web Keys: RSA keys and NIST's elliptic curves (RFC 7517, RFC 7518 section 6)."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from runjail import jsonio
from runjail.image.crypto import primitives
from runjail.image.crypto.options import SchemeError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurve, EllipticCurvePublicNumbers
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

CURVES = {"P-256": "SECP256R1", "P-384": "SECP384R1", "P-521": "SECP521R1"}


def encode(content: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def decode(text: object) -> bytes:
    """Return what base64url without padding says. Raises ValueError for anything else."""
    if not isinstance(text, str) or "+" in text or "/" in text or "=" in text:
        raise ValueError("not base64url")
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)


def parse(content: bytes) -> dict[str, Any]:
    """Parse a JWK. Raises SchemeError for what is none."""
    try:
        document = jsonio.loads(content)
    except (ValueError, RecursionError):
        raise SchemeError("Could not parse input as JWK") from None
    if not isinstance(document, dict) or not isinstance(document.get("kty"), str):
        raise SchemeError("Could not parse input as JWK")
    return document


def is_private(document: dict[str, Any]) -> bool:
    """Whether a JWK holds more than a public key; "k" is a symmetric one's, which is never public."""
    return "d" in document or "k" in document


def public_key(document: dict[str, Any]) -> PublicKeyTypes:
    """Return the public key of a JWK. Raises ValueError: a point that is not on its curve is none."""
    if document["kty"] == "RSA":
        return primitives.RSAPublicNumbers(_number(document, "e"), _number(document, "n")).public_key()
    return _point(document).public_key()


def private_key(document: dict[str, Any]) -> PrivateKeyTypes:
    """Return the private key of a JWK. Raises ValueError."""
    d = _number(document, "d")
    if document["kty"] != "RSA":
        return primitives.EllipticCurvePrivateNumbers(d, _point(document)).private_key()
    n, e, p, q = (_number(document, name) for name in ("n", "e", "p", "q"))
    of_p, of_q, inverse = primitives.rsa_crt_dmp1(d, p), primitives.rsa_crt_dmq1(d, q), primitives.rsa_crt_iqmp(p, q)
    numbers = primitives.RSAPrivateNumbers(p, q, d, of_p, of_q, inverse, primitives.RSAPublicNumbers(e, n))
    return numbers.private_key(**primitives.unvalidated())  # see keyfile.py


def of_public(key: PublicKeyTypes) -> dict[str, str]:
    """Return the JWK of a public key on an elliptic curve, e.g. an ephemeral one. Raises ValueError for others."""
    names = {curve.lower(): name for name, curve in CURVES.items()}
    if not isinstance(key, primitives.EllipticCurvePublicKey) or key.curve.name not in names:
        raise ValueError("not a key on P-256, P-384 or P-521")
    numbers, size = key.public_numbers(), (key.curve.key_size + 7) // 8
    x, y = (encode(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
    return {"crv": names[key.curve.name], "kty": "EC", "x": x, "y": y}


def _point(document: dict[str, Any]) -> EllipticCurvePublicNumbers:
    name = str(document.get("crv"))
    if document["kty"] != "EC" or name not in CURVES:
        raise ValueError("neither RSA nor a curve of P-256, P-384 and P-521")
    curve: EllipticCurve = getattr(primitives, CURVES[name])()
    return primitives.EllipticCurvePublicNumbers(_number(document, "x"), _number(document, "y"), curve)


def _number(document: dict[str, Any], name: str) -> int:
    return int.from_bytes(decode(document.get(name)), "big")
