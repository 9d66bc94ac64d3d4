"""diff and commit: what a container changed, as lines and as a layer, in every store."""

import json
from pathlib import Path

import pytest

from tests.support.story.cli import Cli, Keys

pytestmark = pytest.mark.needs("root")

SCRIPT = (
    "mkdir -p /d/sub; echo x >/d/sub/f; rm /etc/group; echo more >>/etc/passwd; ln -s a /lnk; chmod 4755 /d/sub/f;"
    " ln /d/sub/f /d/hard; touch /ready; exec sleep 600"
)
LINES = ["A /d", "A /d/hard", "A /d/sub", "A /d/sub/f", "C /etc", "D /etc/group", "C /etc/passwd", "A /lnk", "A /ready"]


@pytest.fixture
def web(cli: Cli, hello: str) -> str:
    """A container that has changed files."""
    cli.ok("run", "-d", "--image", hello, "--name", "web", "/bin/sh", "-c", SCRIPT)
    while cli("exec", "web", "/bin/test", "-f", "/ready").returncode:
        pass
    return "web"


def test_what_changed_is_listed_and_becomes_a_layer(cli: Cli, web: str) -> None:
    assert cli.ok("diff", "web").splitlines() == LINES
    assert cli.json("diff", "web") == {
        "changed": ["/etc", "/etc/passwd"],
        "added": ["/d", "/d/hard", "/d/sub", "/d/sub/f", "/lnk", "/ready"],
        "deleted": ["/etc/group"],
    }

    cli.ok("commit", "-q", "--pause", "-c", 'CMD ["/bin/cat", "/d/sub/f"]', "-c", "ENV A=b c", web, "made:1")

    assert json.loads(cli.ok("state", "web"))["status"] == "running"
    assert cli.ok("run", "--image", "made:1", "one") == "x\n"
    script = "echo $A; ls /etc; tail -n 1 /etc/passwd; ls -l /d/hard /lnk"
    said = cli.ok("run", "--image", "made:1", "one", "/bin/sh", "-c", script)
    assert said.startswith("b c\n")
    assert "group" not in said
    assert "\nmore\n" in said
    assert "-rwsr-xr-x    2 " in said or "-rwsr-xr-x 2 " in said or "-rwsr-xr-x  2 " in said
    layers = cli.json("image", "inspect", "made:1")["layers"]
    assert layers[0] == cli.json("image", "inspect", "hello")["layers"][0] | {"usedBy": layers[0]["usedBy"]}
    assert len(layers) == 2


@pytest.mark.parametrize("location", ["dir"], indirect=True)
def test_a_stopped_container_and_one_of_what_was_committed(cli: Cli, web: str) -> None:
    cli.ok("kill", "web", "KILL")
    cli.runjail.wait("web")
    cli.ok("commit", "-m", "first", "-a", "us", web, "made:1")
    cli.ok("run", "-d", "--image", "made:1", "two", "/bin/sh", "-c", "rm -r /d; echo y >/y; sleep 600")
    while cli("exec", "two", "/bin/test", "-f", "/y").returncode:
        pass
    cli.ok("commit", "two", "made:2")

    assert "D /d" in cli.ok("diff", "two").splitlines()
    assert len(cli.json("image", "inspect", "made:2")["layers"]) == 3
    assert cli.ok("run", "--image", "made:2", "one", "/bin/sh", "-c", "ls /d 2>/dev/null || cat /y") == "y\n"


@pytest.mark.parametrize("location", ["dir"], indirect=True)
def test_encrypted_at_once(cli: Cli, web: str, keys: Keys, stranger: Keys) -> None:
    """No plain layer stays in the store; what is on top of an encrypted image is not left plain by accident."""
    cli.ok("commit", *keys.recipient, web, "secret")

    layers = cli.json("image", "inspect", "secret")["layers"]
    assert [layer["mediaType"].rpartition("+")[2] for layer in layers] == ["encrypted", "encrypted"]
    blobs = list(Path(cli.store.content(), "blobs", "sha256").iterdir())
    assert len(blobs) == 3 + 4, "three of hello; a manifest, a config and two layers"
    assert cli.refused("run", "--image", "secret", *stranger.key, "one").startswith("you are not authorized")
    cli.ok("run", "-d", "--image", "secret", *keys.key, "two", "/bin/sh", "-c", "sleep 600")
    assert cli.refused("commit", "two", "open").endswith("is encrypted, and the new layer would not be")
    cli.ok("commit", *stranger.recipient, "two", "more")
    layers = cli.json("image", "inspect", "more")["layers"]
    assert len([layer for layer in layers if layer["mediaType"].endswith("+encrypted")]) == 3
    cli.ok("commit", "--plain", "two", "open")
    assert not cli.json("image", "inspect", "open")["layers"][2]["mediaType"].endswith("+encrypted")


@pytest.mark.parametrize("location", ["dir"], indirect=True)
def test_what_is_refused(cli: Cli, web: str, tmp_path: Path) -> None:
    """And nothing is left in the store."""
    before = sorted(Path(cli.store.content(), "blobs", "sha256").iterdir())
    assert cli.refused("commit", web, "oci:/x").startswith("not a name for an image")
    assert cli.refused("commit", "-c", "RUN x", web, "x").startswith("--change: not an instruction: 'RUN x'")
    assert cli.refused("commit", "nobody", "x") == "container does not exist: nobody"
    assert cli.refused("diff", "nobody") == "container does not exist: nobody"
    cli.ok("image", "bundle", "hello", str(tmp_path / "bundle"))
    cli.ok("run", "-d", "-b", str(tmp_path / "bundle"), "plain", "/bin/sleep", "600")
    assert cli.refused("diff", "plain") == "container plain was not made by run --image"
    cli.ok("delete", "-f", "plain")
    (tmp_path / "bundle" / "config.json").unlink()
    cli.ok("image", "prune")
    assert sorted(Path(cli.store.content(), "blobs", "sha256").iterdir()) == before

    cli.ok("image", "rm", "hello")
    result = cli("commit", web, "x")
    assert "the container's image has to be in the store" in result.stderr
    assert result.returncode == 1
