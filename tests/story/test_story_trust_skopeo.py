"""Signatures in both directions with the real skopeo, through a real registry."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="needs cryptography")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.image.registry_server import DockerRegistry
from tests.support.image.signing import sealed_key
from tests.support.story.cli import Cli

pytestmark = [
    pytest.mark.needs("root"),
    pytest.mark.peers("skopeo"),
    pytest.mark.parametrize("location", ["dir"], indirect=True),
]
PASSWORD = "hunter2"

Skopeo = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def skopeo(tmp_path: Path) -> Skopeo:
    """Run `skopeo copy`, which reads and writes sigstore's signatures and asks the policy."""
    (tmp_path / "registries.d").mkdir()
    words = "default-docker:\n  use-sigstore-attachments: true\n"
    (tmp_path / "registries.d/all.yaml").write_text(words, encoding="utf-8")

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        first = ["skopeo", "--registries.d", f"{tmp_path}/registries.d", "--policy", f"{tmp_path}/policy.json", "copy"]
        command = [*first, "--src-tls-verify=false", "--dest-tls-verify=false", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def keys(tmp_path: Path) -> None:
    """A pair as skopeo makes it, and a policy that wants its signature of the registry's images."""
    key = ec.generate_private_key(ec.SECP256R1())
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "key.pub").write_bytes(key.public_key().public_bytes(encoding, form))
    sealed = sealed_key(key, PASSWORD.encode(), "ENCRYPTED COSIGN PRIVATE KEY", 32768)  # older ones know no other label
    (tmp_path / "key").write_bytes(sealed)
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    asked: list[dict[str, Any]] = [{"type": "sigstoreSigned", "keyPath": f"{tmp_path}/key.pub"}]
    document = {"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker": {"": asked}}}
    (tmp_path / "policy.json").write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.usefixtures("keys")
def test_both_directions(cli: Cli, hello: str, registry: DockerRegistry, skopeo: Skopeo, tmp_path: Path) -> None:
    """What skopeo has signed runs here, what is signed here skopeo copies, and neither takes what is not signed."""
    policy = ("--signature-policy", f"{tmp_path}/policy.json")
    cli.ok("image", "export", hello, f"oci:{tmp_path}/layout:1")
    theirs, ours, unsigned = (f"{registry.host}/trust/{name}:1" for name in ("theirs", "ours", "unsigned"))
    signing = ("--sign-by-sigstore-private-key", f"{tmp_path}/key", "--sign-passphrase-file", f"{tmp_path}/password")
    done = skopeo(*signing, f"oci:{tmp_path}/layout:1", f"docker://{theirs}")
    if "sigstore disabled" in done.stderr:
        pytest.skip("needs a skopeo that signs: Debian 12 has switched that off, Debian 13 has not")
    assert done.returncode == 0, done.stderr

    cli.ok("image", "push", "--sign-by-sigstore", f"{tmp_path}/key:file={tmp_path}/password", hello, f"docker://{ours}")
    cli.ok("image", "push", hello, f"docker://{unsigned}")
    done = skopeo(f"docker://{unsigned}", f"dir:{tmp_path}/unsigned")
    assert done.returncode != 0
    assert "no signature exists" in done.stderr

    cli.ok("image", "rm", hello)
    for number, name in enumerate((theirs, ours)):
        done = skopeo(f"docker://{name}", f"dir:{tmp_path}/copy-{number}")
        assert done.returncode == 0, done.stderr
        cli.ok("image", "pull", *policy, name)
        assert cli.ok("run", *policy, "--image", name, f"c{number}") == "Hello World!\n"
    said = cli.refused("image", "pull", *policy, unsigned)
    assert said.endswith('transports.docker[""][0]: sigstoreSigned: there is no signature')


@pytest.mark.usefixtures("keys")
def test_what_is_there_already(cli: Cli, hello: str, registry: DockerRegistry, tmp_path: Path) -> None:
    """An image of a registry is signed by pulling and pushing it: its manifest stays as it was."""
    policy, name = ("--signature-policy", f"{tmp_path}/policy.json"), f"{registry.host}/trust/there:1"
    before = cli.ok("image", "push", hello, f"docker://{name}")
    cli.ok("image", "rm", hello)
    assert cli.refused("image", "pull", *policy, name).endswith("sigstoreSigned: there is no signature")
    cli.ok("image", "pull", name)

    signed = cli.ok("image", "push", "--sign-by-sigstore", f"{tmp_path}/key:file={tmp_path}/password", name)
    cli.ok("image", "rm", name)

    assert signed.rpartition("@")[2] == before.rpartition("@")[2]
    cli.ok("image", "pull", *policy, name)
    assert cli.ok("run", *policy, "--image", name, "c") == "Hello World!\n"
