"""Who can edit an encrypted image and sees what runjail says about it, asks until the key or a forged layer comes out.

Nobody in these tests has the private key but runjail. Each attack first shows that the image opens as it is.
"""

import base64
import io
import json
import os
import re
import secrets
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from runjail.errors import Corrupt, RunjailError, Unauthorized

pytest.importorskip("cryptography", reason="needs cryptography")
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509 import load_pem_x509_certificate

from runjail.image import digest as digests
from runjail.image.bundle.verified import VerifiedLayers, authenticate
from runjail.image.content.store import ContentStore
from runjail.image.crypto import cipher, der, jwe, jwk, ocicrypt, pgp, pkcs7
from runjail.image.crypto.options import NONCE, PrivateLayerOptions, PublicLayerOptions
from runjail.image.layers import layer as layers
from runjail.image.model import Descriptor
from tests.support.image import encrypted_images, key_fixtures
from tests.support.image.pgp_keys import Keys, private

PRIVATE = PrivateLayerOptions(bytes(range(32)), bytes(range(NONCE)), "sha256:" + "0" * 64)
OPTIONS = PRIVATE.to_json()


def described(scheme: str, *packets: bytes) -> Descriptor:
    """Return the descriptor of a layer with these packets."""
    annotation = {ocicrypt.KEYS + scheme: ",".join(map(encoded, packets)), ocicrypt.PUBLIC: PUBLIC}
    return Descriptor(f"{encrypted_images.LAYER}+encrypted", digests.of(b""), 0, annotation)


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


PUBLIC = encoded(PublicLayerOptions(bytes(32)).to_json())


def verdict(scheme: str, packet: bytes, parameters: "dict[str, tuple[bytes | None, ...]]") -> str:
    """Return what the owner of the keys is told about a packet: "" when it opens."""
    try:
        ocicrypt.unwrap(described(scheme, packet), parameters)
    except Unauthorized as error:
        return f"{error} {error.hint}"
    return ""


# Oracles for wrapped keys (Bleichenbacher 1998, Vaudenay 2002; EFAIL, ROBOT) -----------------------------------------


def cbc_envelope(key: bytes, initial: bytes, ciphertext: bytes, encrypted_key: bytes = b"") -> bytes:
    """Return a CMS packet with AES-CBC for the first pair; nothing authenticates its content."""
    certificate = load_pem_x509_certificate(key_fixtures.rsa_pair().certificate)
    recipient = pkcs7._recipient(key, certificate)
    if encrypted_key:
        genuine = der.read(recipient).children(der.SEQUENCE)
        recipient = der.write(der.SEQUENCE, *(part.whole for part in genuine[:3]), der.write(der.OCTETS, encrypted_key))
    identifier = next(name for name, size in pkcs7.CBC.items() if size == len(key))
    algorithm = der.write(der.SEQUENCE, der.write(der.OBJECT, identifier), der.write(der.OCTETS, initial))
    content = der.write(der.SEQUENCE, der.write(der.OBJECT, pkcs7.DATA), algorithm, der.write(0x80, ciphertext))
    enveloped = der.write(der.SEQUENCE, der.integer(0), der.write(der.SET, recipient), content)
    return der.write(der.SEQUENCE, der.write(der.OBJECT, pkcs7.ENVELOPED), der.write(0xA0, enveloped))


def cbc(key: bytes, initial: bytes, plain: bytes) -> bytes:
    count = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(key), modes.CBC(initial)).encryptor()
    return encryptor.update(plain + bytes([count]) * count) + encryptor.finalize()


def test_padding_of_the_content() -> None:
    """One byte before the last block is set to each of its values: for one of them the padding is right."""
    parameters = key_fixtures.rsa_pair().parameters(certificate=True)
    key, initial = secrets.token_bytes(16), secrets.token_bytes(16)
    sealed_options = cbc(key, initial, OPTIONS)
    assert verdict("pkcs7", cbc_envelope(key, initial, sealed_options), parameters) == ""

    block, before = sealed_options[16:32], bytearray(sealed_options[:16])
    texts = set()
    for guess in range(256):
        before[15] = guess
        texts.add(verdict("pkcs7", cbc_envelope(key, initial, bytes(before) + block), parameters))

    assert len(texts) == 1, "the padding can be told by the text, and with it every byte of the key"


@pytest.mark.parametrize("content", ["{}", '{"symkey": "!"}', '{"symkey": "AAAA"}', "[]", "no JSON", "\0"])
def test_what_a_packet_holds(content: str) -> None:
    """Changed plaintext of CBC is told by its form: which characters of a key are base64."""
    parameters = key_fixtures.rsa_pair().parameters(certificate=True)
    key, initial = secrets.token_bytes(32), secrets.token_bytes(16)
    nonsense = verdict("pkcs7", cbc_envelope(key, initial, secrets.token_bytes(64)), parameters)

    assert verdict("pkcs7", cbc_envelope(key, initial, cbc(key, initial, content.encode())), parameters) == nonsense


def test_padding_of_the_content_key() -> None:
    """PKCS #1 v1.5: whether a block is padded as it should be is told by what comes after it."""
    pair = key_fixtures.rsa_pair()
    parameters, public = pair.parameters(certificate=True), pair.key.public_key()
    initial = secrets.token_bytes(16)
    texts = set()
    for _ in range(64):  # a random key's plaintext has a right padding once in 256 times
        key = secrets.token_bytes(16)
        good = public.encrypt(key, padding.PKCS1v15())
        for encrypted in (good, secrets.token_bytes(len(good) - 1), bytes(len(good)), good[:-1], public.encrypt(
            secrets.token_bytes(24), padding.PKCS1v15())):  # fmt: skip
            for plain in (b"{}", b"x"):
                packet = cbc_envelope(key, initial, cbc(key, initial, plain), encrypted)
                texts.add(verdict("pkcs7", packet, parameters))

    assert len(texts) == 1


class Alice(Keys):
    """A gpg with one key, which has no password."""

    def __init__(self, home: str) -> None:
        self.env = {"GNUPGHOME": home, "PATH": os.environ["PATH"]}
        self.make("Alice <alice@example.org>", b"")
        self.alice = self.gpg("--export-secret-keys", "alice")
        self.recipients = {"gpg-recipients": (b"alice@example.org",), "gpg-pubkeyringfile": (self.gpg("--export"),)}


@pytest.mark.skipif(not shutil.which("gpg"), reason="needs gpg")
def test_openpgp() -> None:
    """gpg says whether the session key did not open, or what it encrypts was changed: EFAIL's and ROBOT's question."""
    with tempfile.TemporaryDirectory(prefix="keys", dir="/tmp") as home:
        try:
            alice = Alice(home)
            good = pgp.wrap(OPTIONS, alice.recipients)
            assert good and verdict("pgp", good, private(alice.alice)) == ""
            changed = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in (100, 200, 300, 400, len(good) - 1)]
            assert len({verdict("pgp", each, private(alice.alice)) for each in changed}) == 1
        finally:
            subprocess.run(["gpgconf", "--kill", "all"], env=alice.env, check=False)


def test_jwe_with_rsa1_5() -> None:
    """It is not opened at all, rightly padded or not (RFC 7516, 11.5); OAEP under the same key is."""
    pair = key_fixtures.rsa_pair()
    key, iv = secrets.token_bytes(32), secrets.token_bytes(12)
    public = pair.key.public_key()

    def packet(algorithm: str, encrypted: bytes) -> bytes:
        protected = jwk.encode(json.dumps({"alg": algorithm, "enc": "A256GCM"}).encode())
        text = AESGCM(key).encrypt(iv, OPTIONS, protected.encode())
        parts = {"iv": iv, "ciphertext": text[:-16], "tag": text[-16:], "encrypted_key": encrypted}
        return json.dumps({"protected": protected} | {name: jwk.encode(part) for name, part in parts.items()}).encode()

    oaep = public.encrypt(key, jwe._oaep("RSA-OAEP"))
    assert verdict("jwe", packet("RSA-OAEP", oaep), pair.parameters()) == ""
    padded = public.encrypt(key, padding.PKCS1v15())
    texts = {verdict("jwe", packet("RSA1_5", each), pair.parameters()) for each in (padded, oaep, bytes(256))}
    texts |= {verdict("jwe", packet("RSA-OAEP", each), pair.parameters()) for each in (padded, bytes(256), b"")}
    assert len(texts) == 1
    assert jwe.NO_KEY in texts.pop()


# Oracles for layers -----------------------------------------------------------------------------------------------


def archive(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        member = tarfile.TarInfo("etc/rc.conf")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


PLAIN, WANTED = archive(b'sshd_enable="NO "'), archive(b'sshd_enable="YES"')


def forged(ciphertext: bytes) -> bytes:
    """Return ciphertext of WANTED, by who knows what stands in PLAIN: counter mode is a key stream."""
    return bytes(old ^ was ^ new for old, was, new in zip(ciphertext, PLAIN, WANTED, strict=True))


def open_layer(directory: Path, blob: bytes, layer: Descriptor, diff_id: str = "") -> bytes:
    """Do what a run does with a layer, and return the file in it."""
    parameters = key_fixtures.rsa_pair().parameters()
    key = ocicrypt.unwrap(layer, parameters)
    (directory / "blob").write_bytes(blob)
    root = directory / secrets.token_hex(8)
    root.mkdir()
    file = os.open(directory / "blob", os.O_RDONLY)
    try:
        authenticate(file, layer, key)
        layers.unpack(file, str(root), diff_id or digests.of(PLAIN), decryptor=cipher.decryptor(key))
    finally:
        os.close(file)
    return (root / "etc/rc.conf").read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="unpacking sets owners: needs root")
def test_forging_a_layer(tmp_path: Path) -> None:
    """The HMAC that would be right, and the digest of the plaintext, make a changed layer genuine: nobody says them."""
    blob, layer = encrypted_images.seal(PLAIN, encrypted_images.LAYER, {"pubkeys": (key_fixtures.rsa_pair().public,)})
    assert open_layer(tmp_path, blob, layer) == b'sshd_enable="NO "'

    evil = forged(blob)
    layer = layer.replace(digest=digests.of(evil))
    guesses, diff_ids = [bytes(32)], [digests.of(PLAIN)]
    for _ in range(4):  # each text is read for what the next try needs
        for guess in list(guesses):
            annotations = {**layer.annotations, ocicrypt.PUBLIC: encoded(PublicLayerOptions(guess).to_json())}
            for diff_id in list(diff_ids):
                with pytest.raises(Corrupt) as caught:
                    open_layer(tmp_path, evil, layer.replace(annotations=annotations), diff_id)
                said = set(re.findall(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", str(caught.value)))
                guesses = list({*guesses, *map(bytes.fromhex, said)})[:8]
                diff_ids = list({*diff_ids, *(f"sha256:{text}" for text in said)})[:8]


def test_digest_of_a_plaintext(tmp_path: Path) -> None:
    """A manifest that names other diffIDs is not told the right ones."""
    blob, layer = encrypted_images.seal(PLAIN, encrypted_images.LAYER, {"pubkeys": (key_fixtures.rsa_pair().public,)})
    content = ContentStore(str(tmp_path / "content"))
    content.add(blob)
    key = ocicrypt.unwrap(layer, key_fixtures.rsa_pair().parameters())
    VerifiedLayers(content).require(layer, digests.of(PLAIN), key)

    with pytest.raises(RunjailError) as caught:
        VerifiedLayers(content).require(layer, digests.of(b"another"), key)
    assert digests.of(PLAIN) not in str(caught.value)
