"""run --image with options: what runs is what the bundle says, and the store is asked for once."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from runjail.cli.args import GLOBALS, Args, parse
from runjail.cli.context import Context
from runjail.cli.run_image import owned_bundle
from runjail.cli.verbs import run
from runjail.storage import open as stores
from tests.support.story.cli import Cli


def documents(cli: Cli, container_id: str) -> tuple[Any, Any]:
    """Return the config.json of a container's bundle and the one that the container was made of."""
    bundle = Path(json.loads(cli.ok("state", container_id))["bundle"])
    kept = cli.runjail.root / container_id / "config.json"
    return json.loads((bundle / "config.json").read_text()), json.loads(kept.read_text())


def test_the_bundle_of_an_image_says_what_runs(cli: Cli, hello: str, tmp_path: Path) -> None:
    """Options were applied to what was created, and not to the file in the bundle."""
    (tmp_path / "data").mkdir()
    options = ("-e", "WORD=said", "-v", f"{tmp_path}/data:/data:ro", "--read-only")
    cli.ok("run", "-d", "--image", hello, *options, "web", "--", "/bin/sleep", "600")

    bundle, kept = documents(cli, "web")

    assert bundle == kept
    assert "WORD=said" in bundle["process"]["env"]
    assert bundle["process"]["args"][-2:] == ["/bin/sleep", "600"]
    assert bundle["mounts"][-1]["source"] == f"{tmp_path}/data"
    assert bundle["root"]["readonly"] is True


@pytest.mark.parametrize("location", ["dir"], indirect=True)
def test_the_store_is_opened_once(cli: Cli, hello: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was opened for the bundle, and again to unpack."""
    opened = []
    original = stores.open_store
    monkeypatch.setattr(stores, "open_store", lambda *args, **more: opened.append(1) or original(*args, **more))
    parsed, args = Args(GLOBALS), Args((*run.OPTIONS, *GLOBALS))
    parse(["--store", cli.location, "--root", str(tmp_path / "state")], parsed)
    parse(["--image", hello, "-t", "web"], args)
    context = Context(parsed)

    with owned_bundle(args, context, context.runtime(), "host") as (path, document):
        assert json.loads(Path(path, "config.json").read_text()) == document
        assert document["process"]["terminal"] is True
        assert "TERM=xterm" in document["process"]["env"]

    assert opened == [1]


def test_a_mistake_in_an_option_costs_no_download(cli: Cli) -> None:
    """The image is not there, and nobody asks a registry for it."""
    for option, text in (("-v", "nonsense"), ("--network", "no-such"), ("--storage-opt", "size=x")):
        said = cli.refused("run", "--image", "localhost:1/absent", option, text, "web")

        assert said.startswith(("--volume: not", "there is no network", "--storage-opt: not")), said


@pytest.mark.linux
def test_options_of_podman_reach_the_program(cli: Cli, hello: str, tmp_path: Path) -> None:
    """Each is seen from inside."""
    (tmp_path / "vars").write_text("# comment\nFROM_FILE=1\n")
    script = (
        "ulimit -n; echo $FROM_FILE; cat /proc/sys/net/ipv4/ip_default_ttl; grep CapEff /proc/self/status; echo >/t/x"
    )
    options = (
        "--entrypoint",
        "/bin/sh",
        "--ulimit",
        "nofile=64:128",
        "--env-file",
        f"{tmp_path}/vars",
        "--tmpfs",
        "/t",
    )
    options += (
        "--network",
        "none",
        "--sysctl",
        "net.ipv4.ip_default_ttl=77",
        "--cap-drop",
        "ALL",
        "--cap-add",
        "chown",
    )

    said = cli.ok("run", "--image", hello, *options, "web", "--", "-c", script)

    assert said.split() == ["64", "1", "77", "CapEff:", "0000000000000001"]


@pytest.mark.linux
@pytest.mark.parametrize("location", ["dir"], indirect=True)
def test_resources_of_an_image_are_in_its_bundle(cli: Cli, hello: str) -> None:
    """Labels as well; who drops ALL and adds ALL has what is added, as with podman."""
    limits = ("-m", "64m", "--cpus", "1.5", "--cpuset-cpus", "0", "--pids-limit", "99", "-l", "a=b", "-l", "bare")
    words = ("--entrypoint", '["/bin/sleep"]', "web", "600")
    cli.ok("run", "-d", "--image", hello, *limits, "--cap-drop", "all", "--cap-add", "ALL", *words)

    bundle, kept = documents(cli, "web")

    assert bundle == kept
    assert bundle["linux"]["resources"] == {
        "memory": {"limit": 64 << 20},
        "cpu": {"cpus": "0", "period": 100_000, "quota": 150_000},
        "pids": {"limit": 99},
    }
    assert bundle["process"]["args"] == ["/bin/sleep", "600"]
    assert (bundle["annotations"]["a"], bundle["annotations"]["bare"]) == ("b", "")
    assert "CAP_SYS_ADMIN" in bundle["process"]["capabilities"]["bounding"]


@pytest.mark.parametrize("option", ["--volume /etc:/etc/passwd", "--tmpfs /etc/passwd"])
def test_a_mount_that_fails_is_told_by_its_option(cli: Cli, hello: str, option: str) -> None:
    """Only the image says what is at the destination; config.json, where it has a number, nobody has seen."""
    said = cli.refused("run", "--image", hello, *option.split(), "web")

    assert said.startswith(f"{option}: mount")
    assert re.search(r" on /etc/passwd: .*\b(not a|no) directory$", said)  # the second: nullfs(4) of FreeBSD
    assert cli.left() == {"roots": [], "bundles": [], "containers": []}
