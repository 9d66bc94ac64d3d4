"""PKCS#11 with a real token, softhsm2's."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.image.crypto import pkcs11
from runjail.image.crypto.options import SchemeError
from tests.image.crypto.test_crypto_pkcs11 import public, rsa
from tests.support.image import encrypted_images

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN, LABEL = "1234", "runjail test"


class Token:
    """A token of SoftHSM's with one RSA key, and the key file that leads to it."""

    def __init__(self, directory: Path, bits: int = 2048) -> None:
        (directory / "tokens").mkdir(parents=True)
        self.conf = directory / "softhsm2.conf"
        self.conf.write_text(f"directories.tokendir = {directory}/tokens\nlog.level = ERROR\n", encoding="ascii")
        env = {"SOFTHSM2_CONF": str(self.conf), "PATH": os.environ["PATH"]}
        pins = ["--pin", PIN, "--so-pin", PIN]
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", LABEL, *pins],
            env=env,
            check=True,
            capture_output=True,
        )
        self.key = rsa(bits)
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (directory / "key.pem").write_bytes(self.key.private_bytes(*form))
        words = [
            "--import",
            str(directory / "key.pem"),
            "--token",
            LABEL,
            "--label",
            "layers",
            "--id",
            "a1",
            "--pin",
            PIN,
        ]
        subprocess.run(["softhsm2-util", *words], env=env, check=True, capture_output=True)

    def file(self, path: str = "token=runjail%20test;object=layers", query: str = f"pin-value={PIN}") -> bytes:
        uri = f"pkcs11:{path}?module-path={MODULE}&{query}"
        return f"pkcs11:\n  uri: {uri}\nmodule:\n  env:\n    SOFTHSM2_CONF: {self.conf}\n".encode()


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Token:
    if not shutil.which("softhsm2-util") or not os.path.exists(MODULE):
        pytest.skip("needs SoftHSM")
    for module in ("pkcs11", "yaml"):
        pytest.importorskip(module)
    return Token(tmp_path_factory.mktemp("token"))


@pytest.fixture
def sha1(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SoftHSM knows OAEP with SHA-1 only; its modules are allowed; and the environment is afterwards as before."""
    monkeypatch.setenv("OCICRYPT_OAEP_HASHALG", "sha1")
    monkeypatch.setenv("OCICRYPT_CONFIG", "internal")
    yield
    assert "SOFTHSM2_CONF" not in os.environ


def test_a_token_wraps_and_unwraps(token: Token, sha1: None) -> None:
    """By the key's label or id; with its public key outside the module; and the real PIN in a file."""
    for file in (token.file(), token.file("token=runjail%20test;id=%a1")):
        packet = pkcs11.wrap(encrypted_images.OPTIONS, {"pkcs11-yamls": (file,)})
        assert packet is not None
        assert pkcs11.unwrap(packet, {"pkcs11-yamls": (token.file(),)}) == encrypted_images.OPTIONS
    outside = pkcs11.wrap(encrypted_images.OPTIONS, {"pkcs11-pubkeys": (public(token.key),)})
    pin_file = token.conf.with_name("pin")
    pin_file.write_text(PIN, encoding="ascii")

    assert outside is not None
    assert (
        pkcs11.unwrap(outside, {"pkcs11-yamls": (token.file(query=f"pin-source=file:{pin_file}"),)})
        == encrypted_images.OPTIONS
    )


def test_a_layer_is_opened_with_a_token(token: Token, sha1: None) -> None:
    ciphertext, descriptor = encrypted_images.seal(
        b"layer" * 1000, encrypted_images.LAYER, {"pkcs11-yamls": (token.file(),)}
    )

    assert encrypted_images.opened(ciphertext, descriptor, {"pkcs11-yamls": (token.file(),)}) == b"layer" * 1000


def test_two_tokens_of_one_module(token: Token, sha1: None, tmp_path: Path) -> None:
    """Their key files differ in the module's environment; the second one's packet is found by trying."""
    other = Token(tmp_path / "other")
    packet = pkcs11.wrap(encrypted_images.OPTIONS, {"pkcs11-yamls": (token.file(), other.file())})
    assert packet is not None

    for files in ((token.file(),), (other.file(),), (token.file(query="pin-value=0000"), other.file())):
        assert pkcs11.unwrap(packet, {"pkcs11-yamls": files}) == encrypted_images.OPTIONS


@pytest.mark.parametrize(
    ("path", "query", "why"),
    [
        ("token=runjail%20test;object=layers", "pin-value=9999", "PinIncorrect"),
        ("token=runjail%20test;object=layers", "x-none=1", "neither pin-value nor pin-source"),
        ("token=other;object=layers", f"pin-value={PIN}", "the module has no token other"),
        ("slot-id=999999;object=layers", f"pin-value={PIN}", "the module has no token slot 999999"),
        ("object=layers", f"pin-value={PIN}", "names no token"),
        ("token=runjail%20test", f"pin-value={PIN}", "names no key"),
        ("token=runjail%20test;object=other", f"pin-value={PIN}", "no such key: other"),
    ],
)
def test_what_a_module_refuses_is_said(token: Token, sha1: None, path: str, query: str, why: str) -> None:
    packet = pkcs11.wrap(encrypted_images.OPTIONS, {"pkcs11-pubkeys": (public(token.key),)})
    assert packet is not None

    with pytest.raises(SchemeError, match=f"PKCS11: No suitable private key found for decryption: .*{why}") as refused:
        pkcs11.unwrap(packet, {"pkcs11-yamls": (token.file(path, query),)})

    assert PIN not in str(refused.value) and "9999:" not in str(refused.value)


def test_another_keys_packet_is_refused(token: Token, sha1: None) -> None:
    packet = pkcs11.wrap(encrypted_images.OPTIONS, {"pkcs11-pubkeys": (public(rsa(2048)),)})
    assert packet is not None

    with pytest.raises(SchemeError, match="the module cannot decrypt"):
        pkcs11.unwrap(packet, {"pkcs11-yamls": (token.file(),)})


def test_a_module_without_sha256_says_so(tmp_path: Path, token: Token, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is encrypted with it."""
    monkeypatch.setenv("OCICRYPT_CONFIG", "internal")
    large = Token(tmp_path / "large", 3072)

    with pytest.raises(SchemeError, match="the module has no RSA-OAEP with sha256") as refused:
        pkcs11.wrap(encrypted_images.OPTIONS, {"pkcs11-yamls": (large.file(),)})

    assert "OCICRYPT_OAEP_HASHALG=sha1" in (refused.value.hint or "")


def test_a_forbidden_module_is_not_loaded(token: Token, sha1: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCICRYPT_CONFIG", "/dev/null")
    with pytest.raises(SchemeError, match="OCICRYPT_CONFIG file is not a YAML mapping"):
        pkcs11.wrap(encrypted_images.OPTIONS, {"pkcs11-yamls": (token.file(),)})

    rules = {"pkcs11-yamls": (token.file(),), "pkcs11-config": (b"allowed-module-paths: [/usr/lib/other/]",)}
    with pytest.raises(SchemeError, match="is not allowed"):
        pkcs11.wrap(encrypted_images.OPTIONS, rules)
