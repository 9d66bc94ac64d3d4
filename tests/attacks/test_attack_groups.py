"""Groups: nobody sheds his primary group, and with it what a file denies that group (CVE-2022-2989).

The attacker runs a set-group-ID program: its effective group is another one then, and the kernel looks for the old one
among the supplementary groups only.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runjail.image import model
from runjail.image.bundle import oci_config
from runjail.image.platform import Platform
from tests.support.attacks import machine_programs
from tests.support.container.harness import Life
from tests.support.program import Bundle, Result, Runjail

OTHER, DENIED, FREE = 5000, 1000, 2000  # the program's group, the one that may not read, one of "others"


@pytest.fixture
def life(runjail: Runjail, bundle: Bundle) -> Life:
    """A container with a file that group DENIED may not read and all others may, and the program to try it with."""
    machine_programs.add(bundle.rootfs, "cat", "shed", 0o2755, OTHER)
    secret = bundle.rootfs / "var/secret"
    secret.write_text("secret\n")
    os.chown(secret, 0, DENIED)
    secret.chmod(0o604)
    return Life(runjail, bundle)


def as_program(life: Life, gid: int, *groups: int) -> Result:
    user = {"uid": 1000, "gid": gid, **({"additionalGids": list(groups)} if groups else {})}
    return life.run("exec /bin/shed /var/secret", user=user)


def as_exec(life: Life, gid: int, *groups: int) -> Result:
    life.sleep()
    more = [word for group in groups for word in ("-g", str(group))]
    return life.runjail("exec", "--user", f"1000:{gid}", *more, "c", "/bin/shed", "/var/secret")


def as_document(life: Life, gid: int, *groups: int) -> Result:
    life.sleep()
    user = {"uid": 1000, "gid": gid, **({"additionalGids": list(groups)} if groups else {})}
    document = life.path / "process.json"
    document.write_text(json.dumps({"args": ["/bin/shed", "/var/secret"], "cwd": "/", "user": user}))
    return life.runjail("exec", "--process", str(document), "c")


def as_hook(life: Life, gid: int, *groups: int) -> Result:
    user = {"uid": 1000, "gid": gid, **({"additionalGids": list(groups)} if groups else {})}
    hook = {"path": "/bin/shed", "args": ["shed", "/var/secret"]}
    life.bundle.config["hooks"] = {"startContainer": [hook]}
    life.create("/bin/sleep", "600", user=user)
    return life.runjail("start", "c")


WAYS: list[Callable[..., Result]] = [as_program, as_exec, as_document, as_hook]


@pytest.mark.linux
@pytest.mark.parametrize("groups", [(), (7,)], ids=["no more groups", "one more group"])
@pytest.mark.parametrize("way", WAYS)
def test_a_set_group_id_program_does_not_free_from_the_primary_group(
    life: Life, way: Callable[..., Result], groups: tuple[int, ...]
) -> None:
    """Mode 0604 denies the group what others may; it stays denied."""
    result = way(life, DENIED, *groups)

    assert result.returncode != 0, result
    assert "Permission denied" in result.stderr or "access refused" in result.stderr
    assert "secret\n" not in result.stdout


@pytest.mark.linux
@pytest.mark.parametrize("way", WAYS)
def test_control_others_may_read_it_with_the_same_program(life: Life, way: Callable[..., Result]) -> None:
    result = way(life, FREE)

    assert result.returncode == 0, result
    if way is not as_hook:  # whose output nobody sees
        assert result.stdout == "secret\n"


@pytest.mark.linux
def test_the_callers_groups_stay_outside(life: Life) -> None:
    """Groups of whoever calls `start` or `exec` mean something else inside."""
    show = "grep ^Groups /proc/self/status >>/var/groups"
    life.bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", show]}]}
    bundle = life.bundle.write("/bin/sh", "-c", f"{show}; exec sleep 600", user={"uid": 0, "gid": 0})
    program = [life.runjail.program, "--root", str(life.runjail.root)]
    for words in (["create", "-b", bundle, "c"], ["start", "c"], ["exec", "c", "/bin/sh", "-c", show]):
        subprocess.run([*program, *words], check=True, timeout=200, extra_groups=[OTHER, 4], **QUIET)

    assert (life.bundle.rootfs / "var/groups").read_text().split() == ["Groups:", "0"] * 3


QUIET: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("user", "groups"), [("web", [33, 44]), ("33", [33, 44]), ("web:44", [44]), ("", [0]), ("4711", [0])]
)
def test_the_user_of_an_image(tmp_path: Path, user: str, groups: list[int]) -> None:
    """config.json of an image names the primary group among the others, as podman and containerd write it."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nweb:x:33:\nlogs:x:44:web\n")
    document = {"config": {"Cmd": ["/bin/sh"], "User": user}}
    image = model.ImageConfig(Platform("linux", "amd64"), (), document)

    assert oci_config.config(image, str(tmp_path), host="linux")["process"]["user"]["additionalGids"] == groups
