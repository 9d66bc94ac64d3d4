"""What images and stores are called on the command line: digests, stores that are not there, files that are missing."""

import json
from pathlib import Path

import pytest

from tests.support.program import Runjail
from tests.support.story.cli import Cli, Keys

pytestmark = [
    pytest.mark.needs("root"),
    pytest.mark.parametrize("location", ["dir"], indirect=True),
]
FULL = "docker.io/library/hello:latest"


@pytest.fixture
def digest(cli: Cli, hello: str) -> str:
    """The digest that `image ls` shows for hello."""
    return str(cli.json("image", "ls")[0]["digest"])


@pytest.mark.parametrize("form", ["whole", "digits", "short", "short with its algorithm", "behind the name"])
def test_what_ls_shows_is_a_name(cli: Cli, digest: str, form: str, tmp_path: Path) -> None:
    """Every verb that takes an image takes its digest, as podman does; `pull` prints the last form."""
    digits = digest.partition(":")[2]
    word = {
        "whole": digest,
        "digits": digits,
        "short": digits[:12],
        "short with its algorithm": f"sha256:{digits[:12]}",
        "behind the name": f"hello:latest@{digest}",
    }[form]
    assert digits[:12] in cli.ok("image", "ls")

    assert cli.json("image", "inspect", word)["name"] == FULL
    assert cli.json("image", "layerinfo", word)[0]["layer"] == 0
    assert cli.ok("run", "--image", word, "one") == "Hello World!\n"
    cli.ok("image", "unpack", word)
    cli.ok("image", "bundle", word, str(tmp_path / "bundle"))
    cli.ok("image", "export", word, f"oci:{tmp_path}/layout:t")
    assert json.loads((tmp_path / "layout/index.json").read_text())["manifests"][0]["digest"] == digest
    cli.ok("image", "tag", word, "other:1")
    (tmp_path / "bundle/config.json").unlink()
    cli.ok("image", "rm", "other:1")
    cli.ok("image", "rm", word)
    assert cli.json("image", "ls") == []
    cli.ok("image", "prune")


def test_the_digest_of_a_config_is_a_name(cli: Cli, digest: str) -> None:
    """It is what podman and docker show as the image's id."""
    config = cli.json("image", "inspect", "hello")["config"]

    assert cli.json("image", "inspect", config)["digest"] == digest
    assert cli.json("image", "inspect", config.partition(":")[2][:12])["digest"] == digest


def test_a_digest_with_two_names(cli: Cli, digest: str) -> None:
    """As with `podman rmi`: nothing is removed before it is clear which."""
    cli.ok("image", "tag", "hello", "other:1")
    assert "has more than one name" in cli.refused("image", "rm", digest)
    assert len(cli.json("image", "ls")) == 2

    cli.ok("image", "rm", "--force", digest)
    assert cli.json("image", "ls") == []


def test_a_digest_of_nothing(cli: Cli, digest: str, keys: Keys) -> None:
    """It asks no registry; a name that looks like one does not stand for an image that begins so."""
    absent = "sha256:" + "0" * 64
    for verb in (("inspect",), ("layerinfo",), ("unpack",), ("rm",), ("export", "oci:/nonexistent")):
        assert cli.refused("image", verb[0], absent, *verb[1:]) == f"image does not exist: {absent}"
    assert cli.refused("run", "--image", absent, "one") == f"image does not exist: {absent}"
    assert cli.refused("image", "inspect", "sha256:12").startswith("not a digest")
    assert cli.refused("image", "pull", absent).startswith(f"{absent}: not a registry's image")
    assert cli.refused("image", "import", absent).startswith(f"{absent}: not a layout")
    assert cli.refused("image", "tag", "hello", absent).startswith("not a name for an image")
    assert "say where the result goes" in cli.refused("image", "encrypt", *keys.recipient, digest)
    assert "what the result is called" in cli.refused("image", "encrypt", *keys.recipient, digest[7:19])
    other = cli.json("image", "inspect", "hello")
    short = digest.partition(":")[2][:12]
    cli.ok("image", "tag", "hello", short)
    assert cli.json("image", "inspect", short)["name"] == f"docker.io/library/{short}:latest"
    assert cli.json("image", "inspect", short)["digest"] == other["digest"]
    cli.ok("image", "rm", short)
    assert cli.ok("image", "ls", "-q") == f"{FULL}\n"


READING = [
    ("image", "ls"),
    ("image", "ls", "-q"),
    ("image", "inspect", "web"),
    ("image", "layerinfo", "web"),
    ("image", "tag", "web", "other"),
    ("image", "rm", "web"),
    ("image", "prune"),
]


@pytest.mark.parametrize("verb", READING, ids=" ".join)
def test_a_mistyped_store_is_not_made(cli: Cli, verb: tuple[str, ...], tmp_path: Path) -> None:
    """Neither a directory that is not there nor one that is somebody else's becomes a store because somebody looked."""
    for place in (tmp_path / "mistyped", tmp_path / "home"):
        if place.name == "home":
            (place / "mail").mkdir(parents=True)
        before = sorted(place.rglob("*"))
        result = cli.runjail("--store", f"dir:{place}", *verb)

        assert (result.returncode, result.stdout) == (1, ""), result
        assert f"there is no store dir:{place}\n" in result.stderr
        assert (sorted(place.rglob("*")), place.exists()) == (before, place.name == "home")


def test_an_empty_directory_becomes_a_store(cli: Cli, tmp_path: Path) -> None:
    """Somebody made it to be one; nothing is in it."""
    (tmp_path / "mine").mkdir()

    assert cli.runjail.ok("--store", f"dir:{tmp_path}/mine", "image", "ls", "-q").stdout == ""


@pytest.mark.needs("zfs")
def test_a_dataset_that_is_not_there(runjail: Runjail, dataset: str, location: str) -> None:
    """An empty table would say that there are no images."""
    for verb in READING:
        result = runjail("--store", f"zfs:{dataset}/mistyped", *verb)
        assert (result.returncode, result.stdout) == (1, ""), result
        assert f"there is no store zfs:{dataset}/mistyped\n" in result.stderr


@pytest.mark.parametrize(
    "verb",
    [
        ("image", "pull", "127.0.0.1:1/web"),
        ("image", "inspect", "hello"),
        ("image", "unpack", "hello"),
        ("image", "push", "hello", "127.0.0.1:1/web"),
    ],
    ids=" ".join,
)
def test_an_authfile_that_is_missing(cli: Cli, hello: str, verb: tuple[str, ...], tmp_path: Path) -> None:
    """Named, whether credentials will be needed or not, as podman and buildah do it."""
    said = cli.refused(*verb, "--authfile", f"{tmp_path}/missing.json")
    assert said == f"credentials file {tmp_path}/missing.json is missing"

    (tmp_path / "auth.json").write_text("[]")
    assert "not a JSON object" in cli.refused(*verb, "--authfile", f"{tmp_path}/auth.json")


def test_an_image_without_a_command(cli: Cli, machine_rootfs: Path, tmp_path: Path) -> None:
    """A bundle of it can be made: with a command. Without one the error says where that goes."""
    cli.ok("image", "import", f"rootfs:{machine_rootfs}", "bare")
    result = cli("image", "bundle", "bare", str(tmp_path / "bundle"))
    assert "the image does not say what to run" in result.stderr
    assert (
        "hint: name a program and its arguments behind the container's id, or the bundle's directory" in result.stderr
    )
    assert not (tmp_path / "bundle").exists()

    cli.ok("image", "bundle", "bare", str(tmp_path / "bundle"), "-q", "/bin/echo", "-n", "here")
    assert cli.ok("run", "-b", str(tmp_path / "bundle"), "one") == "here"
    assert cli.ok("run", "--image", "bare", "one", "/bin/echo", "there") == "there\n"
    (tmp_path / "bundle/config.json").unlink()
    cli.ok("image", "prune")


@pytest.mark.parametrize(("behind", "warned"), [("pass=open sesame", True), ("open sesame", True), ("file=", False)])
def test_a_password_on_the_command_line(
    cli: Cli, hello: str, keys: Keys, tmp_path: Path, behind: str, warned: bool
) -> None:
    """ps(1) shows it to everybody; the alternative is named, the password is not repeated."""
    (tmp_path / "password").write_text("open sesame")
    words = behind + str(tmp_path / "password") if behind == "file=" else behind
    cli.ok("image", "encrypt", *keys.recipient, hello, "secret")

    result = cli("run", "--image", "secret", "--key", f"{keys.private}:{words}", "one")

    assert (result.returncode, result.stdout) == (0, "Hello World!\n"), result
    assert ("in ps(1): give it as FILE:file=PATH or FILE:fd=N" in result.stderr) is warned
    assert "open sesame" not in result.stderr
