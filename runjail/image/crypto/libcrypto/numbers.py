"""Keys of libcrypto's from the numbers of a JWK.

Names and arguments are those of Python's cryptography.
"""

from __future__ import annotations

from runjail.image.crypto import der
from runjail.image.crypto.libcrypto.keys import (
    RSA_OBJECT,
    EllipticCurvePrivateKey,
    EllipticCurvePublicNumbers,
    RSAPrivateKey,
    RSAPublicKey,
    info,
    load_der_private_key,
    load_der_public_key,
)


class RSAPublicNumbers:
    """Exponent and modulus."""

    def __init__(self, e: int, n: int) -> None:
        self.e, self.n = e, n

    def public_key(self) -> RSAPublicKey:
        """Return the key. Raises ValueError."""
        if self.e < 3 or self.e % 2 == 0 or self.n <= self.e:
            raise ValueError("no exponent and modulus of RSA")
        numbers = der.write(der.SEQUENCE, der.integer(self.n), der.integer(self.e))
        found = load_der_public_key(info(RSA_OBJECT, der.write(der.NULL), numbers))
        if not isinstance(found, RSAPublicKey):
            raise ValueError("no RSA key")
        return found


class RSAPrivateNumbers:
    """All numbers of a private key: two primes, the private exponent, what makes decrypting fast."""

    def __init__(
        self, p: int, q: int, d: int, dmp1: int, dmq1: int, iqmp: int, public_numbers: RSAPublicNumbers
    ) -> None:
        self._numbers = (0, public_numbers.n, public_numbers.e, d, p, q, dmp1, dmq1, iqmp)

    def private_key(self) -> RSAPrivateKey:
        """Return the key. Raises ValueError."""
        _version, n, _e, _d, p, q, *_ = self._numbers
        if p * q != n:
            raise ValueError("the primes are not those of the modulus")
        found = load_der_private_key(der.write(der.SEQUENCE, *map(der.integer, self._numbers)), None)
        if not isinstance(found, RSAPrivateKey):
            raise ValueError("no RSA key")
        return found


class EllipticCurvePrivateNumbers:
    """A point and its private value."""

    def __init__(self, private_value: int, public_numbers: EllipticCurvePublicNumbers) -> None:
        self._value, self._public = private_value, public_numbers

    def private_key(self) -> EllipticCurvePrivateKey:
        """Return the key. Raises ValueError when the two do not belong together."""
        curve, size = self._public.curve, (self._public.curve.key_size + 7) // 8
        try:
            value = der.write(der.OCTETS, self._value.to_bytes(size, "big"))
        except OverflowError:
            raise ValueError("not a private value of this curve") from None
        named = der.write(0xA0, der.write(der.OBJECT, curve.object))
        found = load_der_private_key(der.write(der.SEQUENCE, der.integer(1), value, named), None)
        if not isinstance(found, EllipticCurvePrivateKey) or found.der() != self._public.public_key().der():
            raise ValueError("private value and point do not belong together")
        return found


def rsa_crt_dmp1(private_exponent: int, p: int) -> int:
    """Return the exponent modulo p - 1; rsa_crt_dmq1 is the same for q."""
    return private_exponent % (p - 1)


rsa_crt_dmq1 = rsa_crt_dmp1


def rsa_crt_iqmp(p: int, q: int) -> int:
    """Return the inverse of q modulo p. Raises ValueError."""
    return pow(q, -1, p)
