"""Layers in the store are no way around authorisation: each test is somebody who wants what is not theirs."""

import base64
import json
from pathlib import Path

import pytest

from tests.support.story.cli import Cli, Keys
from tests.support.story.layout import Layout

pytestmark = pytest.mark.needs("root")


@pytest.fixture
def secret(cli: Cli, hello: str, keys: Keys, tmp_path: Path) -> Layout:
    """An encrypted image that its owner has run here, as others get to see it. The store has no other image."""
    cli.ok("image", "encrypt", *keys.recipient, hello)
    assert cli.ok("run", "--image", hello, *keys.key, "one") == "Hello World!\n"
    cli.ok("image", "export", hello, f"oci:{tmp_path}/seen:t")
    return Layout(tmp_path / "seen")


def plain(cli: Cli, tmp_path: Path) -> Layout:
    """Return an image of somebody else's, not encrypted."""
    root = tmp_path / "other"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "mine").write_text("mine")
    cli.ok("image", "import", f"rootfs:{root}", "mine")
    cli.ok("image", "export", "mine", f"oci:{tmp_path}/mine:t")
    return Layout(tmp_path / "mine")


def test_another_s_diff_id_beside_a_blob_of_one_s_own(cli: Cli, secret: Layout, tmp_path: Path) -> None:
    """diffIDs can be read by everybody; a layer is only used with a blob that holds it."""
    mine = plain(cli, tmp_path)
    mine.config["rootfs"] = secret.config["rootfs"]
    layers = len(cli.store.layers())

    said = cli.refused("run", "--image", mine.write(), "thief", "--", "/bin/echo", "stolen")
    assert "diffID" in said
    assert len(cli.store.layers()) == layers
    assert "diffID" in cli.refused("image", "unpack", mine.write())


def test_another_s_blob_declared_to_be_plain(cli: Cli, secret: Layout) -> None:
    """Ciphertext that is said not to be encrypted is not the layer either."""
    layer = secret.manifest["layers"][0]
    layer["mediaType"] = layer["mediaType"].removesuffix("+encrypted")
    del layer["annotations"]

    assert "diffID" in cli.refused("run", "--image", secret.write(), "thief")


def test_another_s_blob_under_a_key_of_one_s_own(cli: Cli, secret: Layout, keys: Keys, stranger: Keys) -> None:
    """Whoever wraps a key of their own for the blob, with a matching HMAC, would be authorised; the key is wrong."""
    import hmac

    from runjail.image.crypto import cipher, keys, ocicrypt
    from runjail.image.crypto.options import PublicLayerOptions

    layer = secret.manifest["layers"][0]
    private = cipher.generate(layer["digest"])
    public = PublicLayerOptions(hmac.digest(private.symkey, secret.blob(layer).read_bytes(), "sha256"))
    layer["annotations"] = ocicrypt.wrap(private, public, keys.read_recipients([f"jwe:{stranger.public}"]))

    said = cli.refused("run", "--image", secret.write(), *stranger.key, "thief", "--", "/bin/echo", "stolen")
    assert "diffID" in said or "decompress" in said or "archive" in said or "something" in said


def test_a_blob_that_is_not_here_proves_nothing(cli: Cli, secret: Layout, hello: str, tmp_path: Path) -> None:
    """Whoever only knows digests has nothing to show."""
    mine = plain(cli, tmp_path)
    mine.config["rootfs"] = secret.config["rootfs"]
    mine.manifest["layers"][0]["digest"] = "sha256:" + "0" * 64

    cli.refused("run", "--image", mine.write(), "thief")


def test_a_config_of_another_platform_first(cli: Cli, secret: Layout, stranger: Keys) -> None:
    """CVE-2022-24778: what is authorised is the manifest that runs, not the first one of the index."""
    other = json.loads(json.dumps(secret.manifest))
    for layer in other["layers"]:
        layer["mediaType"] = layer["mediaType"].removesuffix("+encrypted")
        del layer["annotations"]
    index = [
        {**secret.entry, **secret.put(json.dumps(other).encode()), "platform": {"os": "plan9", "architecture": "386"}},
        {**secret.entry, "platform": {"os": secret.config["os"], "architecture": secret.config["architecture"]}},
    ]
    body = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": index})
    top = {"mediaType": "application/vnd.oci.image.index.v1+json", **secret.put(body.encode())}
    (secret.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))

    said = cli.refused("run", "--image", f"oci:{secret.path}", *stranger.key, "thief")
    assert said.startswith("you are not authorized to use this image")


def test_every_encrypted_layer_is_asked_for(cli: Cli, secret: Layout, keys: Keys, stranger: Keys) -> None:
    """imgcrypt stops at the first one; a second one of somebody else's needs its own key."""
    from runjail.image.crypto import ocicrypt
    from runjail.image.crypto.keys import read_keys, read_recipients
    from runjail.image.model import parse_descriptor

    first = secret.manifest["layers"][0]
    described = parse_descriptor(first, "layer")
    private = ocicrypt.unwrap(described, read_keys([keys.private]))
    mine = ocicrypt.wrap(private, ocicrypt.public(described), read_recipients([f"jwe:{stranger.public}"]))
    secret.manifest["layers"] = [{**first, "annotations": mine}, first]
    secret.config["rootfs"]["diff_ids"] *= 2

    said = cli.refused("run", "--image", secret.write(), *stranger.key, "thief")
    assert said.startswith("you are not authorized to use this image")


def test_the_owner_still_may(cli: Cli, secret: Layout, keys: Keys, hello: str) -> None:
    """Also from a copy of the image with another recipient's packet beside, and once blobs are gone."""
    assert cli.ok("run", "--image", secret.write(), *keys.key, "two") == "Hello World!\n"
    said = base64.b64decode(secret.manifest["layers"][0]["annotations"]["org.opencontainers.image.enc.pubopts"])
    assert json.loads(said)["cipher"] == "AES_256_CTR_HMAC_SHA256"
