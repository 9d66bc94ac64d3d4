"""Sigstore's sealed keys: NaCl's secretbox by its own test data, and what is no such key."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="needs cryptography")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from runjail.errors import ImageError
from runjail.image.crypto import keyfile, secretbox
from runjail.image.crypto.keys import read_signing_key
from runjail.image.crypto.options import SchemeError
from tests.support.image.signing import sealed_key

# tests/secretbox.c of NaCl 20110221, and what it prints
KEY = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
NONCE = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
PLAIN = bytes.fromhex(
    "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f4"
    "1db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52"
    "f0a089bc76897040e082f937763848645e0705"
)
SEALED = bytes.fromhex(
    "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b"
    "4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da"
    "99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5"
)


def test_nacls_own_data() -> None:
    assert secretbox.seal(KEY, NONCE, PLAIN) == SEALED
    assert secretbox.unseal(KEY, NONCE, SEALED) == PLAIN


@pytest.mark.parametrize("place", [0, 15, 16, len(SEALED) - 1])
def test_a_box_that_was_changed(place: int) -> None:
    changed = bytearray(SEALED)
    changed[place] ^= 1

    assert secretbox.unseal(KEY, NONCE, bytes(changed)) is None
    assert secretbox.unseal(KEY, NONCE, SEALED[:16]) is None


@pytest.mark.parametrize("label", ["ENCRYPTED COSIGN PRIVATE KEY", "ENCRYPTED SIGSTORE PRIVATE KEY"])
def test_a_sealed_key(label: str, tmp_path: Path) -> None:
    """With its password, behind the file's name or in a file with a line end."""
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key").write_bytes(sealed_key(key, b"secret", label))
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "password").write_bytes(b"secret\n")

    for password in ("pass=secret", f"file={tmp_path}/password"):
        found: Any = read_signing_key(f"{tmp_path}/key:{password}", "--sign")
        assert found.private_numbers() == key.private_numbers()
    for password, why in (("", "Missing password"), (":pass=", "Wrong password"), (":pass=secret2", "Wrong password")):
        with pytest.raises(ImageError, match=f"--sign {tmp_path}/key: {why}"):
            read_signing_key(f"{tmp_path}/key{password}", "--sign")


def test_a_plain_key(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (tmp_path / "key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))

    found: Any = read_signing_key(f"{tmp_path}/key", "--sign")
    assert found.private_numbers() == key.private_numbers()
    (tmp_path / "key").write_text("nothing", encoding="utf-8")
    with pytest.raises(ImageError, match="Could not parse private key"):
        read_signing_key(f"{tmp_path}/key", "--sign")


@pytest.mark.parametrize(
    "change",
    [
        {"kdf": {"name": "pbkdf2", "params": {"N": 2, "r": 1, "p": 1}, "salt": "AAAA"}},
        {"kdf": {"name": "scrypt", "params": {"N": 1 << 40, "r": 8, "p": 1}, "salt": "AAAA"}},
        {"kdf": {"name": "scrypt", "params": {"N": 3, "r": 8, "p": 1}, "salt": "AAAA"}},
        {"kdf": {"name": "scrypt", "params": {"N": "2", "r": 8, "p": 1}, "salt": "AAAA"}},
        {"kdf": {"name": "scrypt", "params": {"N": 2, "r": 8}, "salt": "AAAA"}},
        {"kdf": None},
        {"cipher": {"name": "aes", "nonce": base64.b64encode(NONCE).decode()}},
        {"cipher": {"name": "nacl/secretbox", "nonce": "AAAA"}},
        {"ciphertext": "%"},
        {"ciphertext": "AAAA"},
    ],
)
def test_what_is_sealed_in_another_way(change: dict[str, Any]) -> None:
    """Nothing takes more memory or time than a key is worth."""
    block = sealed_key(ec.generate_private_key(ec.SECP256R1()), b"secret")
    document = json.loads(base64.b64decode(b"".join(block.splitlines()[1:-1])))

    with pytest.raises(SchemeError, match="not as sigstore seals them"):
        secretbox.open_key(json.dumps(document | change).encode(), b"secret")
    for content in (b"", b"[]", b"\xff"):
        with pytest.raises(SchemeError):
            secretbox.open_key(content, b"secret")
    with pytest.raises(SchemeError):
        keyfile.private_key(block.replace(b"ey", b"%%", 1), b"secret")
