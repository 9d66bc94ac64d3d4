"""The features document says what the tables say, and plans agree with it."""

from typing import Any

import pytest

from runjail.errors import InvalidConfig
from runjail.plan import features, freebsd_mounts, mount_options
from runjail.plan.plan import make_plan
from runjail.spec import capabilities, linux, model, schema
from runjail.spec.parse import parse
from runjail.target import FREEBSD, LINUX, TARGETS, Target

VALUES = {"size": "64m", "inodes": "5", "maxfilesize": "1m", "mode": "700", "uid": "0", "gid": "0", "ruleset": "4"}
VALUES |= {"rule": "path null unhide"}
WORDS = sorted(
    {
        *mount_options.LINUX_FLAGS, *mount_options.CLEARS, *mount_options.RECURSIVE, *mount_options.PROPAGATION,
        *model.BINDS, *mount_options.NEUTRAL, *mount_options.COPY_UP, *mount_options.DEVFS_KEYS,
        *(key for keys in freebsd_mounts.TYPES.values() for key in keys), "nosuchword", *mount_options.MAPPED,
    }
)  # fmt: skip


def plan_with(word: str, fstype: str, target: Target) -> Any:
    """Return the mount that a plan has for one entry with this option."""
    option = f"{word}={VALUES[word]}" if word in VALUES else word
    mount: dict[str, Any] = {"destination": "/x", "type": fstype, "source": "/tmp", "options": [option]}
    if word in mount_options.MAPPED:
        mount |= {key: [{"containerID": 0, "hostID": 1, "size": 1}] for key in ("uidMappings", "gidMappings")}
    process = {"user": {"uid": 0, "gid": 0}, "args": ["x"], "cwd": "/"}
    config = {"ociVersion": "1.3.0", "root": {"path": "r"}, "process": process, "mounts": [mount]}
    spec = parse(config, target.name)
    return make_plan(spec, container_id="c", bundle="/b", state="/s", os=target.name)


def is_taken(word: str, target: Target) -> bool:
    for fstype in ("nullfs", "tmpfs", "devfs", "fdescfs"):
        try:
            plan_with(word, fstype, target)
        except InvalidConfig:
            continue
        return True
    return False


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_every_option_of_the_document_is_taken(target: Target) -> None:
    listed = features.document(target)["mountOptions"]

    assert listed == sorted(set(listed))
    assert [word for word in listed if not is_taken(word, target)] == []


def test_freebsd_lists_all_that_it_takes() -> None:
    """But words that change nothing there. Linux hands words that it does not know to the file system."""
    listed = features.document(FREEBSD)["mountOptions"]
    silent = mount_options.LINUX_ONLY_IGNORED | {f"r{word}" for word in mount_options.LINUX_ONLY_IGNORED}

    assert [word for word in WORDS if word not in silent and is_taken(word, FREEBSD)] == listed


@pytest.mark.parametrize(
    ("target", "module", "name", "value"),
    [
        (FREEBSD, mount_options, "FREEBSD_FLAGS", frozenset(("newword",))),
        (FREEBSD, mount_options, "COPY_UP", frozenset(("newword",))),
        (LINUX, mount_options, "LINUX_FLAGS", frozenset(("newword",))),
        (LINUX, mount_options, "CLEARS", {"newword": "ro"}),
        (LINUX, mount_options, "PROPAGATION", frozenset(("newword",))),
        (FREEBSD, freebsd_mounts, "TYPES", {"tmpfs": {"newword": None}}),
        (FREEBSD, schema, "HOOK_KINDS", ("newword",)),
        (LINUX, linux, "NAMESPACES", ("newword",)),
    ],
)
def test_the_document_is_derived(
    target: Target, module: Any, name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a table has is printed: a list that somebody wrote by hand would not know the word."""
    monkeypatch.setattr(module, name, value)

    assert "'newword'" in repr(features.document(target))


def test_what_is_of_linux_1_3() -> None:
    listed = features.document(LINUX)["linux"]

    assert (listed["netDevices"], listed["intelRdt"]) == ({"enabled": True}, {"enabled": False})
    for mode in listed["memoryPolicy"]["modes"]:
        policy = {"mode": mode, "flags": listed["memoryPolicy"]["flags"]}
        policy |= {} if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") else {"nodes": "0"}
        config = {"ociVersion": "1.3.0", "root": {"path": "r"}, "linux": {"memoryPolicy": policy}}
        assert parse(config, LINUX.name)


def test_capabilities_are_those_that_can_be_granted() -> None:
    listed = features.document(LINUX)["linux"]["capabilities"]

    assert [name.removeprefix("CAP_") for name in listed] == list(capabilities.NAMES)


def test_security_modules_are_those_that_a_process_takes() -> None:
    process = {"user": {"uid": 0, "gid": 0}, "args": ["x"], "cwd": "/", "apparmorProfile": "a", "selinuxLabel": "b"}
    config = {"ociVersion": "1.3.0", "root": {"path": "r"}, "process": process}
    taken = parse(config, LINUX.name).process
    listed = features.document(LINUX)["linux"]

    assert taken
    assert (taken.apparmor_profile, taken.selinux_label) == ("a", "b")
    assert (listed["apparmor"], listed["selinux"]) == ({"enabled": True}, {"enabled": True})
