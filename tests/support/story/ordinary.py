"""Images of an ordinary user: the program as that user calls it, who has a home, a store and perhaps ids to lend."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.needs import ORDINARY
from tests.support.program import Result, Runjail

FIRST = 700000  # of what is lent
# Files of /etc of our own, in a mount namespace of our own, and then somebody else.
CALL = """\
#!/bin/sh
exec unshare -m --propagation private sh -c '
for name in passwd subuid subgid; do mount --bind {etc}/$name /etc/$name || exit 99; done
{device}
exec setpriv --reuid {user} --regid {user} --clear-groups env {env} {program} "$@"' sh "$@"
"""


# A TUN device that everybody may open, as most systems have it
DEVICE = """\
mount -t tmpfs none /mnt && mknod /mnt/tun c 10 200 && chmod {mode} /mnt/tun &&
mount --bind /mnt/tun /dev/net/tun && umount -l /mnt || exit 99"""


class Ordinary(Runjail):
    """The program as an ordinary user calls it, who has a home; lent: and ids of /etc/subuid.

    device: the mode of /dev/net/tun, "" for the machine's own.
    """

    def __init__(self, directory: Path, *, lent: bool, device: str = "") -> None:
        super().__init__(directory)
        self.home, self.runtime = directory / "home", directory / "run"
        self.root, self.real = self.runtime / "runjail", self.program
        etc = directory / "etc"
        for path in (self.home, self.runtime, etc):
            path.mkdir(mode=0o755)
            os.chown(path, ORDINARY, ORDINARY)
        self.runtime.chmod(0o700)
        passwd = Path("/etc/passwd").read_text()
        (etc / "passwd").write_text(f"{passwd}tester:x:{ORDINARY}:{ORDINARY}::{self.home}:/bin/sh\n")
        for name in ("subuid", "subgid"):
            (etc / name).write_text(f"tester:{FIRST}:5000\n" if lent else "")
        words = f"HOME={self.home} XDG_RUNTIME_DIR={self.runtime} PATH={os.defpath}"
        script = directory / "as-tester"
        script.write_text(
            CALL.format(
                etc=etc,
                user=ORDINARY,
                env=words,
                program=self.real,
                device=DEVICE.format(mode=device) if device else "",
            )
        )
        script.chmod(0o755)
        self.program = str(script)

    def __call__(self, *args: str, **more: object) -> Result:
        """Run it to its end."""
        return super().__call__(*args, root=False, env={"PATH": os.defpath})


def make_image(place: Path, machine_rootfs: Path) -> Path:
    """Return an image layout with files of several owners, which everybody may read."""
    rootfs, root = place / "rootfs", Runjail(place)
    shutil.copytree(machine_rootfs, rootfs, symlinks=True)
    (rootfs / "owned").mkdir(mode=0o700)
    (rootfs / "owned/file").write_text("kept\n")
    (rootfs / "owned/link").symlink_to("file")
    os.chown(rootfs / "owned", 33, 34)
    os.chown(rootfs / "owned/file", 1000, 1001)
    (rootfs / "owned/file").chmod(0o4751)
    store = f"dir:{place}/roots-store"
    root.ok("--store", store, "image", "import", "--cmd", "/bin/sh", f"rootfs:{rootfs}", "made")
    root.ok("--store", store, "image", "export", "made", f"oci:{place}/layout:made")
    subprocess.run(["chmod", "-R", "a+rX", str(place / "layout")], check=True)
    return place / "layout"


@contextlib.contextmanager
def mount_points() -> Iterator[None]:
    """Files of /etc over which ours are mounted: those that the machine lacks go again."""
    absent = [path for path in (Path("/etc/subuid"), Path("/etc/subgid")) if not path.exists()]
    for path in absent:
        path.touch()
    yield
    for path in absent:
        path.unlink()


def ordinary(place: Path, image: Path, *, lent: bool, device: str = "") -> Iterator[Ordinary]:
    """Yield the program with the image in its store; nothing may be left of its containers."""
    place.chmod(0o755)
    found = Ordinary(place, lent=lent, device=device)
    found.ok("image", "import", f"oci:{image}:made", "made")
    yield found
    for id in found.ids():
        found("delete", "--force", id)
    found.ok("image", "rm", "made")
    found.ok("image", "prune", "--all")
    store = found.home / ".local/share/runjail"
    assert [os.listdir(store / name) for name in ("bundles", "containers", "layers", "making", "trash")] == [[]] * 5
    assert {path.lstat().st_uid for path in found.home.rglob("*")} == {ORDINARY}
