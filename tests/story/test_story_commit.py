"""diff and commit: what a container changed, as lines and as a layer, in every store."""

import json
from pathlib import Path

import pytest

from tests.support.story.teller import Keys, Teller

pytestmark = pytest.mark.needs("root")

SCRIPT = (
    "mkdir -p /d/sub; echo x >/d/sub/f; rm /etc/group; echo more >>/etc/passwd; ln -s a /lnk; chmod 4755 /d/sub/f;"
    " ln /d/sub/f /d/hard; touch /ready; exec sleep 600"
)
LINES = ["A /d", "A /d/hard", "A /d/sub", "A /d/sub/f", "C /etc", "D /etc/group", "C /etc/passwd", "A /lnk", "A /ready"]


@pytest.fixture
def web(teller: Teller, hello: str) -> str:
    """A container that has changed files."""
    teller.ok("run", "-d", "--image", hello, "--name", "web", "/bin/sh", "-c", SCRIPT)
    while teller("exec", "web", "/bin/test", "-f", "/ready").returncode:
        pass
    return "web"


def test_what_changed_is_listed_and_becomes_a_layer(teller: Teller, web: str) -> None:
    assert teller.ok("diff", "web").splitlines() == LINES
    assert teller.json("diff", "web") == {
        "changed": ["/etc", "/etc/passwd"],
        "added": ["/d", "/d/hard", "/d/sub", "/d/sub/f", "/lnk", "/ready"],
        "deleted": ["/etc/group"],
    }

    teller.ok("commit", "-q", "--pause", "-c", 'CMD ["/bin/cat", "/d/sub/f"]', "-c", "ENV A=b c", web, "made:1")

    assert json.loads(teller.ok("state", "web"))["status"] == "running"
    assert teller.ok("run", "--image", "made:1", "one") == "x\n"
    script = "echo $A; ls /etc; tail -n 1 /etc/passwd; ls -l /d/hard /lnk"
    said = teller.ok("run", "--image", "made:1", "one", "/bin/sh", "-c", script)
    assert said.startswith("b c\n")
    assert "group" not in said
    assert "\nmore\n" in said
    assert "-rwsr-xr-x    2 " in said or "-rwsr-xr-x 2 " in said or "-rwsr-xr-x  2 " in said
    layers = teller.json("image", "inspect", "made:1")["layers"]
    assert layers[0] == teller.json("image", "inspect", "hello")["layers"][0] | {"usedBy": layers[0]["usedBy"]}
    assert len(layers) == 2


@pytest.mark.parametrize("location", ["dir"], indirect=True)
def test_a_stopped_container_and_one_of_what_was_committed(teller: Teller, web: str) -> None:
    teller.ok("kill", "web", "KILL")
    teller.runjail.wait("web")
    teller.ok("commit", "-m", "first", "-a", "us", web, "made:1")
    teller.ok("run", "-d", "--image", "made:1", "two", "/bin/sh", "-c", "rm -r /d; echo y >/y; sleep 600")
    while teller("exec", "two", "/bin/test", "-f", "/y").returncode:
        pass
    teller.ok("commit", "two", "made:2")

    assert "D /d" in teller.ok("diff", "two").splitlines()
    assert len(teller.json("image", "inspect", "made:2")["layers"]) == 3
    assert teller.ok("run", "--image", "made:2", "one", "/bin/sh", "-c", "ls /d 2>/dev/null || cat /y") == "y\n"


@pytest.mark.parametrize("location", ["dir"], indirect=True)
def test_encrypted_at_once(teller: Teller, web: str, keys: Keys, stranger: Keys) -> None:
    """No plain layer stays in the store; what is on top of an encrypted image is not left plain by accident."""
    teller.ok("commit", *keys.recipient, web, "secret")

    layers = teller.json("image", "inspect", "secret")["layers"]
    assert [layer["mediaType"].rpartition("+")[2] for layer in layers] == ["encrypted", "encrypted"]
    blobs = list(Path(teller.store.content(), "blobs", "sha256").iterdir())
    assert len(blobs) == 3 + 4, "three of hello; a manifest, a config and two layers"
    assert teller.refused("run", "--image", "secret", *stranger.key, "one").startswith("you are not authorized")
    teller.ok("run", "-d", "--image", "secret", *keys.key, "two", "/bin/sh", "-c", "sleep 600")
    assert teller.refused("commit", "two", "open").endswith("is encrypted, and the new layer would not be")
    teller.ok("commit", *stranger.recipient, "two", "more")
    layers = teller.json("image", "inspect", "more")["layers"]
    assert len([layer for layer in layers if layer["mediaType"].endswith("+encrypted")]) == 3
    teller.ok("commit", "--plain", "two", "open")
    assert not teller.json("image", "inspect", "open")["layers"][2]["mediaType"].endswith("+encrypted")


@pytest.mark.parametrize("location", ["dir"], indirect=True)
def test_what_is_refused(teller: Teller, web: str, tmp_path: Path) -> None:
    """And nothing is left in the store."""
    before = sorted(Path(teller.store.content(), "blobs", "sha256").iterdir())
    assert teller.refused("commit", web, "oci:/x").startswith("not a name for an image")
    assert teller.refused("commit", "-c", "RUN x", web, "x").startswith("--change: not an instruction: 'RUN x'")
    assert teller.refused("commit", "nobody", "x") == "container does not exist: nobody"
    assert teller.refused("diff", "nobody") == "container does not exist: nobody"
    teller.ok("image", "bundle", "hello", str(tmp_path / "bundle"))
    teller.ok("run", "-d", "-b", str(tmp_path / "bundle"), "plain", "/bin/sleep", "600")
    assert teller.refused("diff", "plain") == "container plain was not made by run --image"
    teller.ok("delete", "-f", "plain")
    (tmp_path / "bundle" / "config.json").unlink()
    teller.ok("image", "prune")
    assert sorted(Path(teller.store.content(), "blobs", "sha256").iterdir()) == before

    teller.ok("image", "rm", "hello")
    result = teller("commit", web, "x")
    assert "the container's image has to be in the store" in result.stderr
    assert result.returncode == 1
