"""A machine that decrypts layers: its keys, its key provider, and how ctd-decoder gets there."""

import json
import sys
from pathlib import Path

import pytest

from runjail.image.model import Descriptor
from tests.support.image import encrypted_images
from tests.support.peers.commands import RUNJAIL

DECODER = RUNJAIL.with_name("ctd-decoder")
PROVIDER = """\
#!{python} -IS
import json, sys
asked = json.load(sys.stdin)
if asked["op"] == "keywrap":
    print(json.dumps({{"keywrapresults": {{"annotation": asked["keywrapparams"]["optsdata"]}}}}))
else:
    print(json.dumps({{"keyunwrapresults": {{"optsdata": asked["keyunwrapparams"]["annotation"]}}}}))
"""


class Node:
    """A machine with a key directory, a key provider `vault` and somebody's key that it does not have."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.keys = directory, directory / "keys"
        (self.keys / "more").mkdir(parents=True)
        self.public, private = key_pair()
        (self.keys / "more" / "key.pem").write_bytes(private)
        self.private = private
        self.foreign, self.foreign_private = key_pair()
        provider = directory / "provider"
        provider.write_text(PROVIDER.format(python=sys.executable), encoding="ascii")
        provider.chmod(0o755)
        self.providers = directory / "providers.json"
        said = {"key-providers": {"vault": {"cmd": {"path": str(provider)}}}}
        self.providers.write_text(json.dumps(said), encoding="ascii")

    def with_provider(self, plain: bytes, media_type: str) -> tuple[bytes, Descriptor]:
        """Encrypt a layer so that only the provider opens it."""
        from runjail.image.crypto.keyprovider_config import read

        return encrypted_images.seal(plain, media_type, {"vault": (b"Enabled",)}, providers=read(str(self.providers)))


def key_pair() -> tuple[bytes, bytes]:
    """Return an RSA key: its public half as PEM, its private half as PEM (PKCS #8)."""
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def need() -> None:
    """Skip the test without what such a machine takes."""
    for module in ("cryptography", "jwcrypto"):
        pytest.importorskip(module)
