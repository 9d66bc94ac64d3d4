"""A container that was made after chroot(2), as on a build machine: nobody in it finds what chroot has left out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attacks.apart import Apart
from tests.support.program import Bundle, Runjail

pytestmark = pytest.mark.linux

TOPS = {
    "a mount": "mount --rbind / $TOP\n",
    "a directory": """
        for entry in /*; do
            if [ -L $entry ]; then cp -P $entry $TOP/
            elif [ -d $entry ]; then mkdir $TOP$entry; mount --rbind $entry $TOP$entry
            fi
        done
    """,
}


@pytest.fixture
def marked(runjail: Runjail, bundle: Bundle, tmp_path: Path) -> Iterator[Apart]:
    """A host of its own; the container's root has a file that no other root has."""
    (tmp_path / "out").mkdir()
    (bundle.rootfs / "of-the-container").write_text("inside\n")
    yield Apart(runjail, bundle, tmp_path / "out")
    runjail("delete", "-f", "c")


def below(apart: Apart, top: str, host: str, script: str) -> str:
    """Run a script after chroot(2) into another / that shows the same files; return what it prints."""
    return apart.run(f"TOP=$OUT/top; mkdir $TOP\n{TOPS[top]}\nchroot $TOP sh -euc '{script}'", host)


@pytest.mark.parametrize("host", ["shared", "private"])
@pytest.mark.parametrize("top", TOPS)
def test_who_joins_is_in_the_container(marked: Apart, top: str, host: str) -> None:
    """setns(2) leads to the root of the mount namespace, which has to be the container's. runc's is the host's."""
    marked.bundle.config["process"]["args"] = ["/bin/sleep", "600"]
    said = below(
        marked,
        top,
        host,
        "$RUNJAIL run -b $BUNDLE -d c; $RUNJAIL exec c /bin/cat /of-the-container; $RUNJAIL delete --force c",
    )

    assert said == "inside\n"


@pytest.mark.parametrize("top", TOPS)
def test_nobody_comes_out_by_joining_what_he_is_in(marked: Apart, top: str) -> None:
    """With the capabilities that setns(2) takes."""
    marked.give("SYS_ADMIN", "SYS_CHROOT")
    marked.bundle.config["process"]["args"] = ["/bin/nsenter", "-m/proc/self/ns/mnt", "/bin/cat", "/of-the-container"]
    said = below(marked, top, "private", "$RUNJAIL run -b $BUNDLE c")

    assert said == "inside\n"
