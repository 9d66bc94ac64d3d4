"""What is said of mounts that the kernel does not take: the place in config.json, the cause, and what mends it."""

from pathlib import Path

import pytest

from tests.support.container.harness import Life

pytestmark = pytest.mark.linux


def add(life: Life, destination: str, kind: str, source: str, option: str) -> None:
    life.bundle.config["mounts"].append(
        {"destination": destination, "type": kind, "source": source, "options": [option]}
    )


@pytest.mark.parametrize(
    ("kind", "source", "option", "part", "text", "hint"),
    [
        (
            "ext4",
            "/nowhere",
            "ro",
            ".source",
            "/nowhere (ext4) on /x: does not exist",
            "/nowhere has to be on the host",
        ),
        (
            "tmpfs",
            "tmpfs",
            "sise=1m",
            ".options",
            "(tmpfs) on /x: invalid argument",
            "of its options tmpfs has to know s",
        ),
        (
            "none-such",
            "x",
            "ro",
            ".type",
            "(none-such) on /x: ",
            "the kernel has no file system none-such; /proc/filesys",
        ),
    ],
)
def test_what_the_kernel_does_not_mount(
    life: Life, kind: str, source: str, option: str, part: str, text: str, hint: str
) -> None:
    """The error names the place in config.json, source, type and place, and what to look at; nothing stays."""
    if kind == "ext4" and "ext4" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        pytest.skip("this kernel has no ext4")
    add(life, "/x", kind, source, option)

    result = life.runjail("create", "-b", life.bundle.write(), "c")

    assert result.returncode == 1
    said, more = result.stderr.splitlines()
    assert said.startswith(f"runjail: mounts[{len(life.bundle.config['mounts']) - 1}]{part}: mounting {text}")
    assert more.startswith(f"hint: {hint}")
    life.gone()


def test_a_mount_point_that_is_a_file(life: Life) -> None:
    """The source is there, so that the error is about the destination."""
    add(life, "/etc/passwd", "bind", "/proc", "rbind")

    result = life.runjail("create", "-b", life.bundle.write(), "c")

    last = len(life.bundle.config["mounts"]) - 1
    what = "mounting /proc (bind) on /etc/passwd: not a directory"
    assert result.stderr == f"runjail: mounts[{last}].destination: {what}\n"
    life.gone()
