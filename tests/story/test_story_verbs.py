"""What the verbs of images print and refuse, in a directory store: both kinds are behind one protocol."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.image.images import need_zstd
from tests.support.program import FREEBSD
from tests.support.story.cli import Cli, Keys

pytestmark = [
    pytest.mark.needs("root"),
    pytest.mark.parametrize("location", ["dir"], indirect=True),
]


def test_names(cli: Cli, hello: str) -> None:
    """tag adds a name, rm takes one away, and the image goes with its last one."""
    cli.ok("image", "unpack", hello)
    cli.ok("image", "tag", hello, "registry.example/other:2")
    assert cli.ok("image", "ls", "-q") == "docker.io/library/hello:latest\nregistry.example/other:2\n"

    cli.ok("image", "rm", hello)
    assert [image["name"] for image in cli.json("image", "ls")] == ["registry.example/other:2"]
    assert len(cli.store.layers()) == 1
    assert cli.refused("image", "rm", hello, "registry.example/other:2").startswith("image does not exist: ")
    assert cli.store.layers() == []
    cli.ok("image", "rm", "--force", hello)


def test_ls_and_inspect(cli: Cli, hello: str) -> None:
    listed = cli.json("image", "ls")[0]
    assert (listed["name"], listed["unpacked"], listed["encrypted"]) == ("docker.io/library/hello:latest", None, False)
    chain, where = cli.ok("image", "unpack", hello).split()

    layer = cli.json("image", "inspect", hello)["layers"][0]
    assert (layer["chainID"], layer["dataset"], layer["usedBy"]) == (chain, where, [])
    assert cli.json("image", "ls")[0]["unpacked"] > 100_000
    assert cli.json("image", "unpack", hello) == {
        "name": "docker.io/library/hello:latest",
        "chainID": chain,
        "dataset": where,
    }
    shown = cli.ok("image", "inspect", hello)
    assert 'runs      ["/bin/echo", "Hello World!"]' in shown
    assert "docker.io/library/hello:latest  " in cli.ok("image", "ls")


def test_which_store_it_is_and_why(cli: Cli, hello: str) -> None:
    """`check` and `image ls` say it, to people and to programs."""
    assert cli.ok("image", "ls").splitlines()[-1] == f"store {cli.location}: it was named"
    rows = json.loads(cli("check", "-f", "json").stdout)
    assert {"what": "store", "works": True, "found": f"{cli.location}: it was named", "remedy": ""} in rows
    settings = cli.directory / "runjail.toml"
    settings.write_text("[store]\nlocation = 5\n")
    env = {"PATH": os.environ["PATH"], "RUNJAIL_CONFIG": str(settings)}
    (row,) = [row for row in json.loads(cli.runjail("check", "-f", "json", env=env).stdout) if row["what"] == "store"]
    assert (row["works"], "location" in row["found"]) == (False, True)


def test_layerinfo_has_imgcrypt_s_columns(cli: Cli, hello: str, keys: Keys) -> None:
    cli.ok("image", "encrypt", *keys.recipient, hello)
    heading, row = cli.ok("image", "layerinfo", hello).splitlines()

    assert heading.split() == ["#", "DIGEST", "PLATFORM", "SIZE", "ENCRYPTION", "RECIPIENTS"]
    assert row.split()[0] == "0"
    assert row.split()[-2:] == ["jwe", "[jwe]"]
    assert len(heading) == len(row)
    assert cli.json("image", "layerinfo", "--layer", "-1", hello)[0]["layer"] == 0
    assert cli.json("image", "layerinfo", "--layer", "7", hello) == []


def test_encrypt_and_decrypt_are_inverse(cli: Cli, hello: str, keys: Keys, stranger: Keys, tmp_path: Path) -> None:
    """Also into a layout, and with a recipient who comes later; blobs of encrypted layers stay as they are."""
    plain = cli.json("image", "inspect", hello)["layers"][0]["digest"]
    cli.ok("image", "encrypt", *keys.recipient, hello, "secret")
    secret = cli.json("image", "inspect", "secret")["layers"][0]
    assert secret["mediaType"].endswith("+encrypted")
    assert cli.json("image", "inspect", hello)["layers"][0]["digest"] == plain, "the source stays"

    cli.ok("image", "encrypt", *keys.key, *stranger.recipient, "secret", f"oci:{tmp_path}/both:t")
    assert cli.json("image", "inspect", f"oci:{tmp_path}/both:t")["layers"][0]["digest"] == secret["digest"]
    cli.ok("image", "decrypt", *stranger.key, f"oci:{tmp_path}/both:t", "again")
    assert cli.json("image", "inspect", "again")["layers"][0]["digest"] == plain

    assert cli.refused("image", "decrypt", *stranger.key, "secret").startswith("you are not authorized")
    assert "no recipients given" in cli.refused("image", "encrypt", "hello")
    assert "there is no layer 5" in cli.refused("image", "encrypt", *keys.recipient, "--layer", "5", hello)
    assert "say where the result goes" in cli.refused("image", "decrypt", *keys.key, f"oci:{tmp_path}/both:t")
    result = cli("image", "decrypt", *keys.key, "again")
    assert (result.returncode, "nothing to decrypt" in result.stderr) == (0, True)


def test_a_password_may_come_by_a_descriptor(cli: Cli, hello: str, keys: Keys, tmp_path: Path) -> None:
    """Whatever leaks into us is closed, but not what --key names."""
    locked = tmp_path / "locked.pem"
    make = ["openssl", "pkcs8", "-topk8", "-in", keys.private, "-out", str(locked), "-passout", "pass:open sesame"]
    subprocess.run(make, check=True, capture_output=True)
    locked.chmod(0o600)
    cli.ok("image", "encrypt", *keys.recipient, hello, "secret")
    reading, writing = os.pipe()
    os.write(writing, b"open sesame")
    os.close(writing)
    try:
        words = ("run", "--image", "secret", "--key", f"{locked}:fd={reading}", "one")
        assert cli.ok(*words, pass_fds=(reading,)) == "Hello World!\n"
    finally:
        os.close(reading)
    assert "password" in cli.refused("run", "--image", "secret", "--key", str(locked), "one").lower()


def test_bundle(cli: Cli, hello: str, tmp_path: Path) -> None:
    """A bundle of the user's own, for any runtime; its root goes with the next prune once the bundle is gone."""
    path = tmp_path / "web"
    assert cli.ok("image", "bundle", hello, str(path)) == f"{path}\n"
    config = json.loads((path / "config.json").read_text())
    assert config["process"]["args"] == ["/bin/echo", "Hello World!"]
    assert cli.ok("run", "-b", str(path), "web") == "Hello World!\n"
    assert "not an empty directory" in cli.refused("image", "bundle", hello, str(path))

    cli.ok("image", "prune")
    assert len(cli.store.roots()) == 1
    (path / "config.json").unlink()
    assert len(cli.json("image", "prune")["roots"]) == 1
    assert cli.store.roots() == []


def test_delete_believes_no_bundle_about_itself(cli: Cli, hello: str, tmp_path: Path) -> None:
    """A bundle that says it belongs to the store, and does not lie there, is not removed; neither is a root."""
    cli.ok("run", "--image", hello, "-d", "victim", "--", "/bin/sleep", "600")
    root = cli.store.roots()[0]
    path = tmp_path / root.name
    cli.ok("image", "bundle", hello, str(path))
    (path / "image.json").write_text(json.dumps({"store": cli.location, "container": "/nonexistent"}))
    cli.ok("run", "-b", str(path), "thief")

    assert path.is_dir()
    assert cli.store.root(root.name) == root
    (path / "config.json").unlink()
    assert len(cli.json("image", "prune")["roots"]) == 1


def end_with_the_machine(jail: str, root: str) -> None:
    """Take a jail and its mounts away, as a reboot does."""
    subprocess.run(["/usr/sbin/jail", "-r", jail], check=True)
    table = subprocess.run(["/sbin/mount", "-p"], check=True, capture_output=True, text=True).stdout
    for place in reversed([line.split()[1] for line in table.splitlines()]):
        if place.startswith(f"{root}/"):
            subprocess.run(["/sbin/umount", "-f", place], check=True)


def test_prune_takes_back_what_a_reboot_left(cli: Cli, hello: str) -> None:
    """State directories are on a memory disk, roots are not."""
    cli.ok("run", "--image", hello, "-d", "gone", "--", "/bin/sleep", "600")
    state = cli.runjail.root / "gone"
    aside = state.with_name("aside")
    state.rename(aside)
    if FREEBSD:
        assert cli.json("image", "prune")["roots"] == [], "a jail lives there"
        end_with_the_machine("gone", cli.store.roots()[0].path)
    pruned = cli.json("image", "prune")
    assert len(pruned["roots"]) == 1
    assert cli.left()["roots"] == []
    aside.rename(state)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("image", "pull", "oci:/x:y"), "not a registry's image"),
        (("image", "import", "localhost/x"), "not a layout or an archive"),
        (("image", "export", "hello", "localhost/x"), "not a layout or an archive"),
        (("image", "push", "hello", "oci:/x"), "not in a registry"),
        (("image", "unpack", "oci:/nonexistent"), "not an OCI layout"),
        (("image", "import", "oci:/nonexistent:x", "Upper"), "repositories are lower case"),
        (("image", "tag", "hello", "oci:/x"), "not a name for an image"),
        (("image", "tag", "nothing", "x"), "there is no store dir:"),
        (("image", "unpack", "--platform", "plan9/386", "hello"), "not for plan9/386"),
        (("image", "unpack", "--platform", "x", "hello"), "not a platform"),
        (("image", "export", "--compression", "lz4", "hello", "oci:/x"), "--compression: not gzip, zstd or none"),
        (("image", "export", "--compression", "gzip", "--level", "10", "hello", "oci:/x"), "--level: not a number"),
        (("image", "export", "--level", "1", "hello", "oci:/x"), "--level needs --compression"),
        (("image", "layerinfo", "--layer", "x", "hello"), "--layer: not a number"),
        (
            (
                "image",
                "frobnicate",
            ),
            "unknown command 'image frobnicate'",
        ),
        (("image", "pull"), "image pull takes REF [NAME]"),
        (("run", "--image", "hello", "-b", "/x", "one"), "--bundle or --image"),
        (("run", "--image", "hello", "../one"), "invalid"),
        (("run", "--image", "hello", "--network", "x", "one"), "there is no network x"),
        (("run", "--image", "hello", "--storage-opt", "size=1x", "one"), "--storage-opt: not size="),
        (("run", "--image", "127.0.0.1:1/x", "--key", "/nonexistent", "one"), "/nonexistent"),
        (("run", "--image", "127.0.0.1:1/x", "one"), "127.0.0.1:1"),
        (("run", "--image", "hello", "-u", "nobody-knows", "one"), "nobody-knows"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_refused(cli: Cli, words: tuple[str, ...], why: str, request: pytest.FixtureRequest) -> None:
    """One clear line, and nothing is made or left."""
    if "hello" in words:
        request.getfixturevalue("hello")
    if why == "127.0.0.1:1":
        pytest.importorskip("urllib3")

    assert why in cli.refused(*words)
    assert cli.left() == {"roots": [], "bundles": [], "containers": []}
    assert not Path("/x").exists()


def test_a_name_that_is_in_use_is_refused_before_any_work(cli: Cli, hello: str) -> None:
    cli.ok("run", "--image", hello, "-d", "one", "--", "/bin/sleep", "600")

    assert cli.refused("run", "--image", "not-there", "one") == "container with given ID already exists: one"


@pytest.mark.needs("linux")
def test_network_and_read_only(cli: Cli, hello: str) -> None:
    words = ("run", "--image", hello, "--network", "none", "--read-only", "one", "--", "/bin/sh", "-c")
    said = cli.ok(*words, "echo x 2>/dev/null >/x || echo read-only; cat /proc/net/dev | wc -l; echo t >/dev/shm/x")

    assert said.split() == ["read-only", "3"]


def test_zstd_layers(cli: Cli, hello: str, tmp_path: Path) -> None:
    """Compressed otherwise, an image has other blobs and the same diffIDs."""
    need_zstd()
    before: dict[str, Any] = cli.json("image", "inspect", hello)["layers"][0]
    cli.ok("image", "export", "--compression", "zstd", "--level", "3", hello, f"oci:{tmp_path}/z:t")
    cli.ok("image", "import", f"oci:{tmp_path}/z:t", "z")
    after = cli.json("image", "inspect", "z")["layers"][0]

    assert after["mediaType"] == "application/vnd.oci.image.layer.v1.tar+zstd"
    assert (after["diffID"], after["digest"] != before["digest"]) == (before["diffID"], True)
    assert cli.ok("run", "--image", "z", "one") == "Hello World!\n"


def test_variables_may_be_passed_on(cli: Cli, hello: str) -> None:
    """A bare name is our own variable, where there is one."""
    cli.env["OURS"] = "a b"
    words = ("run", "--image", hello, "-e", "OURS", "-e", "NOBODYS", "-e", "X=", "one", "--", "/bin/sh", "-c")

    assert cli.ok(*words, 'echo "$OURS ${NOBODYS-unset} ${X-unset}"') == "a b unset \n"
