"""runjail check: what was found, and the command that mends it."""

import os
import struct
import types

import pytest

from runjail.host.freebsd import check, host, libc
from runjail.host.programs import Result
from tests.support.host.machine import Machine


def rows(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, release: str = "15.1-RELEASE-p1"
) -> dict[str, tuple[bool, str, str]]:
    monkeypatch.setattr(os, "uname", lambda: types.SimpleNamespace(release=release))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return {what: rest for what, *rest in machine.host.check()}  # type: ignore[misc]


def test_a_good_machine_needs_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.kernel.sysctls |= {"vfs.zfs.version.spa": b"5000", "kern.features.linux64": struct.pack("i", 1)}
    machine.kernel.sysctls["kern.elf64.fallback_brand"] = struct.pack("i", 3)

    for what, (works, _, mend) in rows(machine, monkeypatch).items():
        assert (what, works, mend) == (what, True, "")


@pytest.mark.parametrize(
    ("release", "works"),
    [
        ("13.2-RELEASE", False), ("14.1-RELEASE", False), ("14.2-RELEASE", True), ("15.1-RELEASE", False),
        ("15.1-RELEASE-p1", True), ("15.1-STABLE", True), ("16.0-CURRENT", True),
    ],
)  # fmt: skip
def test_releases(machine: Machine, monkeypatch: pytest.MonkeyPatch, release: str, works: bool) -> None:
    found = rows(machine, monkeypatch, release)["FreeBSD"]

    assert found[0] is works
    assert release in found[1]
    assert bool(found[2]) is not works


def test_accounting_that_is_off_names_the_loader_setting(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.kernel.sysctls["kern.racct.enable"] = bytes(4)

    works, found, mend = rows(machine, monkeypatch)["resource limits (racct)"]

    assert (works, found) == (False, "kern.racct.enable=0")
    assert "kern.racct.enable=1 >> /boot/loader.conf" in mend


def test_a_kernel_without_vimage(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    del machine.kernel.sysctls["kern.features.vimage"]

    works, found, _ = rows(machine, monkeypatch)["own network stacks (vnet)"]

    assert (works, found) == (False, "kern.features.vimage is not in this kernel")


def test_modules_that_are_not_loaded(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rows(machine, monkeypatch)

    assert found["ZFS"][2] == "sysrc zfs_enable=YES && service zfs start"
    assert found["Linux programs"][2] == "sysrc linux_enable=YES && service linux start"


def test_linux_programs_without_a_brand(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.kernel.sysctls["kern.features.linux64"] = struct.pack("i", 1)

    works, found, mend = rows(machine, monkeypatch)["Linux programs without a brand"]

    assert (works, found, mend) == (False, "kern.elf64.fallback_brand=-1", "sysctl kern.elf64.fallback_brand=3")


def test_what_an_older_kernel_lacks_is_no_fault(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    new = {what: found for what, (_, found, _) in rows(machine, monkeypatch).items()}
    machine.kernel.descriptors = None
    del machine.kernel.sysctls["security.jail.meta_maxbufsize"]
    old = rows(machine, monkeypatch, "14.2-RELEASE")

    assert "4096 bytes" in new["container ids in jls"]
    assert new["removal by jail descriptor"] == "this kernel has them"
    assert old["container ids in jls"] == [True, "this kernel has no jail parameter meta; see runjail list", ""]
    assert old["removal by jail descriptor"][1].startswith("this kernel has none")


@pytest.mark.parametrize(
    "answer", [Result(0), Result(1, b"", b"devfs rule: ioctl DEVFSIO_RGETNEXT: Operation not permitted\n")]
)
def test_rulesets_that_are_not_loaded(machine: Machine, monkeypatch: pytest.MonkeyPatch, answer: Result) -> None:
    machine.programs.answers["/sbin/devfs"] = answer

    assert rows(machine, monkeypatch)["devfs rules"][::2] == [False, "service devfs restart"]


def test_users_are_told_to_be_root(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1001)

    assert check.check(machine.kernel.libc())[0][1:3] == (False, "euid 1001")


def test_the_host_loads_the_system_s_libc_by_itself(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libc, "load", machine.kernel.libc)

    assert host.FreeBSDHost().boot_id() == machine.host.boot_id()
