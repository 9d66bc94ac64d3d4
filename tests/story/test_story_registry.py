"""The owner's story: build, encrypt, push, pull elsewhere, be refused, run with the key, leave nothing."""

import os
from pathlib import Path

import pytest

from tests.support.image.registry_server import DockerRegistry
from tests.support.program import Runjail
from tests.support.story.cli import Cli, Keys

pytestmark = pytest.mark.needs("root")
REFUSAL = "you are not authorized to use this image: missing private key needed for decryption"


def test_the_whole_story(
    cli: Cli, hello: str, keys: Keys, stranger: Keys, registry: DockerRegistry, tmp_path: Path, runjail: Runjail
) -> None:
    name = f"{registry.host}/story:{os.path.basename(tmp_path)[-20:]}"
    before = cli.json("image", "inspect", hello)
    cli.ok("image", "encrypt", *keys.recipient, hello)
    assert cli.json("image", "inspect", hello)["encrypted"]
    cli.ok("image", "push", hello, name)
    cli.ok("image", "rm", hello)
    assert cli.json("image", "ls") == []

    cli.ok("image", "pull", name)
    pulled = cli.json("image", "inspect", name)
    assert [layer["diffID"] for layer in pulled["layers"]] == [layer["diffID"] for layer in before["layers"]]
    assert [layer["recipients"] for layer in pulled["layers"]] == [["[jwe]"]]
    assert cli.refused("run", "--image", name, "one") == REFUSAL
    assert cli.store.layers() == []
    assert "none of the private keys could be used" in cli.refused("run", "--image", name, *stranger.key, "one")
    assert cli.store.layers() == []

    assert cli.ok("run", "--image", name, *keys.key, "one") == "Hello World!\n"
    assert len(cli.store.layers()) == 1

    assert cli.refused("run", "--image", name, "two") == REFUSAL, "layers in the store are no way around"
    assert cli.left() == {"roots": [], "bundles": [], "containers": []}
    cli.ok("image", "rm", name)
    assert cli.store.layers() == []


def test_a_container_that_stays_has_a_root_of_its_own(cli: Cli, hello: str) -> None:
    """Detached containers of one image share layers, not what they write; delete takes bundle and root back."""
    for name in ("one", "two"):
        cli.ok("run", "--image", hello, "-d", name, "--", "/bin/sh", "-c", f"echo {name} >/tmp/x; exec sleep 600")
    roots = cli.store.roots()
    assert len(roots) == 2
    assert {layer.users for layer in cli.store.layers()} == {tuple(sorted(root.name for root in roots))}
    assert cli.ok("exec", "one", "/bin/cat", "/tmp/x") == "one\n"
    assert cli.ok("exec", "two", "/bin/cat", "/tmp/x") == "two\n"

    cli.ok("image", "prune", "--all")
    assert [layer.users for layer in cli.store.layers()] != [], "what is in use stays"
    cli.ok("image", "rm", hello)
    assert cli.ok("exec", "one", "/bin/cat", "/tmp/x") == "one\n"

    for name in ("one", "two"):
        cli.ok("delete", "--force", name)
    assert cli.left() == {"roots": [], "bundles": [], "containers": []}
    cli.ok("image", "prune")
    assert cli.store.layers() == []


def test_encrypt_for_a_registry(cli: Cli, hello: str, keys: Keys, registry: DockerRegistry) -> None:
    """docker:// is a place, as for skopeo: the result is there, and has no name here."""
    name = f"{registry.host}/straight:1"
    before = cli.json("image", "ls")
    said = cli.ok("image", "encrypt", *keys.recipient, hello, f"docker://{name}")
    assert name in said
    assert cli.json("image", "ls") == before
    assert not cli.json("image", "inspect", hello)["encrypted"]

    cli.ok("image", "decrypt", *keys.key, f"docker://{name}", f"docker://{registry.host}/straight:plain")
    cli.ok("image", "rm", name)
    encrypted, plain = (
        cli.json("image", "inspect", f"{registry.host}/straight:{tag}")["encrypted"] for tag in ("1", "plain")
    )
    assert (encrypted, plain) == (True, False)
    for words in ((f"docker://{name}",), (hello, "docker://UPPER/case")):
        cli.refused("image", "encrypt", *keys.recipient, *words)
    assert "say where the result goes" in cli.refused("image", "encrypt", *keys.recipient, f"docker://{name}")
    for verb in ("tag", "import"):
        source = hello if verb == "tag" else "oci:/nonexistent"
        assert "not a name for an image" in cli.refused("image", verb, source, f"docker://{name}")


def test_keys_may_be_settled_in_runjail_toml(cli: Cli, hello: str, keys: Keys, tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    directory.mkdir()
    (directory / "ours.pem").write_bytes(Path(keys.private).read_bytes())
    (directory / "ours.pem").chmod(0o600)
    settings = tmp_path / "runjail.toml"
    settings.write_text(f'[keys]\ndirectories = ["{directory}"]\n', encoding="utf-8")
    cli.ok("image", "encrypt", *keys.recipient, hello, "secret")
    cli.env["RUNJAIL_CONFIG"] = str(settings)

    assert cli.ok("run", "--image", "secret", "one") == "Hello World!\n"


def test_users_environment_and_directories(cli: Cli, hello: str) -> None:
    """Names are the image's own; options change what the image says."""
    words = ("run", "--image", hello, "-e", "A=b", "-w", "/tmp", "--hostname", "here", "-u", "web", "one", "--")
    script = 'echo "$(id -u):$(id -g) $A $(pwd) $(hostname)"'

    assert cli.ok(*words, "/bin/sh", "-c", script) == "1000:1000 b /tmp here\n"


def test_exit_codes_are_the_program_s(cli: Cli, hello: str) -> None:
    assert cli("run", "--image", hello, "one", "--", "/bin/sh", "-c", "exit 7").returncode == 7
    assert "no such file or directory" in cli.refused("run", "--image", hello, "one", "--", "/no/such", code=127)
    assert cli.left() == {"roots": [], "bundles": [], "containers": []}


def test_a_limit_on_what_may_be_written(cli: Cli, hello: str) -> None:
    """ZFS enforces it; a directory cannot, and says so."""
    words = ("run", "--image", hello, "--storage-opt", "size=8m", "one", "--", "/bin/dd")
    result = cli(*words, "if=/dev/urandom", "of=/tmp/x", "bs=1048576", "count=12")

    if cli.location.startswith("zfs:"):
        assert result.returncode == 1
        assert "quota" in result.stderr.lower()
    else:
        assert result.returncode == 0
        assert "runjail" not in result.stdout
        assert f"{cli.location} cannot enforce a size; a store on ZFS can" in result.stderr
