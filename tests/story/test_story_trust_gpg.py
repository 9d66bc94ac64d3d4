"""skopeo signs by a key of GPG's, with the place that registries.d names; what it has signed runs here."""

import json
import os
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("yaml", reason="needs PyYAML")

from tests.support.image.pgp_keys import Keys
from tests.support.image.registry_server import DockerRegistry
from tests.support.story.cli import Cli

pytestmark = [
    pytest.mark.needs("root", "gpg"),
    pytest.mark.peers("skopeo"),
    pytest.mark.parametrize("location", ["dir"], indirect=True),
]


def test_what_skopeo_has_signed(
    cli: Cli, hello: str, registry: DockerRegistry, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """And skopeo and runjail refuse the same image where it is not signed, in the same place of the policy."""
    gpg = Keys(str(tmp_path_factory.mktemp("g")))
    place = tmp_path / "home/.config/containers/registries.d"
    place.mkdir(parents=True)
    look = f"file://{tmp_path}/look"
    entry = {"lookaside": look, "lookaside-staging": look, "sigstore": look, "sigstore-staging": look}
    (place / "a.yaml").write_text(json.dumps({"docker": {registry.host: entry}}), encoding="utf-8")
    (tmp_path / "alice.gpg").write_bytes(gpg.gpg("--export", "alice"))
    asked = [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": f"{tmp_path}/alice.gpg"}]
    document = {"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker": {"": asked}}}
    (tmp_path / "policy.json").write_text(json.dumps(document), encoding="utf-8")
    env = {"HOME": f"{tmp_path}/home", "GNUPGHOME": gpg.home, "PATH": os.environ["PATH"]}

    def skopeo(*words: str) -> "subprocess.CompletedProcess[str]":
        command = ["skopeo", "--policy", f"{tmp_path}/policy.json", "copy", "--dest-tls-verify=false"]
        command += ["--src-tls-verify=false", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    cli.env["HOME"] = f"{tmp_path}/home"
    cli.ok("image", "export", hello, f"oci:{tmp_path}/layout:1")
    cli.ok("image", "rm", hello)
    names = {signed: f"{registry.host}/gpg/{'signed' if signed else 'unsigned'}:1" for signed in (True, False)}
    policy = ("--signature-policy", f"{tmp_path}/policy.json")
    for signed, name in names.items():
        options = ("--sign-by", "alice@example.org") if signed else ()
        done = skopeo(*options, f"oci:{tmp_path}/layout:1", f"docker://{name}")
        assert done.returncode == 0, done.stderr

        done = skopeo(f"docker://{name}", f"dir:{tmp_path}/copy-{signed}")
        assert (done.returncode == 0) == signed, done.stderr
        if signed:
            cli.ok("image", "pull", *policy, name)
            assert cli.ok("run", *policy, "--image", name, "one") == "Hello World!\n"
        else:
            said = cli.refused("image", "pull", *policy, name)
            assert said.endswith('transports.docker[""][0]: signedBy: there is no signature')
    subprocess.run(["gpgconf", "--kill", "all"], env=env, check=False)
