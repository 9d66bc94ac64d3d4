"""Keys with the release of cryptography that Debian 12 has, and faults of a library that are no verdict on a key."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runjail import protobuf
from runjail.image.crypto import keyfile, keys, primitives

pytest.importorskip("cryptography", reason="needs cryptography")
from tests.support.image import encrypted_images, key_fixtures

TOP = Path(__file__).resolve().parent.parent.parent.parent
PYTHON = "/usr/bin/python3"
ASK = "import sys, cryptography as found; sys.exit(int(found.__version__.partition('.')[0]) >= 39)"
PAIRS = {"rsa": key_fixtures.rsa_pair, "ec": key_fixtures.ec_pair}
FORMS = ["pem", "der", "traditional", "jwk"]
READ = """
import sys
sys.path.insert(0, sys.argv[1])
from runjail.image.crypto import jwe, pkcs7
from runjail.image.crypto.keys import read_keys
packet = sys.stdin.buffer.read()
sys.stdout.buffer.write({"jwe": jwe, "pkcs7": pkcs7}[sys.argv[2]].unwrap(packet, read_keys(sys.argv[3:])))
"""
DECODE = "import sys; sys.path.insert(0, sys.argv.pop(1)); from runjail.cli.ctd_decoder import main; main()"


@pytest.fixture(scope="module")
def debian() -> str:
    """The system's own Python, where its cryptography is older than 39."""
    if not os.access(PYTHON, os.X_OK) or subprocess.run([PYTHON, "-c", ASK], capture_output=True).returncode:
        pytest.skip(f"needs Debian 12's python3-cryptography for {PYTHON}")
    return PYTHON


def write(path: Path, kind: str, form: str) -> str:
    """Write a private key in one of FORMS. Returns its path."""
    pair = PAIRS[kind]()
    content = {
        "pem": pair.private,
        "der": pair.encoded("DER"),
        "traditional": pair.encoded("PEM", "TraditionalOpenSSL"),
        "jwk": json.dumps(pair.private_jwk()).encode(),
    }[form]
    path.write_bytes(content)
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", list(PAIRS))
def test_packets_open(debian: str, kind: str, form: str, tmp_path: Path) -> None:
    """Each kind of key, in each form, opens what today's release wrapped."""
    from runjail.image.crypto import jwe

    packet = jwe.wrap(b"the layer's key", {"pubkeys": (PAIRS[kind]().public,)})
    done = subprocess.run(
        [debian, "-c", READ, str(TOP), "jwe", write(tmp_path / "key", kind, form)],
        input=packet, capture_output=True, check=False,
    )  # fmt: skip

    assert (done.stdout, done.returncode) == (b"the layer's key", 0), done.stderr


def test_packets_for_certificates_open(debian: str, tmp_path: Path) -> None:
    from runjail.image.crypto import pkcs7

    pair = key_fixtures.rsa_pair()
    (tmp_path / "certificate").write_bytes(pair.certificate)
    packet = pkcs7.wrap(b"the layer's key", {"x509s": (pair.certificate,)})
    words = [write(tmp_path / "key", "rsa", "pem"), str(tmp_path / "certificate")]
    done = subprocess.run([debian, "-c", READ, str(TOP), "pkcs7", *words], input=packet, capture_output=True)

    assert (done.stdout, done.returncode) == (b"the layer's key", 0), done.stderr


@pytest.mark.parametrize("kind", list(PAIRS))
def test_ctd_decoder(debian: str, kind: str, tmp_path: Path) -> None:
    """containerd's pulls: a layer, its descriptor on descriptor 3, the keys in a directory."""
    ciphertext, descriptor = encrypted_images.seal(
        b"the layer", encrypted_images.LAYER, {"pubkeys": (PAIRS[kind]().public,)}
    )
    value = json.dumps({"DecryptConfig": {"Parameters": {}}, "Descriptor": descriptor.document()}).encode()
    fields: Any = {1: ("type_url", "s"), 2: ("value", "y")}
    url = "io.containerd.ocicrypt.v1.Payload"
    (tmp_path / "payload").write_bytes(protobuf.encode(fields, {"type_url": url, "value": value}))
    (tmp_path / "keys").mkdir()
    write(tmp_path / "keys" / "key", kind, "pem")
    words = [debian, "-c", DECODE, str(TOP), "--decryption-keys-path", str(tmp_path / "keys")]
    shell = ["sh", "-c", 'exec "$@" 3<"$0"', str(tmp_path / "payload"), *words]
    done = subprocess.run(shell, input=ciphertext, capture_output=True, check=False)

    assert (done.stdout, done.returncode) == (b"the layer", 0), done.stderr


class Old:
    """The loaders of cryptography 38, as far as their arguments go: any machine can try those."""

    def __init__(self, load: Any) -> None:
        self.load = load

    def __call__(self, content: bytes, password: bytes | None) -> Any:
        return self.load(content, password)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", list(PAIRS))
def test_the_argument_that_38_lacks_is_not_given(
    kind: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    path = write(tmp_path / "key", kind, form)
    keyfile.private_key.cache_clear()
    monkeypatch.setattr("cryptography.__version__", "38.0.4")
    for name in ("load_pem_private_key", "load_der_private_key"):
        monkeypatch.setattr(serialization, name, Old(getattr(serialization, name)))
    whole = rsa.RSAPrivateNumbers.private_key
    monkeypatch.setattr(rsa.RSAPrivateNumbers, "private_key", lambda numbers: whole(numbers), raising=False)

    assert keys.read_keys([path])["privkeys"] == (Path(path).read_bytes(),)
    keyfile.private_key.cache_clear()


@pytest.mark.parametrize("kind", list(PAIRS))
def test_a_fault_of_ours_is_no_unidentified_key(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument that a library does not know is a TypeError: said as it is, not as a verdict on the key."""
    path = write(tmp_path / "key", kind, "pem")
    keyfile.private_key.cache_clear()
    monkeypatch.setattr(primitives, "unvalidated", lambda: {"no_such_argument": True})

    with pytest.raises(TypeError, match="no_such_argument"):
        keys.read_keys([path])
    keyfile.private_key.cache_clear()
