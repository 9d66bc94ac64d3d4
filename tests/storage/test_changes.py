"""What changed of a tree: by comparing two, from an overlay's upper directory, and from what zfs-diff(8) says."""

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runjail.errors import StorageError
from runjail.storage import changes
from runjail.storage.changes import Change, of_overlay, of_trees, of_zfs

pytestmark = pytest.mark.needs("root")


def tree(top: Path) -> Path:
    """Make a tree with one of everything."""
    for name in ("kept", "gone/inner", "emptied", "changed"):
        (top / name).mkdir(parents=True)
    for name in ("kept/file", "gone/inner/file", "emptied/file", "changed/text", "changed/mode", "changed/kind"):
        (top / name).write_text("before")
    (top / "changed" / "link").symlink_to("a")
    return top


def change(top: Path) -> None:
    """Change it."""
    subprocess.run(["rm", "-r", str(top / "gone"), str(top / "emptied")], check=True)
    (top / "emptied").mkdir()
    (top / "emptied" / "new").write_text("x")
    (top / "changed" / "text").write_text("after, longer")
    (top / "changed" / "mode").chmod(0o600)
    (top / "changed" / "kind").unlink()
    (top / "changed" / "kind").mkdir()
    (top / "changed" / "kind" / "inner").write_text("x")
    (top / "changed" / "link").unlink()
    (top / "changed" / "link").symlink_to("b")
    (top / "new a").mkdir()
    (top / "new a" / "file").write_text("x")


EXPECTED = """C changed|C changed/kind|A changed/kind/inner|C changed/link|C changed/mode|C changed/text
C emptied|D emptied/file|A emptied/new|D gone|A new a|A new a/file"""


def shown(found: list[tuple[str, bytes]]) -> list[str]:
    return [f"{kind} {path.decode()}" for kind, path in found]


def expected() -> list[str]:
    return EXPECTED.replace("\n", "|").split("|")


def test_two_trees(tmp_path: Path) -> None:
    before, after = tree(tmp_path / "before"), tmp_path / "after"
    subprocess.run(["cp", "-a", str(before), str(after)], check=True)
    assert of_trees(str(before), str(after)) == []

    change(after)

    assert shown(of_trees(str(before), str(after))) == expected()


def test_a_directory_whose_entries_are_others_has_changed_whatever_its_time(tmp_path: Path) -> None:
    before, after = tree(tmp_path / "before"), tmp_path / "after"
    subprocess.run(["cp", "-a", str(before), str(after)], check=True)
    found = (after / "kept").stat()
    (after / "kept" / "new").touch()
    os.utime(after / "kept", ns=(found.st_mtime_ns, found.st_mtime_ns))

    assert shown(of_trees(str(before), str(after))) == ["C kept", "A kept/new"]


@pytest.mark.linux
@pytest.mark.needs("containers")
def test_an_overlay_says_the_same(tmp_path: Path) -> None:
    """Also where what is changed lies in another layer than the lowest, and is hidden by one between."""
    lowest, middle, upper, work, merged = (tmp_path / name for name in ("lowest", "middle", "upper", "work", "merged"))
    tree(lowest)
    (lowest / "hidden").mkdir()
    (lowest / "hidden" / "file").write_text("x")
    for path in (middle, upper, work, merged):
        path.mkdir()
    os.mknod(middle / "hidden", stat.S_IFCHR, 0)
    options = f"lowerdir={middle}:{lowest},upperdir={upper},workdir={work}"
    script = f"mount -t overlay -o {options} none {merged} && exec sleep 600"
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", script])
    try:
        inside = Path(f"/proc/{process.pid}/root{merged}")
        while not (inside / "kept").exists():
            assert process.poll() is None
        change(inside)
        (inside / "hidden").mkdir()
        assert shown(of_overlay([str(middle), str(lowest)], str(upper))) == sorted(
            [*expected(), "A hidden"], key=lambda line: line[2:].encode()
        )
    finally:
        process.kill()
        process.wait()


@pytest.mark.needs("linux")  # overlays, and os.getxattr with them
@pytest.mark.parametrize("hiding", ["file", "link"])
def test_what_a_link_or_file_of_a_layer_hides_was_not_there(tmp_path: Path, hiding: str) -> None:
    """The container has put a directory in its place; the link leads to a directory that has such a name."""
    lowest, middle, upper = (tmp_path / name for name in ("lowest", "middle", "upper"))
    for path in (lowest / "a" / "x", upper / "a" / "x", middle):
        path.mkdir(parents=True)
    if hiding == "link":
        (middle / "a").symlink_to(lowest / "a")
    else:
        (middle / "a").touch()

    assert shown(of_overlay([str(middle), str(lowest)], str(upper))) == ["C a", "A a/x"]


def test_what_zfs_says(tmp_path: Path) -> None:
    """Escapes of what is no ASCII, a renamed directory with what is in it, the root itself, other mounts."""
    (tmp_path / "after" / "new" / "sub").mkdir(parents=True)
    (tmp_path / "after" / "new" / "sub" / "file").write_text("x")
    (tmp_path / "before").mkdir()
    top = os.fsencode(tmp_path / "after")
    lines = [b"M\t/\t" + top + b"/", b"+\tF\t" + top + b"/a\\0040\\0303\\0244", b"-\tF\t" + top + b"/old"]
    lines += [b"M\t/\t" + top + b"/etc", b"R\t/\t" + top + b"/was\t" + top + b"/new", b"+\tF\t/elsewhere/x"]
    lines += [b"+\t/\t" + top + b"/<xattrdir>/x"]

    found = of_zfs(b"\n".join(lines) + b"\n", str(tmp_path / "before"), str(tmp_path / "after"))

    assert [f"{kind} {path.decode()}" for kind, path in found] == [
        *("A a ä", "C etc", "A new", "A new/sub", "A new/sub/file", "D old", "D was"),
    ]


@pytest.mark.parametrize(
    ("change", "said", "found"),
    [
        pytest.param(
            "echo x >d/f; ln d/f d/hard", ["M\t/\tTOP/d", "+\tF\tTOP/d/hard"], ["C d", "A d/f", "A d/hard"], id="added"
        ),
        pytest.param("ln one d/new", ["M\t/\tTOP/d", "M\tF\tTOP/one\t(+1)"], ["C d", "A d/new"], id="named"),
        pytest.param("rm two", ["M\tF\tTOP/twin\t(-1)"], ["D two"], id="unnamed"),
        pytest.param("rm two twin", ["-\tF\tTOP/twin"], ["D twin", "D two"], id="removed"),
        pytest.param("echo longer >two", ["M\tF\tTOP/twin"], ["C twin", "C two"], id="written"),
        pytest.param("mv two d/b", ["M\t/\tTOP/d", "R\tF\tTOP/two\tTOP/d/b"], ["C d", "A d/b", "D two"], id="renamed"),
    ],
)
def test_zfs_tells_one_name_of_a_file_that_has_several(
    tmp_path: Path, change: str, said: list[str], found: list[str]
) -> None:
    """What it said of these changes on FreeBSD 15.1; the other names were neither listed nor committed."""
    before, after = tmp_path / "before", tmp_path / "after"
    (before / "d").mkdir(parents=True)
    for name in ("one", "two"):
        (before / name).write_text("x")
    os.link(before / "two", before / "twin")
    subprocess.run(["cp", "-a", f"{before}/.", after], check=True)
    (after / "twin").unlink()  # FreeBSD's cp makes two files of it
    os.link(after / "two", after / "twin")
    subprocess.run(["/bin/sh", "-c", change], check=True, cwd=after)
    lines = "".join(f"{line}\n" for line in said).replace("TOP", str(after)).encode()

    assert shown(of_zfs(lines, str(before), str(after))) == found


@pytest.mark.parametrize(
    "find",
    [
        pytest.param(of_trees, id="trees"),
        pytest.param(lambda before, after: of_overlay([before], after), id="overlay", marks=pytest.mark.needs("linux")),
    ],
)
@pytest.mark.parametrize("instead", ["nothing", "link", "file"])
def test_a_directory_that_goes_while_it_is_looked_at_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, find: Callable[[str, str], list[Change]], instead: str
) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "after" / "a").mkdir(parents=True)
    (tmp_path / "after" / "b").mkdir()
    look = changes._look

    def swapped(directory: int, name: bytes) -> os.stat_result | None:
        found, place = look(directory, name), tmp_path / "after" / "a"
        if name == b"a" and place.is_dir() and not place.is_symlink() and found:
            place.rmdir()
            if instead == "link":
                place.symlink_to("/")
            elif instead == "file":
                place.touch()
        return found

    monkeypatch.setattr(changes, "_look", swapped)

    assert shown(find(str(tmp_path / "before"), str(tmp_path / "after"))) == ["A a", "A b"]


def test_links_are_not_followed_and_depth_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "after" / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "after" / "link").symlink_to("/")

    assert shown(of_trees(str(tmp_path / "before"), str(tmp_path / "after"))) == ["A a", "A a/b", "A a/b/c", "A link"]
    monkeypatch.setattr(changes, "DEEPEST", 2)
    with pytest.raises(StorageError, match="more than 2 levels"):
        of_trees(str(tmp_path / "before"), str(tmp_path / "after"))
    with pytest.raises(StorageError, match="cannot read"):
        of_trees(str(tmp_path / "before"), str(tmp_path / "nowhere"))
