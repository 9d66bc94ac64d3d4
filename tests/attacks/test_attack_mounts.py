"""Mounts: what a container, its image or its config does to the mounts and device files of the host.

Every attack runs in a mount namespace of its own: `unshare -m` stands for the host, so that nothing is lost when an
attack succeeds.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.attacks.apart import Apart
from tests.support.program import Bundle, Runjail

pytestmark = pytest.mark.linux

VERBS = """
$RUNJAIL create -b $BUNDLE c
$RUNJAIL start c
$RUNJAIL exec c cat /proc/self/mountinfo > $OUT/inside
$RUNJAIL exec c sh -c "mount -t tmpfs tmpfs /volume/in && touch /volume/in/file"
$RUNJAIL delete -f c
"""

WORDS = ("", "private", "rprivate", "slave", "rslave", "unbindable", "runbindable", "shared", "rshared")

# Every mount but the one through which runjail runs its interpreter, made by the first create
TABLE = "grep -v /libexec/runjail/ /proc/self/mountinfo"


@pytest.fixture
def apart(runjail: Runjail, bundle: Bundle, tmp_path: Path) -> Iterator[Apart]:
    out = tmp_path / "out"
    out.mkdir()
    attacker = Apart(runjail, bundle, out)
    attacker.give("SYS_ADMIN", "CHOWN", "FOWNER", "DAC_OVERRIDE")
    yield attacker
    runjail("delete", "-f", "c")


def _without_others(table: str, own: Path) -> list[str]:
    """Drop what others of this machine have mounted and remove at any time, and with it the directories below it."""
    lines = [line for line in table.splitlines() if "/pytest-of-" not in line or str(own) in line]
    return [line for line in lines if str(own) in line or os.path.lexists(line.split()[4])]


@pytest.mark.parametrize("host", ["shared", "private"])
@pytest.mark.parametrize("word", WORDS)
def test_no_propagation_takes_mounts_from_the_host(apart: Apart, word: str, host: str) -> None:
    """On a shared /, detaching the old root of a shared container took away half of the host's mounts."""
    volume = apart.out / "volume"
    apart.add_mount("/volume", volume, "rbind", "rprivate")
    apart.bundle.config["linux"] |= {"rootfsPropagation": word} if word else {}
    apart.run(
        f"mkdir {volume}; mount -t tmpfs tmpfs {volume}; mkdir {volume}/in; {TABLE} > $OUT/before"
        f"{VERBS} {TABLE} > $OUT/after",
        host,
    )
    inside = (apart.out / "inside").read_text()

    before, after = (_without_others((apart.out / name).read_text(), volume) for name in ("before", "after"))
    assert after == before
    assert " /volume " in inside, "the container did not run"
    assert ("shared:" in inside.splitlines()[0]) == word.endswith("shared"), "its root is not as asked"


@pytest.mark.parametrize("word", ["shared", "rshared"])
def test_a_volume_that_says_nothing_sends_no_mounts_to_the_host(apart: Apart, word: str) -> None:
    """A shared root made every volume a peer of the host: what a container mounted there was mounted on the host."""
    volume = apart.out / "volume"
    apart.add_mount("/volume", volume, "rbind")
    apart.bundle.config["linux"]["rootfsPropagation"] = word
    apart.run(
        f"mkdir {volume}; mount -t tmpfs tmpfs {volume}; mkdir {volume}/in; {VERBS}"
        f"find {volume} -type f > $OUT/found; cat /proc/self/mountinfo > $OUT/after",
        "shared",
    )

    assert (apart.out / "found").read_text() == ""
    assert f"{volume}/in" not in (apart.out / "after").read_text()


def test_a_volume_that_is_asked_to_be_shared_is(apart: Apart) -> None:
    """The control of the one above: the same mount reaches the host where config.json says so."""
    volume = apart.out / "volume"
    apart.add_mount("/volume", volume, "rbind", "rshared")
    apart.bundle.config["linux"]["rootfsPropagation"] = "shared"
    apart.run(
        f"mkdir {volume}; mount -t tmpfs tmpfs {volume}; mkdir {volume}/in; {VERBS} find {volume} -type f > $OUT/found",
        "shared",
    )

    assert (apart.out / "found").read_text() == f"{volume}/in/file\n"


# A /dev of this namespace, whose nodes an attack may change
OWN_DEV = """
mount -t tmpfs -o mode=755 tmpfs /dev
for node in "null 3" "zero 5" "full 7" "random 8" "urandom 9"; do set -- $node; mknod -m 666 /dev/$1 c 1 $2; done
mknod -m 666 /dev/tty c 5 0; mknod -m 666 /dev/ptmx c 5 2
"""


@pytest.mark.parametrize(
    "attack",
    ["chmod 600 /key", "chown 7 /key", "mount -o remount,rw /key; chmod 600 /key", "touch -d @0 /key; echo x > /key"],
)
def test_a_masked_file_is_no_device_of_the_host(apart: Apart, attack: str) -> None:
    """Masked files were the host's /dev/null, and root inside could change its mode and owner for everybody."""
    (apart.bundle.rootfs / "key").write_text("secret")
    apart.bundle.config["linux"]["maskedPaths"] = ["/key"]
    said = apart.run(
        f"{OWN_DEV} stat -c '%a %u %Y' /dev/null; $RUNJAIL create -b $BUNDLE c; $RUNJAIL start c\n"
        f"$RUNJAIL exec c sh -c 'cat /key; {attack}; chmod 700 /tmp && stat -c %a /tmp; stat -c %F /key' 2>/dev/null\n"
        "$RUNJAIL delete -f c; stat -c '%a %u %Y' /dev/null"
    )
    before, control, kind, after = said.splitlines()

    assert after == before
    assert (control, kind) == ("700", "regular empty file")
    assert (apart.bundle.rootfs / "key").read_text() == "secret"


@pytest.mark.needs("devices")
@pytest.mark.parametrize("node", ["null", "zero", "full", "random", "urandom", "tty"])
def test_a_device_file_of_the_container_is_its_own(apart: Apart, node: str) -> None:
    """Where device files can be made, none of the host's is shown: its mode, owner and time are the host's alone."""
    facts = f"stat -c '%a %u %Y' /dev/{node}"
    attack = f"chmod 600 /dev/{node} && chown 7 /dev/{node} && touch -d @0 /dev/{node} && {facts}"
    said = apart.run(
        f"{OWN_DEV} {facts}; $RUNJAIL create -b $BUNDLE c; $RUNJAIL start c\n"
        f'$RUNJAIL exec c sh -c "{attack}"; $RUNJAIL delete -f c; {facts}'
    )
    before, inside, after = said.splitlines()

    assert after == before
    assert inside == "600 7 0", "the attack did not work where it may"


def test_a_masked_directory_takes_nothing(apart: Apart) -> None:
    """Not even from one who may mount: it is empty, and of a file system that has no room."""
    (apart.bundle.rootfs / "keys").mkdir()
    (apart.bundle.rootfs / "keys" / "one").write_text("secret")
    apart.bundle.config["linux"]["maskedPaths"] = ["/keys"]
    said = apart.run(
        "$RUNJAIL create -b $BUNDLE c; $RUNJAIL start c\n"
        "$RUNJAIL exec c sh -c 'ls /keys; touch /keys/x; mount -o remount,rw /keys; touch /keys/x; mkdir /keys/y; "
        "touch /tmp/x; ls /keys /tmp' 2>/dev/null; $RUNJAIL delete -f c"
    )

    assert said == "/keys:\n\n/tmp:\nx\n"
