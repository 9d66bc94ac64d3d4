"""Images that skopeo encrypted are run; images that we encrypted are decrypted by skopeo, to the same layers."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="needs cryptography")

from tests.support.image import key_fixtures
from tests.support.image.raw_tars import skopeo
from tests.support.story.cli import Cli

pytestmark = [
    pytest.mark.needs("root"),
    pytest.mark.peers("skopeo"),
    pytest.mark.parametrize("location", ["dir"], indirect=True),
]
Who = tuple[list[str], list[str], dict[str, str]]  # recipients, files for keys, environment


def asymmetric(scheme: str, make: Callable[[], key_fixtures.Pair]) -> Callable[[Path], Who]:
    def who(directory: Path) -> Who:
        files = make().write(directory, scheme)
        public = files["certificate" if scheme == "pkcs7" else "public"]
        return [f"{scheme}:{public}"], [files["private"], *([files["certificate"]] if scheme == "pkcs7" else [])], {}

    return who


def pgp(directory: Path) -> Who:
    """A key pair in a keyring of its own."""
    home = tempfile.mkdtemp(prefix="keys", dir="/tmp")  # the names of gpg-agent's sockets have about a hundred bytes
    env = {"GNUPGHOME": home, "PATH": os.environ["PATH"]}
    batch = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    make = [*batch, "--quick-generate-key", "Ann <ann@example.org>", "rsa2048", "default", "never"]
    subprocess.run(make, env=env, check=True, capture_output=True)
    listed = subprocess.run(["gpg", "--with-colons", "-k"], env=env, check=True, capture_output=True, text=True).stdout
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
    more = [*batch, "--quick-add-key", fingerprint, "rsa2048", "encr", "never"]
    subprocess.run(more, env=env, check=True, capture_output=True)
    secret = subprocess.run([*batch, "--export-secret-keys"], env=env, check=True, capture_output=True).stdout
    subprocess.run(["gpgconf", "--kill", "all"], env=env, check=False)
    shutil.move(home, directory / "gnupg")  # which has what encrypts; a public key needs no agent
    (directory / "secret.gpg").write_bytes(secret)
    (directory / "secret.gpg").chmod(0o600)
    return ["pgp:ann@example.org"], [str(directory / "secret.gpg")], {"GNUPGHOME": str(directory / "gnupg")}


def several(directory: Path) -> Who:
    """Three recipients, of whom the last one decrypts."""
    first, _keys, _env = asymmetric("jwe", key_fixtures.rsa_pair)(directory)
    second, _keys, _env = asymmetric("jwe", key_fixtures.ec_pair)(directory / "..")
    third, keys, _env = asymmetric("pkcs7", lambda: key_fixtures.rsa_pair("third"))(directory)
    return [*first, *second, *third], keys, {}


WHO = {
    "jwe rsa": asymmetric("jwe", key_fixtures.rsa_pair),
    "jwe ec": asymmetric("jwe", key_fixtures.ec_pair),
    "pkcs7": asymmetric("pkcs7", key_fixtures.rsa_pair),
    "pgp": pgp,
    "several": several,
}


def layers(layout: Path) -> list[bytes]:
    """Return the content of each layer of the one image in a layout."""

    def blob(descriptor: dict[str, str]) -> bytes:
        return (layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()

    entry = json.loads((layout / "index.json").read_text())["manifests"][0]
    return [blob(layer) for layer in json.loads(blob(entry))["layers"]]


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("scheme", WHO)
def test_both_directions(
    cli: Cli, hello: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, kind: str
) -> None:
    if kind == "zstd":
        pytest.importorskip("backports.zstd")
    (tmp_path / "keys").mkdir()
    recipients, keys, env = WHO[scheme](tmp_path / "keys")
    cli.env |= env
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    cli.ok("image", "export", "--compression", kind, hello, f"oci:{tmp_path}/plain:t")
    with_keys = [word for key in keys for word in ("--key", key)]

    options = [word for recipient in recipients for word in ("--encryption-key", recipient)]
    done = skopeo(tmp_path / "keys", *options, f"oci:{tmp_path}/plain:t", f"oci:{tmp_path}/theirs:t")
    assert done.returncode == 0, done.stderr
    assert cli.ok("run", "--image", f"oci:{tmp_path}/theirs:t", *with_keys, "one") == "Hello World!\n"

    words = [word for recipient in recipients for word in ("--recipient", recipient)]
    cli.ok("image", "encrypt", *words, f"oci:{tmp_path}/plain:t", f"oci:{tmp_path}/ours:t")
    assert layers(tmp_path / "ours") != layers(tmp_path / "plain")
    options = [word for key in keys for word in ("--decryption-key", key)]
    done = skopeo(tmp_path / "keys", *options, f"oci:{tmp_path}/ours:t", f"oci:{tmp_path}/back:t")
    assert done.returncode == 0, done.stderr
    assert layers(tmp_path / "back") == layers(tmp_path / "plain")
