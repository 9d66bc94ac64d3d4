"""Every value of linux.rootfsPropagation, on a host whose / is shared and on one whose / is private."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attacks.apart import Apart
from tests.support.program import Bundle, Runjail

pytestmark = pytest.mark.linux

# What the root, a volume and a file system below the volume show inside, on a shared /; runc shows the same but where
# it leaves a volume a peer of the host's (shared, slave and private), or cannot start (unbindable).
SHOWN = {
    "": ("", "master", "master"),
    "shared": ("shared", "master", "master"),
    "rshared": ("shared", "shared,master", "shared,master"),
    "slave": ("master", "master", "master"),
    "rslave": ("master", "master", "master"),
    "private": ("", "master", "master"),
    "rprivate": ("", "", ""),
    "unbindable": ("unbindable", "master", "master"),
    "runbindable": ("unbindable", "unbindable", "unbindable"),
}


@pytest.fixture
def apart(runjail: Runjail, bundle: Bundle, tmp_path: Path) -> Iterator[Apart]:
    (tmp_path / "out").mkdir()
    yield Apart(runjail, bundle, tmp_path / "out")
    runjail("delete", "-f", "c")


def shown(table: str, *places: str) -> tuple[str, ...]:
    """Return the propagation of mounts, as mountinfo has it but without the numbers of peer groups."""
    found = {}
    for line in table.splitlines():
        fields = line.split()
        words = [field.partition(":")[0] for field in fields[6 : fields.index("-")]]
        found[fields[4]] = ",".join(words)
    return tuple(found[place] for place in places)


@pytest.mark.parametrize("host", ["shared", "private"])
@pytest.mark.parametrize("word", SHOWN)
def test_propagation_inside(apart: Apart, word: str, host: str) -> None:
    volume = apart.out / "volume"
    apart.add_mount("/volume", volume, "rbind")
    if word:
        apart.bundle.config["linux"]["rootfsPropagation"] = word
    apart.bundle.config["process"]["args"] = ["/bin/cat", "/proc/self/mountinfo"]
    said = apart.run(
        f"mkdir {volume}; mount -t tmpfs tmpfs {volume}; mkdir {volume}/in; mount -t tmpfs tmpfs {volume}/in\n"
        "$RUNJAIL run -b $BUNDLE c",
        host,
    )
    # Without peers on the host nothing is a slave of any
    expected = SHOWN[word]
    if host == "private":
        expected = tuple(words.replace(",master", "").replace("master", "") for words in expected)

    assert shown(said, "/", "/volume", "/volume/in") == expected
