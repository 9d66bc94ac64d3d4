"""Images of an ordinary user: own store, own ids and those that /etc/subuid lends, nothing of root's."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.needs import ORDINARY
from tests.support.program import TOP
from tests.support.story.ordinary import FIRST, Ordinary, make_image, mount_points, ordinary

pytestmark = [pytest.mark.linux, pytest.mark.needs("ordinary user", "mounts")]

OWNERS = "stat -c '%n %u %g %a' /owned /owned/file /owned/link"


@pytest.fixture
def image(place: Path, machine_rootfs: Path) -> Path:
    """An image layout with files of several owners, which everybody may read."""
    return make_image(place, machine_rootfs)


@pytest.fixture
def etc_places() -> Iterator[None]:
    """Files of /etc over which ours are mounted."""
    with mount_points():
        yield


@pytest.fixture
def lent(place: Path, image: Path, etc_places: None) -> Iterator[Ordinary]:
    """A user with ids of /etc/subuid."""
    yield from ordinary(place, image, lent=True)


@pytest.fixture
def alone(place: Path, image: Path, etc_places: None) -> Iterator[Ordinary]:
    """A user with one id."""
    yield from ordinary(place, image, lent=False)


def owners_in(layout: Path, name: str, directory: Path) -> list[str]:
    """Return the owners that tar(1) finds for what is called `owned` in the layers of an image."""
    document = json.loads((layout / "index.json").read_text())
    digest = next(one["digest"] for one in document["manifests"] if name in json.dumps(one))
    manifest = json.loads((layout / "blobs" / digest.replace(":", "/")).read_text())
    lines: list[str] = []
    for layer in manifest["layers"]:
        blob = layout / "blobs" / layer["digest"].replace(":", "/")
        command = ["tar", "tvf", str(blob), "--numeric-owner", "-z"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=directory).stdout
        found = [line.split() for line in listed.splitlines()]
        lines += [f"{words[1]} {words[5]}" for words in found if words[5].startswith("owned")]
    return lines


@pytest.mark.peers("newuidmap", "newgidmap")
def test_files_have_their_owners(lent: Ordinary) -> None:
    """Inside they are the image's; outside they are those of /etc/subuid, and go with the container."""
    script = f"id -u; cat /proc/self/uid_map; {OWNERS}; touch /made; cat /owned/file"
    shown = lent.ok("run", "--image", "made", "web", "--", "/bin/sh", "-c", script).stdout.splitlines()

    assert [" ".join(line.split()) for line in shown] == [
        *("0", f"0 {ORDINARY} 1", f"1 {FIRST} 5000"),
        *("/owned 33 34 700", "/owned/file 1000 1001 4751", "/owned/link 0 0 777", "kept"),
    ]


@pytest.mark.peers("newuidmap", "newgidmap")
def test_a_whole_life(lent: Ordinary) -> None:
    """As another user of the image; every verb, then an image of what it has changed."""
    script = "echo said; exec sleep 600"
    lent.ok("run", "-d", "--image", "made", "--network", "none", "-u", "0:7", "web", "--", "/bin/sh", "-c", script)
    lent.ok("exec", "-u", "33:34", "web", "/bin/touch", "/owned/new")
    bundle = Path(lent.state("web")["bundle"])
    assert (bundle.parent.parent / f"containers/{bundle.name}/root/owned").stat().st_uid == FIRST + 32
    assert "sleep" in lent.ok("ps", "web").stdout
    assert "said" in lent.ok("logs", "web").stdout
    assert "A /owned/new" in lent.ok("diff", "web").stdout
    lent.ok("commit", "web", "changed")
    lent.ok("image", "export", "changed", f"oci:{lent.home}/out:changed")
    assert "33/34 owned/new" in owners_in(lent.home / "out", "changed", lent.home)
    lent.ok("kill", "web", "KILL")
    lent.wait("web")
    lent.ok("delete", "web")
    lent.ok("image", "rm", "changed")
    shutil.rmtree(lent.home / "out")


def test_with_one_id(alone: Ordinary) -> None:
    """All files are the user's, with a note of whose they are in the image, which a commit and umoci read."""
    script = f"id -u; cat /proc/self/uid_map; {OWNERS}"
    shown = alone("run", "-d", "--image", "made", "web", "--", "/bin/sh", "-c", f"{script}; exec sleep 600")
    assert shown.returncode == 0, shown
    assert "owners" not in shown.stderr, "a link that is root's stays so"
    shown = alone.ok("exec", "web", "/bin/sh", "-c", script)
    assert [" ".join(line.split()) for line in shown.stdout.splitlines()] == [
        *("0", f"0 {ORDINARY} 1", "/owned 0 0 700", "/owned/file 0 0 4751", "/owned/link 0 0 777")
    ]
    bundle = Path(alone.state("web")["bundle"])
    root = bundle.parent.parent / f"containers/{bundle.name}/root"
    assert os.getxattr(root / "owned/file", "user.rootlesscontainers") == b"\x08\xe8\x07\x10\xe9\x07"
    alone.ok("exec", "web", "/bin/sh", "-c", "echo more >>/owned/file")
    alone.ok("commit", "web", "changed")
    alone.ok("image", "export", "changed", f"oci:{alone.home}/out:changed")
    assert owners_in(alone.home / "out", "changed", alone.home)[-1] == "1000/1001 owned/file"
    alone.ok("image", "rm", "changed")
    shutil.rmtree(alone.home / "out")


def test_a_bundle(alone: Ordinary) -> None:
    """What `image bundle` makes for an ordinary user can be run by one; prune removes its root."""
    alone.ok("image", "bundle", "made", f"{alone.home}/bundle", "--", "/bin/cat", "/proc/self/uid_map")
    ran = alone.ok("run", "-b", f"{alone.home}/bundle", "web")
    shutil.rmtree(alone.home / "bundle")

    assert ran.stdout.split() == ["0", str(ORDINARY), "1"]


@pytest.mark.parametrize("user", ["lent", "alone"])
def test_a_volume(user: str, request: pytest.FixtureRequest) -> None:
    """Filled from the image with its owners, used again, in use, and gone with all that is in it."""
    tester: Ordinary = request.getfixturevalue(user)
    script = "stat -c '%n %u %a' /owned /owned/*; echo more >/owned/new"
    words = ("run", "--image", "made", "-v", "kept:/owned")
    first = tester.ok(*words, "web", "--", "/bin/sh", "-c", script).stdout.splitlines()
    tester.ok(*words, "-d", "web", "--", "/bin/sleep", "600")

    assert tester.ok("exec", "web", "/bin/cat", "/owned/file", "/owned/new").stdout == "kept\nmore\n"
    uids = (33, 1000, 0) if user == "lent" else (0, 0, 0)
    places = zip(("/owned", "/owned/file", "/owned/link"), uids, (700, 4751, 777), strict=True)
    assert first == [f"{name} {uid} {mode}" for name, uid, mode in places]
    assert "volume kept is in use by web-" in tester("volume", "rm", "kept").stderr
    tester.ok("delete", "--force", "web")
    tester.ok("volume", "rm", "kept")
    assert list(tester.home.glob(".local/share/runjail/volumes/*")) == []


def test_with_one_id_there_is_no_other_user(alone: Ordinary) -> None:
    """Named in the error; nothing is left of the container, which was not made."""
    refused = alone("run", "--image", "made", "-u", "33", "web", "--", "/bin/true")

    assert refused.returncode == 1
    assert "process.user.uid: 33 is not mapped by linux.uidMappings" in refused.stderr
    assert alone.ids() == []


def test_an_error_of_the_other_process_is_ours(alone: Ordinary) -> None:
    """What fails as root of the namespace is one line, with our exit code; nothing stays."""
    refused = alone("run", "--image", "unknown.invalid/nothing:there", "web")

    assert refused.returncode == 1
    assert refused.stderr.startswith("runjail: ") and "Traceback" not in refused.stderr
    assert len(refused.stderr.splitlines()) <= 2, refused
    assert alone.ids() == []


def test_no_home(place: Path) -> None:
    """Named with the three remedies; nothing is made."""
    command = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups", "env", "-i"]
    result = subprocess.run(
        [*command, str(TOP / ".venv/bin/runjail"), "image", "ls"], capture_output=True, text=True, check=False
    )

    assert result.returncode == 1
    assert result.stderr.endswith("hint: who is not root has it with HOME, XDG_DATA_HOME or --store\n"), result
