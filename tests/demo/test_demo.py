"""make demo on every kind of machine: it shows what it can, and says what it cannot; two at once are no trouble."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo import demo, image_story
from tests.support.leftovers import Leftovers
from tests.support.needs import ORDINARY
from tests.support.program import TOP

DEMO = [sys.executable, str(TOP / "tests" / "demo" / "demo.py")]
WITHOUT_ADMIN = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
READ_ONLY = (
    'for at in $(cut -d " " -f 2 /proc/mounts | grep "^/sys"); do mount -o remount,bind,ro "$at"; done; exec "$@"'
)
READ_ONLY_SYS = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh"]
pytestmark = pytest.mark.needs("program", "busybox")


def begin(*before: str) -> "subprocess.Popen[str]":
    """Start a demo."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([*before, *DEMO], text=True, **streams)  # type: ignore[call-overload, no-any-return]


def end(demo: "subprocess.Popen[str]") -> str:
    """Wait for its end, which must be a good one; returns what it said."""
    said, _ = demo.communicate(timeout=560)
    assert demo.returncode == 0, said
    assert not Path(TOP, ".demo", str(demo.pid)).exists()
    return said


@pytest.mark.needs("root", "setpriv")
def test_without_the_right_to_make_containers() -> None:
    """It shows all that needs none, and ends well with a box that says what is missing and what to run instead."""
    said = end(begin(*WITHOUT_ADMIN))

    assert "runjail validate" in said and "--os freebsd" in said and "--os linux" in said
    assert "runjail image pull" in said and "runjail image unpack --key" in said
    assert "you are not authorized to use this image" in said
    assert "it takes CAP_SYS_ADMIN" in said and "sudo make demo" in said


@pytest.mark.needs("containers")
def test_where_control_groups_cannot_be_made() -> None:
    """Containers run, and the warning of `create` is not taken for what the program says."""
    said = end(begin(*READ_ONLY_SYS))

    assert "control groups cannot be written (" in said  # read-only, or none are mounted
    assert "hello from a jail" in said


@pytest.mark.needs("containers")
def test_without_a_loopback_interface() -> None:
    """A network namespace that was only made: the image goes by way of a directory."""
    said = end(begin("unshare", "-n"))

    assert "the image travels in an OCI layout instead" in said and "Hello World!" in said
    assert "hello from a jail" in said


@pytest.mark.needs("containers")
def test_a_second_demo_beside_one_that_was_killed() -> None:
    """Two at once, and what a killed one left behind is taken away by the next."""
    killed = begin()
    assert killed.stdout
    for line in killed.stdout:
        if "$ runjail state" in line:
            break
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert Path(TOP, ".demo", str(killed.pid)).exists()

    first, second = begin(), begin()
    for said in (end(first), end(second)):
        assert "hello from a jail" in said and "Hello World!" in said

    assert not Path(TOP, ".demo", str(killed.pid)).exists()
    assert not Leftovers(str(Path(TOP, ".demo", str(killed.pid)))).find()


def as_ordinary_user(place: Path, *before: str) -> str:
    """Let a demo in a copy of its own run as somebody who is not root; returns what it printed."""
    for name in ("tests", "bundles"):
        shutil.copytree(TOP / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("runjail", ".venv", ".ci", "README.md"):
        (place / name).symlink_to(TOP / name)
    for path in (place, *place.rglob("*")):
        os.chown(path, ORDINARY, ORDINARY, follow_symlinks=False)
    user = ["setpriv", "--reuid", str(ORDINARY), "--regid", str(ORDINARY), "--clear-groups"]
    done = subprocess.run(
        [*before, *user, sys.executable, str(place / "tests/demo/demo.py")],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=560, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(place)},
    )  # fmt: skip
    assert done.returncode == 0, done
    assert "runjail image unpack --key" in done.stdout
    return done.stdout


@pytest.mark.needs("ordinary user", "setpriv")
def test_an_ordinary_user_makes_containers(place: Path) -> None:
    """In a user namespace with one id; of the images all but what is run."""
    said = as_ordinary_user(place)

    assert "hello from a jail" in said and "left behind: nothing" in said


@pytest.mark.needs("ordinary user", "setpriv", "nsenter")
def test_an_ordinary_user_who_may_have_no_user_namespaces(place: Path) -> None:
    """The box names the setting, here that of a namespace: the machine's stays as it is."""
    from runjail.host.linux import mapped_ids
    from runjail.spec.model import IdMappings

    same = ((0, 0, 65536),)
    namespace = mapped_ids.namespace(IdMappings(same, same))
    none = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
    try:
        said = as_ordinary_user(place, "nsenter", f"--user=/proc/{os.getpid()}/fd/{namespace}", "sh", "-c", none, "sh")
    finally:
        os.close(namespace)

    assert "runjail validate" in said and "Not shown: containers. User namespaces: unshare(2): " in said
    assert "sysctl user.max_user_namespaces above 0" in " ".join(said.replace("|", " ").split())


@pytest.mark.parametrize(("against", "kind"), [("", "overlay"), ("no overlayfs here", "dir")])
def test_without_zfs_it_says_which_store_it_takes(
    against: str, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(image_story.zfs_pool, "missing", lambda: "needs root")
    monkeypatch.setattr(image_story.overlay_mount, "refusal", lambda _place: against)
    with image_story.store() as location:
        assert location == f"{kind}:{image_story.DEMO}/store"

    said = capsys.readouterr().out
    place = "in overlays" if kind == "overlay" else f"in a directory ({against})"
    assert f"Images {place}: ZFS cannot be shown, it needs root." in said


def test_a_missing_program_is_not_mended_with_rights() -> None:
    """Root without a busybox was told to take sudo."""
    assert not any("sudo" in line for line in demo.remedies(f"busybox is not installed: {demo.INSTALL}"))
    assert any("sudo" in line for line in demo.remedies("root: not root; sudo"))
