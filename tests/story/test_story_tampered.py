"""Any byte changed in any part of an encrypted image: refused, nothing written, no dataset left."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.story.cli import Cli, Keys
from tests.support.story.layout import Layout

pytestmark = pytest.mark.needs("root")
PUBLIC = "org.opencontainers.image.enc.pubopts"
WRAPPED = "org.opencontainers.image.enc.keys.jwe"


def flipped(content: bytes, position: int) -> bytes:
    """Return content with one bit changed, at a position counted from either end."""
    changed = bytearray(content)
    changed[position] ^= 1
    return bytes(changed)


def annotation(layout: Layout, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the document that an annotation of the layer holds."""
    annotations = layout.manifest["layers"][0]["annotations"]
    document = json.loads(base64.b64decode(annotations[name]))
    change(document)
    annotations[name] = base64.b64encode(json.dumps(document).encode()).decode()


def blob(position: int) -> Callable[[Layout], None]:
    """Change ciphertext, and the digest that the manifest has of it: only the HMAC can tell."""

    def change(layout: Layout) -> None:
        layer = layout.manifest["layers"][0]
        layer.update(layout.put(flipped(layout.blob(layer).read_bytes(), position)))

    return change


def hmac(layout: Layout) -> None:
    def change(document: dict[str, Any]) -> None:
        document["hmac"] = base64.b64encode(flipped(base64.b64decode(document["hmac"]), 3)).decode()

    annotation(layout, PUBLIC, change)


def public_nonce(layout: Layout) -> None:
    other = {"nonce": base64.b64encode(bytes(16)).decode()}
    annotation(layout, PUBLIC, lambda document: document.update(cipheroptions=other))


def cipher(layout: Layout) -> None:
    annotation(layout, PUBLIC, lambda document: document.update(cipher="AES_256_CTR"))


def wrapped(member: str) -> Callable[[Layout], None]:
    """Change a member of the JWE packet."""

    def change(document: dict[str, Any]) -> None:
        text = document[member]
        document[member] = ("B" if text[0] != "B" else "C") + text[1:]

    return lambda layout: annotation(layout, WRAPPED, change)


def no_public(layout: Layout) -> None:
    del layout.manifest["layers"][0]["annotations"][PUBLIC]


def diff_id(layout: Layout) -> None:
    layout.config["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]


def shorter(layout: Layout) -> None:
    layer = layout.manifest["layers"][0]
    layer.update(layout.put(layout.blob(layer).read_bytes()[:-1]))


CHANGES: dict[str, tuple[Callable[[Layout], None], str]] = {
    "first byte of the blob": (blob(0), "could not properly decrypt byte stream"),
    "last byte of the blob": (blob(-1), "could not properly decrypt byte stream"),
    "a byte in the middle": (blob(5000), "could not properly decrypt byte stream"),
    "one byte fewer": (shorter, "could not properly decrypt byte stream"),
    "the HMAC": (hmac, "could not properly decrypt byte stream"),
    "a public nonce": (public_nonce, "nonce"),
    "the cipher's name": (cipher, "unsupported cipher type"),
    "no public options": (no_public, "no cipher type provided"),
    "the wrapped key": (wrapped("encrypted_key"), "you are not authorized"),
    "the packet's nonce": (wrapped("iv"), "you are not authorized"),
    "the packet's content": (wrapped("ciphertext"), "you are not authorized"),
    "the packet's tag": (wrapped("tag"), "you are not authorized"),
    "the diffID": (diff_id, "diffID"),
}


@pytest.fixture
def seen(cli: Cli, hello: str, keys: Keys, tmp_path: Path) -> Layout:
    """An encrypted image that is nowhere but in a layout."""
    cli.ok("image", "encrypt", *keys.recipient, hello)
    cli.ok("image", "export", hello, f"oci:{tmp_path}/seen:t")
    cli.ok("image", "rm", hello)
    return Layout(tmp_path / "seen")


@pytest.mark.parametrize("location", ["dir"], indirect=True)
@pytest.mark.parametrize("what", CHANGES)
def test_what_was_changed_is_refused(cli: Cli, seen: Layout, keys: Keys, what: str) -> None:
    change, why = CHANGES[what]
    change(seen)

    assert why in cli.refused("run", "--image", seen.write(), *keys.key, "one")
    assert cli.store.layers() == []
    assert cli.left() == {"roots": [], "bundles": [], "containers": []}
    assert cli.json("image", "prune")["half_made"] == []


@pytest.mark.needs("zfs")
@pytest.mark.parametrize("location", [pytest.param("zfs", marks=pytest.mark.needs("zfs"))], indirect=True)
@pytest.mark.parametrize("what", ["a byte in the middle", "the diffID"])
def test_no_dataset_is_left(cli: Cli, seen: Layout, keys: Keys, what: str) -> None:
    """The first fails before, the second after everything was extracted."""
    change, why = CHANGES[what]
    change(seen)

    assert why in cli.refused("run", "--image", seen.write(), *keys.key, "one")
    assert cli.store.layers() == []
    assert cli.json("image", "prune")["half_made"] == []


@pytest.mark.parametrize("location", ["dir"], indirect=True)
def test_documents_are_what_their_digests_say(cli: Cli, seen: Layout, keys: Keys) -> None:
    """A manifest or config changed in place is refused before anything is made of it."""
    for descriptor in (seen.manifest["config"], seen.entry):
        path = seen.blob(descriptor)
        whole = path.read_bytes()
        path.write_bytes(flipped(whole, len(whole) // 2))
        said = cli.refused("run", "--image", f"oci:{seen.path}", *keys.key, "one")
        assert "digest" in said
        path.write_bytes(whole)

    assert cli.store.layers() == []
    assert cli.ok("run", "--image", f"oci:{seen.path}", *keys.key, "one") == "Hello World!\n"


@pytest.mark.parametrize("location", ["dir"], indirect=True)
def test_a_disk_that_lies(cli: Cli, hello: str) -> None:
    """A blob that changes in the store after it was fetched is noticed when it is unpacked."""
    digest = cli.json("image", "inspect", hello)["layers"][0]["digest"]
    path = Path(cli.store.content()) / "blobs" / "sha256" / digest.removeprefix("sha256:")
    path.write_bytes(flipped(path.read_bytes(), 100))

    assert "digest" in cli.refused("run", "--image", hello, "one")
    assert cli.store.layers() == []
