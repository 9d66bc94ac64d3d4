"""Every word of mounts[].options has its effect, belongs to the other system, or is an error."""

import pytest

from runjail import steps
from runjail.plan.mount_options import expand
from runjail.spec.model import Mount
from tests.support.plan.specs import mount_of, problems_of, spec_of

LINUX_WORDS = ("private", "rprivate", "rslave", "nodev", "dev", "relatime", "strictatime", "nodiratime", "defaults")


@pytest.mark.parametrize("type", ["tmpfs", "devfs", "nullfs", "fdescfs", "procfs", "linprocfs", "linsysfs"])
def test_words_of_linux_clients_are_dropped(type: str) -> None:
    made = mount_of(*LINUX_WORDS, type=type, source="vol")

    assert (made.flags, made.data, made.propagation) == ((), (), ())


def test_flags_are_flags_and_values_are_data() -> None:
    made = mount_of("nosuid", "size=64m", "noatime", "mode=1777", "ro", "uid=5", "nr_inodes=1k", type="tmpfs")

    assert made.flags == ("nosuid", "noatime", "ro")
    assert made.data == (("size", "64m"), ("mode", "1777"), ("uid", "5"), ("inodes", "1k"))


@pytest.mark.parametrize("word", ["acl", "iversion", "lazytime"])
def test_flags_of_file_systems(word: str) -> None:
    """mount(2) takes them as flags, which a file system would not know as words; a bind mount makes none."""
    made = mount_of(word, type="tmpfs", os="linux")

    assert (made.flags, made.data) == ((word,), ())
    assert mount_of(word, f"no{word}", type="tmpfs", os="linux").flags == ()
    for refused in (word, f"no{word}"):
        (problem,) = problems_of(spec_of(Mount("/t", "bind", "vol", (refused,))), os="linux")
        assert problem == f"mounts[0].options[0]: {refused!r}: not an option of a bind mount"


@pytest.mark.parametrize("os", ["freebsd", "linux"])
def test_the_later_word_wins(os: str) -> None:
    made = mount_of("ro", "nosuid", "rw", "suid", "noexec", "size=1m", "size=2m", type="tmpfs", os=os)

    assert made.flags == ("noexec",)
    assert made.data == (("size", "2m"),)


@pytest.mark.parametrize(
    "bad", ["size=0x", "size=", "size=10%", "size=1mb", "size=-1", "mode=999", "mode=abc", "mode=17777"]
)
def test_what_tmpfs_would_silently_misread_is_an_error(bad: str) -> None:
    (problem,) = problems_of(spec_of(Mount("/t", "tmpfs", "", ("ro", bad))))

    assert problem.startswith(f"mounts[0].options[1]: {bad!r}: must be ")


@pytest.mark.parametrize("type", ["tmpfs", "devfs", "nullfs", "fdescfs", "procfs", "linprocfs", "linsysfs", "zfs"])
@pytest.mark.parametrize("bad", ["bogus", "key=value", "mode", "idmap"])
def test_unknown_words_are_errors_on_freebsd(type: str, bad: str) -> None:
    problems = problems_of(spec_of(Mount("/t", type, "pool/data", (bad,))))

    assert problems[0].startswith(f"mounts[0].options[0]: {bad!r}: ")


@pytest.mark.parametrize(
    ("type", "options"),
    [("nullfs", ()), ("bind", ()), ("", ()), ("none", ("bind",)), ("tmpfs", ("rbind",)), ("nullfs", ("nullfs",))],
)
def test_bind_mounts_by_any_of_their_names(type: str, options: tuple[str, ...]) -> None:
    made = mount_of(*options, type=type, source="vol")

    assert (made.fstype, made.source, made.recursive) == ("nullfs", "/b/vol", options == ("rbind",))
    assert mount_of(*options, type=type, source="vol", os="linux").fstype == "bind"


@pytest.mark.parametrize(("source", "absolute"), [("vol", "/b/vol"), ("/data/", "/data"), ("../x/./y", "/x/y")])
def test_sources_are_read_relative_to_the_bundle(source: str, absolute: str) -> None:
    assert mount_of(type="nullfs", source=source).source == absolute


@pytest.mark.parametrize(
    ("type", "hint"),
    [
        ("proc", "use linprocfs"),
        ("sysfs", "use linsysfs"),
        ("cgroup", "use one of nullfs, tmpfs"),
        ("devpts", "use one of"),
    ],
)
def test_what_freebsd_cannot_mount_is_refused_with_advice(type: str, hint: str) -> None:
    (problem,) = problems_of(spec_of(Mount("/x", type)))

    assert problem.startswith(f"mounts[0].type: FreeBSD cannot mount '{type}'") and hint in problem


@pytest.mark.parametrize("place", ["/", "//", "/.", "/a/.."])
@pytest.mark.parametrize("os", ["freebsd", "linux"])
def test_nothing_is_mounted_on_the_root(place: str, os: str) -> None:
    (problem,) = problems_of(spec_of(Mount(place, "tmpfs")), os)

    assert problem.startswith("mounts[0].destination: ")


def test_dots_that_may_follow_links_are_left_to_the_walk() -> None:
    assert mount_of(type="tmpfs", destination="//a/./b/../c/").destination == "/a/b/../c"


def test_a_missing_source_is_an_error() -> None:
    assert problems_of(spec_of(Mount("/x", "nullfs"))) == ("mounts[0].source: must name what to mount",)
    assert "mounts[0].source" in problems_of(spec_of(Mount("/x", "zfs", "/pool/data")))[0]


def test_zfs_gets_its_own_words_because_it_ignores_flag_bits() -> None:
    made = mount_of("ro", "nosuid", "noexec", type="zfs", source="pool/data")

    assert made.data == (("ro", ""), ("nosetuid", ""), ("noexec", ""))
    assert (made.flags, made.source) == (("ro", "nosuid", "noexec"), "pool/data")


def test_devfs_takes_a_ruleset_and_rules() -> None:
    made = mount_of("ruleset=5", "rule=path shm unhide mode 1777", "rule=path dri/card0 unhide", type="devfs")

    assert made.ruleset == 5
    assert made.rules == ("path shm unhide mode 1777", "path dri unhide", "path dri/card0 unhide")
    assert mount_of(type="devfs").ruleset == 4
    assert mount_of(type="tmpfs").ruleset is None


@pytest.mark.parametrize(
    "bad",
    ["ruleset=-1", "ruleset=65536", "ruleset=", "rule=", "rule=bogus x", "rule=path x unhide mode 448", "rule=path",
     "rule=path x\nadd path mem unhide", "rule=include x"],
)  # fmt: skip
def test_devfs_rules_are_checked_word_by_word(bad: str) -> None:
    (problem,) = problems_of(spec_of(Mount("/dev", "devfs", "", (bad,))))

    assert problem.startswith("mounts[0].options[0]: ")


def test_tmpfs_can_be_filled_with_what_it_covers() -> None:
    assert mount_of("tmpcopyup", type="tmpfs").copy_up
    assert not mount_of("tmpcopyup", "notmpcopyup", type="tmpfs").copy_up


def test_podmans_mounts() -> None:
    """What podman sends on FreeBSD, word for word."""
    assert mount_of("rw", "rprivate", "nosuid", "nodev", "tmpcopyup", type="tmpfs", source="tmpfs") == steps.Mount(
        "tmpfs", "tmpfs", "/m", flags=("nosuid",), copy_up=True
    )
    assert mount_of("rbind", "rprivate", "private", "nosuid", "nodev", "ro", type="nullfs", source="/v") == steps.Mount(
        "nullfs", "/v", "/m", flags=("nosuid", "ro"), recursive=True
    )


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("4096", 4096), ("64k", 65536), ("1G", 1 << 30), ("2t", 2 << 40)])
def test_sizes_have_the_suffixes_of_mount(text: str, size: int) -> None:
    assert expand(text) == size


@pytest.mark.parametrize("text", ["", "k", "1.5g", "-1", "1kb", "٣", "1 k"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number of bytes"):
        expand(text)


def test_recursive_words() -> None:
    """On FreeBSD every submount of a bind is a mount of ours, with the flags of the outer one."""
    linux = mount_of("rbind", "rro", "rnosuid", "rsuid", "rrelatime", type="bind", source="vol", os="linux")
    freebsd = mount_of("rbind", "rro", "rnosuid", "rsuid", "rrelatime", "rnodev", type="bind", source="vol")

    assert (linux.flags, linux.recursive_flags) == ((), ("rro", "rsuid", "rrelatime"))
    assert (freebsd.flags, freebsd.recursive_flags, freebsd.recursive) == (("ro",), (), True)


@pytest.mark.parametrize(("type", "options"), [("bind", ("rw", "remount")), ("tmpfs", ("ro", "remount"))])
def test_an_entry_changes_no_earlier_mount(type: str, options: tuple[str, ...]) -> None:
    """runc applies such an entry; the kernel would refuse it here without saying which it was."""
    entries = (Mount("/m", type, "vol"), Mount("/m", type, "vol", options))
    (problem,) = problems_of(spec_of(*entries), os="linux")

    assert problem.startswith("mounts[1].options[1]: 'remount': changes no earlier mount")
