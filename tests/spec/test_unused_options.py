"""Words of mounts[].options that change nothing are warned of by their JSON path, and only those."""

import pytest

from runjail.spec.model import Mount
from runjail.spec.parse import parse
from runjail.spec.unused import unused_options
from runjail.target import TARGETS


def told(os: str, type: str, *options: str) -> tuple[str, ...]:
    """Return what is warned of in the second of two entries."""
    return unused_options((Mount("/a", "tmpfs"), Mount("/b", type, "vol", options)), TARGETS[os])


@pytest.mark.parametrize("word", ["sync", "dirsync", "mand"])
@pytest.mark.parametrize(("type", "first"), [("bind", "ro"), ("nullfs", "ro"), ("", "ro"), ("none", "rbind")])
def test_flags_of_superblocks_on_a_bind_mount(word: str, type: str, first: str) -> None:
    """A bind mount of Linux has none of its own: mount(2)."""
    assert told("linux", type, first, word) == (f"mounts[1].options[1] ({word})",)
    assert told("linux", "tmpfs", word) == ()


@pytest.mark.parametrize(
    ("os", "type", "word"),
    [
        *(
            ("linux", "devfs", "rule=path x unhide"),
            ("linux", "tmpfs", "maxfilesize=1m"),
            ("linux", "nullfs", "nocache"),
        ),
        *(("freebsd", "tmpfs", "noswap"), ("freebsd", "nullfs", "rshared"), ("freebsd", "tmpfs", "lazytime")),
    ],
)
def test_words_of_the_other_system(os: str, type: str, word: str) -> None:
    assert told(os, type, word) == (f"mounts[1].options[0] ({word.partition('=')[0]})",)


@pytest.mark.parametrize(
    ("os", "type", "options"),
    [
        ("linux", "bind", ("sync", "async", "mand", "nomand")),
        ("linux", "bind", ("rbind", "rprivate", "rslave", "nosuid", "nodev", "noexec", "relatime", "ro")),
        ("linux", "devfs", ("ruleset=4",)),
        ("freebsd", "nullfs", ("rbind", "rprivate", "private", "nosuid", "nodev", "ro", "sync")),
        ("freebsd", "tmpfs", ("nodev", "strictatime", "lazytime", "nolazytime")),
    ],
)
def test_what_is_so_anyway_or_taken_back(os: str, type: str, options: tuple[str, ...]) -> None:
    assert told(os, type, *options) == ()


def test_a_document_tells_of_them() -> None:
    mount = {"destination": "/b", "type": "bind", "source": "vol", "options": ["sync"]}
    document = {"ociVersion": "1.2.0", "root": {"path": "r"}, "mounts": [mount]}

    assert parse(document, "linux").unused == ("mounts[0].options[0] (sync)",)
