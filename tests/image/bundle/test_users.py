"""Who a container's user is, by the image's files, whatever the image put there."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runjail.errors import ImageError
from runjail.image.bundle import users
from runjail.image.bundle.users import Identity
from tests.support.leaks import Held

PASSWD = """root:x:0:0:root:/root:/bin/sh
# a comment
toor:*:0:0:Bourne-again Superuser:/root:
www:x:80:81:World Wide Web Owner:/var/www:/usr/sbin/nologin
app:x:1000:1000::/home/app:/bin/sh
app:x:2000:2000::/home/second:/bin/sh
nowhere:x:1001:1001::relative:/bin/sh
123abc:x:1002:1002::/:/bin/sh
größe:x:1003:1003::/g:/bin/sh
"""
GROUP = """wheel:*:0:root,app
www:x:81:
staff:x:20:app,www,other
app:x:1000:app
video:x:44:www,app
again:x:44:app
"""
NOBODY = Identity(0, 0)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text(PASSWD)
    (tmp_path / "etc" / "group").write_text(GROUP)
    return tmp_path


@pytest.fixture
def root(tree: Path) -> Iterator[int]:
    descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Identity(0, 0, (), "/root")),
        ("0", Identity(0, 0, (), "/root")),
        ("root", Identity(0, 0, (), "/root")),
        ("www", Identity(80, 81, (20, 44), "/var/www")),
        ("80", Identity(80, 81, (20, 44), "/var/www")),
        ("app", Identity(1000, 1000, (0, 20, 44), "/home/app")),
        ("app:staff", Identity(1000, 20, (), "/home/app")),
        ("app:20", Identity(1000, 20, (), "/home/app")),
        ("app:999", Identity(1000, 999, (), "/home/app")),
        ("1000:wheel", Identity(1000, 0, (), "/home/app")),
        ("4711", Identity(4711, 0)),
        ("4711:4712", Identity(4711, 4712)),
        ("4294967294:4294967294", Identity(4294967294, 4294967294)),
        ("nowhere", Identity(1001, 1001)),
        ("123abc", Identity(1002, 1002, (), "/")),
        ("größe", Identity(1003, 1003, (), "/g")),
    ],
)
def test_users_by_name_and_number(root: int, text: str, expected: Identity) -> None:
    assert users.resolve(root, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "nobody",
        "app:nogroup",
        "app:",
        ":staff",
        ":",
        "4294967295",
        "0:4294967295",
        "9" * 30,
        "-1",
        "a\0b",
        "app:a:b",
        "1.5",
    ],
)
def test_what_is_no_user_of_the_image_is_one_error(root: int, text: str) -> None:
    with pytest.raises(ImageError) as caught:
        users.resolve(root, text)

    assert "\n" not in str(caught.value)
    assert "\0" not in str(caught.value)


def test_numbers_need_no_files(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        assert users.resolve(descriptor, "") == NOBODY
        assert users.resolve(descriptor, "5:6") == Identity(5, 6)
        with pytest.raises(ImageError, match="no user 'root'"):
            users.resolve(descriptor, "root")
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "line",
    ["evil", "evil:x:1", "evil:x:-1:0::/:", "evil:x:0x0:0::/:", "evil:x:4294967295:0::/:", "evil:x::0::/:",
     "evil:x:1:2::/:/b:more",
     "+evil:x:0:0::/:", "-evil:x:0:0::/:", "#evil:x:0:0::/:", "evil:x:\u0660:0::/:",
     "evil:x:1:\0:::", "\0evil:x:1:1::/:"],
)  # fmt: skip
def test_hostile_lines_are_passed_over(tree: Path, root: int, line: str) -> None:
    (tree / "etc" / "passwd").write_text(f"{line}\n{line}\r\nlast:x:5:6::/:/bin/sh")

    with pytest.raises(ImageError, match="no user 'evil'"):
        users.resolve(root, "evil")
    assert users.resolve(root, "last") == Identity(5, 6, (), "/")


def test_bytes_that_are_no_text_are_no_obstacle(tree: Path, root: int) -> None:
    (tree / "etc" / "passwd").write_bytes(b"\xff\xfe:x:1:1::/:\nlast:x:5:6::/\xff:/bin/sh")

    assert users.resolve(root, "last").uid == 5


def test_links_stay_inside_the_image(tree: Path, root: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An absolute link means the image's own root; the host's users are not asked."""
    (tree / "usr" / "share").mkdir(parents=True)
    (tree / "usr" / "share" / "passwd").write_text("inside:x:7:8::/:/bin/sh\n")
    (tree / "etc" / "passwd").unlink()
    (tree / "etc" / "passwd").symlink_to("/usr/share/passwd")
    assert users.resolve(root, "inside") == Identity(7, 8, (), "/")
    outside = tmp_path_factory.mktemp("outside") / "passwd"
    outside.write_text("outside:x:0:0::/:/bin/sh\n")
    for target in (str(outside), "../" * 20 + str(outside)):
        (tree / "etc" / "passwd").unlink()
        (tree / "etc" / "passwd").symlink_to(target)
        with pytest.raises(ImageError, match="no user 'outside'"):
            users.resolve(root, "outside")


def _loop(path: Path) -> None:
    path.symlink_to("passwd")


def _huge(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, _loop, _huge], ids=["fifo", "directory", "loop", "huge"])
def test_what_is_no_file_of_users_is_one_error(tree: Path, root: int, make: Callable[[Path], None]) -> None:
    (tree / "etc" / "passwd").unlink()
    make(tree / "etc" / "passwd")
    before = Held()

    for _ in range(3):
        with pytest.raises(ImageError, match=r"/etc/passwd( is|:)"):
            users.resolve(root, "app")
    assert before.more() == []
