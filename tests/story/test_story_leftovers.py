"""What only passes through the store does not stay there, and what is being made is not taken away."""

import json
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runjail.container.container import Runtime
from runjail.container.query import is_used
from runjail.container.reserve import reserve
from runjail.errors import ContainerExists
from runjail.image import media_types, model
from runjail.image.bundle import owned
from runjail.image.bundle.prune import prune
from runjail.image.content.store import ContentStore
from runjail.storage.base import RootfsUse
from tests.support.attacks.races import resumed, stopped_at
from tests.support.container.fake_host import record
from tests.support.container.harness import Life
from tests.support.program import Bundle
from tests.support.story.cli import Cli, Keys

NOBODY: Any = None  # whose host is not asked
USED = partial(is_used, NOBODY)

pytestmark = [
    pytest.mark.needs("root"),
    pytest.mark.parametrize("location", ["dir"], indirect=True),
]


def blobs(cli: Cli) -> set[str]:
    return set(ContentStore(cli.store.content()).digests())


def test_looking_at_a_place_copies_nothing(cli: Cli, hello: str, tmp_path: Path) -> None:
    place = f"oci:{tmp_path}/layout:t"
    cli.ok("image", "export", hello, place)
    cli.ok("image", "rm", hello)

    assert cli.json("image", "inspect", place)["name"] == place
    assert len(cli.json("image", "layerinfo", place)) == 1
    assert blobs(cli) == set()


def test_what_was_decrypted_for_a_place_does_not_stay(cli: Cli, hello: str, keys: Keys, tmp_path: Path) -> None:
    """Least of all in plain text. The same for what came from a place, and for layers that were compressed anew."""
    cli.ok("image", "encrypt", *keys.recipient, hello)
    cli.ok("image", "prune")
    before = blobs(cli)

    cli.ok("image", "decrypt", *keys.key, hello, f"oci:{tmp_path}/plain:t")
    cli.ok("image", "encrypt", *keys.recipient, f"oci:{tmp_path}/plain:t", f"oci:{tmp_path}/secret:t")
    cli.ok("image", "export", "--compression", "none", f"oci:{tmp_path}/plain:t", f"oci:{tmp_path}/none:t")
    (tmp_path / "file").write_text("in the way")
    cli.refused("image", "decrypt", *keys.key, hello, f"oci:{tmp_path}/file/below:t")
    assert blobs(cli) == before
    assert cli.json("image", "layerinfo", f"oci:{tmp_path}/none:t")[0]["encryption"] == ""


def test_a_digest_does_not_become_the_name_of_something_else(cli: Cli, hello: str, keys: Keys) -> None:
    """Whoever pins a digest gets what has it, or nothing."""
    digest = cli.json("image", "inspect", hello)["digest"]
    content = ContentStore(cli.store.content())
    content.tag(f"registry.example/hello@{digest}", content.find("docker.io/library/hello:latest"))

    assert "not a name for an image" in cli.refused(
        "image", "encrypt", *keys.recipient, f"registry.example/hello@{digest}"
    )
    assert cli.json("image", "inspect", f"registry.example/hello@{digest}")["digest"] == digest


def test_a_bundle_that_fails_leaves_no_directory(cli: Cli, hello: str, keys: Keys, tmp_path: Path) -> None:
    cli.ok("image", "encrypt", *keys.recipient, hello)
    (tmp_path / "there").mkdir()
    for name in ("new", "there"):
        assert "not authorized" in cli.refused("image", "bundle", hello, str(tmp_path / name))
    assert (tmp_path / "there").is_dir()
    assert not (tmp_path / "new").exists()

    (tmp_path / "file").write_text("")
    assert cli.refused("image", "bundle", hello, f"{tmp_path}/file").startswith("cannot make the bundle ")


def test_prune_takes_no_root_from_a_bundle_in_the_making(cli: Cli, hello: str, tmp_path: Path) -> None:
    """Its config.json, by which prune knows that a bundle is there, is written after the root is made."""
    chain, _where = cli.ok("image", "unpack", hello).split()
    store, content = cli.store, ContentStore(cli.store.content())
    with content.lease():
        store.create_rootfs("bundle-1", chain, use=RootfsUse(properties={owned.BUNDLE: str(tmp_path / "bundle")}))
        assert prune(content, store, USED).busy
        assert store.root("bundle-1")
    assert prune(content, store, USED).roots == ("bundle-1",)


def test_prune_all_takes_no_name_from_an_image_that_is_about_to_run(cli: Cli, hello: str) -> None:
    content = ContentStore(cli.store.content())
    with content.lease():
        assert prune(content, cli.store, USED, names=True).names == ()
    assert prune(content, cli.store, USED, names=True).names == ("docker.io/library/hello:latest",)


def test_two_may_take_one_bundle_back(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """delete and prune meet at what a container leaves; each finds something gone that it was about to remove."""
    path, remove, tries = f"{cli.store.bundles()}/c1-0", shutil.rmtree, []
    os.mkdir(path)
    Path(path, "image.json").write_text("")

    def beside_another(directory: str) -> None:
        tries.append(directory)
        if len(tries) == 1:
            raise FileNotFoundError(2, "No such file or directory", "config.json")
        remove(directory)

    monkeypatch.setattr(shutil, "rmtree", beside_another)
    owned.roll_back(cli.store, path)
    assert not os.path.exists(path)


@pytest.mark.needs("linux")
def test_what_is_busy_does_not_keep_the_rest(cli: Cli, hello: str, tmp_path: Path) -> None:
    """Somebody has mounted something in a root that is left over: it stays, prune goes on and says so."""
    for name in ("busy", "idle"):
        cli.ok("image", "bundle", hello, str(tmp_path / name))
        (tmp_path / name / "config.json").unlink()
    busy, idle = sorted(cli.store.roots(), key=lambda root: root.properties[owned.BUNDLE])
    subprocess.run(["mount", "--bind", str(tmp_path), f"{busy.path}/tmp"], check=True)
    try:
        result = cli("image", "prune", "--format", "json")
    finally:
        subprocess.run(["umount", f"{busy.path}/tmp"], check=True)
    assert json.loads(result.stdout)["roots"] == [idle.name]
    assert f"{busy.name} stays: " in result.stderr
    assert [root.name for root in cli.store.roots()] == [busy.name]
    cli.ok("image", "prune")
    assert cli.store.roots() == []


@pytest.mark.parametrize("said", ["auto", "", "dir", 5, None, ["zfs:tank"]])
def test_a_bundle_names_a_store_or_nothing(location: str, tmp_path: Path, said: object) -> None:
    (tmp_path / owned.MARK).write_text(json.dumps({"store": location}))
    assert owned.location(str(tmp_path)) == location
    (tmp_path / owned.MARK).write_text(json.dumps({"store": said}))
    assert owned.location(str(tmp_path)) == ""


def test_one_damaged_image_does_not_hide_the_others(cli: Cli, hello: str) -> None:
    """ls names it, and rm gets rid of it."""
    cli.ok("image", "tag", hello, "other")
    content = ContentStore(cli.store.content())
    content.tag("docker.io/library/other:latest", content.add(b'{"layers": []}', media_types.OCI_MANIFEST))

    result = cli("image", "ls", "-f", "json")
    assert [image["name"] for image in json.loads(result.stdout)] == ["docker.io/library/hello:latest"]
    assert "docker.io/library/other:latest: " in result.stderr
    cli.ok("image", "rm", "other")
    assert len(cli.json("image", "ls")) == 1


def test_a_terminal_has_a_name(cli: Cli, hello: str) -> None:
    for more, expected in (((), "xterm"), (("-e", "TERM=vt100"), "vt100")):
        said = cli.ok("run", "-t", "--image", hello, *more, "c1", "--", "/bin/sh", "-c", "echo in $TERM")
        assert said.replace("^D\b\b", "").split() == ["in", expected]  # FreeBSD's terminals echo the end of our input


def test_of_several_runs_with_one_id_only_one_leaves_anything(cli: Cli, hello: str, tmp_path: Path) -> None:
    """The others find out late, when their bundles are ready; the container that is there then is not theirs."""
    chain, _where = cli.ok("image", "unpack", hello).split()
    making = owned.OwnedBundle(cli.store, "c1-1", str(tmp_path / "c1"), USED)
    with pytest.raises(ContainerExists), making:
        cli.store.create_rootfs("c1-1", chain, use=RootfsUse(properties=making.properties()))
        container_of(tmp_path, "/some/other/bundle")
        raise ContainerExists("c1")
    assert cli.left() == {"roots": [], "bundles": [], "containers": []}


def container_of(path: Path, bundle: str) -> None:
    """Write down a container c1 that was made of a bundle."""
    container = reserve(Runtime(NOBODY, str(path)), "c1")
    record(container, bundle=bundle)
    container.forget()


@pytest.mark.parametrize("state", ["other", "damaged", "ours", "directory", "nothing"])
def test_prune_asks_whose_the_container_is(cli: Cli, hello: str, tmp_path: Path, state: str) -> None:
    """The same id may be another container's by now, and a boot leaves a directory that is nobody's."""
    chain, _where = cli.ok("image", "unpack", hello).split()
    making = owned.OwnedBundle(cli.store, "c1-1", str(tmp_path / "c1"), lambda *_: True)  # and its maker dies
    with making:
        cli.store.create_rootfs("c1-1", chain, use=RootfsUse(properties=making.properties()))
    if state in ("other", "ours"):
        container_of(tmp_path, "/some/other/bundle" if state == "other" else making.path)
    elif state != "nothing":
        (tmp_path / "c1").mkdir()
    if state == "damaged":
        (tmp_path / "c1" / "state.json").write_text("{")
    cli.ok("image", "prune")

    assert [root.name for root in cli.store.roots()] == (["c1-1"] if state in ("ours", "damaged") else [])
    shutil.rmtree(tmp_path / "c1", ignore_errors=True)
    cli.ok("image", "prune")


def test_an_id_made_anew_under_a_run_of_an_image(cli: Cli, hello: str, tmp_path: Path) -> None:
    """The run takes its own bundle and root back, and leaves the other one's container alone."""
    runjail = cli.runjail
    life = Life(runjail, Bundle(tmp_path, {}))
    options = ("--store", cli.location)
    running = stopped_at(life, "foreground.wait", *options, "run", "--image", hello, "c1", "--", "/bin/sh")
    runjail.ok(*options, "delete", "--force", "c1")
    container_of(runjail.root, "/some/other/bundle")
    resumed(life, running)

    assert USED(str(runjail.root / "c1"), "bundle")
    assert cli.store.roots() == []
    assert os.listdir(cli.store.bundles()) == []


def test_an_id_may_be_longer_than_a_hostname(cli: Cli, hello: str) -> None:
    assert cli.ok("run", "--image", hello, "c" * 100) == "Hello World!\n"


def test_volumes_are_directories_of_the_root(cli: Cli, hello: str, tmp_path: Path) -> None:
    """Programs expect them to be there, whether the image's layers have them or not."""
    cli.ok("image", "export", hello, f"oci:{tmp_path}/layout")
    layout = tmp_path / "layout"
    index = json.loads((layout / "index.json").read_text())
    read = lambda entry: json.loads((layout / "blobs" / entry["digest"].replace(":", "/")).read_text())  # noqa: E731
    content = ContentStore(str(layout))
    manifest = read(index["manifests"][0])
    config = read(manifest["config"])
    config["config"] |= {"Volumes": {"/data/of/mine": {}}, "Cmd": ["/bin/sh", "-c", "cd /data/of/mine && echo in"]}
    added = content.add(json.dumps(config).encode())
    manifest["config"] |= {"digest": added.digest, "size": added.size}
    content.tag("changed", content.add(json.dumps(manifest).encode(), index["manifests"][0]["mediaType"]))

    assert cli.ok("run", "--image", f"oci:{layout}:changed", "c1") == "in\n"


@pytest.mark.parametrize("option", ["--network=none", "--read-only", "--user=nobody", "--storage-opt=size=1g"])
def test_options_of_images_are_not_ignored_for_bundles(cli: Cli, option: str, tmp_path: Path) -> None:
    """Whoever says --network none to a bundle would believe that there is none."""
    (tmp_path / "config.json").write_text("{}")
    refused = cli.refused("run", "-b", str(tmp_path), option, "c1")
    assert refused.startswith(f"{option.partition('=')[0]} needs --image")


def test_what_stays_plain_is_told(cli: Cli, hello: str, keys: Keys) -> None:
    """Nobody should believe that all of an image is encrypted when a part of it is of a kind that is not."""
    content = ContentStore(cli.store.content())
    manifest = model.parse_manifest(content.read(content.find("docker.io/library/hello:latest")))
    assert isinstance(manifest, model.Manifest)
    odd = content.add(b"secret", "application/vnd.wasm.content.layer.v1+wasm")
    config = json.loads(content.read(manifest.config))
    config["rootfs"]["diff_ids"].append(odd.digest)
    described = content.add(json.dumps(config).encode(), media_types.OCI_CONFIG)
    changed = manifest.replace(config=described, layers=(*manifest.layers, odd)).document()
    content.tag("docker.io/library/odd:latest", content.add(model.encode(changed), media_types.OCI_MANIFEST))

    result = cli("image", "encrypt", *keys.recipient, "odd")
    assert result.returncode == 0
    assert f"layer {odd.digest} stays as it is" in result.stderr
    assert "is no layer of files" in cli.refused("run", "--image", "odd", *keys.key, "c1")
