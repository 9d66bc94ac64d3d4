"""--security-opt and --device, as config.json gets them."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from runjail.cli import run_devices, run_security, seccomp_profile
from runjail.errors import UsageError
from runjail.image.bundle import default_mounts
from runjail.spec.reader import Reader, Report
from runjail.spec.seccomp import read_seccomp

PODMANS = Path("/usr/share/containers/seccomp.json")


def document() -> dict[str, Any]:
    return {"process": {"args": ["/bin/sh"], **default_mounts.CONFINED}, "linux": default_mounts.linux("none")}


def applied(*words: str) -> dict[str, Any]:
    found = document()
    run_security.apply(found, run_security.security(list(words), "linux"))
    return found


def test_words_of_security() -> None:
    found = applied("no-new-privileges", "apparmor=ours", "label=type:web_t", "label=level:s0:c1", "mask=/proc/x:/y")

    assert found["process"]["noNewPrivileges"] is True
    assert found["process"]["apparmorProfile"] == "ours"
    assert found["process"]["selinuxLabel"] == "system_u:system_r:web_t:s0:c1"
    assert found["linux"]["mountLabel"] == "system_u:object_r:container_file_t:s0:c1"
    assert found["linux"]["maskedPaths"] == [*default_mounts.MASKED, "/proc/x", "/y"]


def test_the_label_of_files_has_a_type_of_its_own() -> None:
    found = applied("label=role:web_r", "label=filetype:web_file_t")

    assert found["process"]["selinuxLabel"] == "system_u:web_r:container_t:s0"
    assert found["linux"]["mountLabel"] == "system_u:object_r:web_file_t:s0"


def test_what_is_unconfined() -> None:
    found = applied("apparmor=ours", "apparmor=unconfined", "label=type:x", "label=disable", "seccomp=unconfined")

    assert found == document()
    assert applied("no-new-privileges:false") == document()
    assert applied("unmask=/proc/a*:/proc/sys")["linux"]["readonlyPaths"] == [
        path for path in default_mounts.READONLY if path != "/proc/sys"
    ]
    assert applied("unmask=ALL")["linux"]["maskedPaths"] == []


def test_on_freebsd_a_program_may_be_kept_from_new_privileges_only() -> None:
    assert run_security.security(["no-new-privileges"], "freebsd")["process"] == {"noNewPrivileges": True}
    with pytest.raises(UsageError, match="apparmor=x: only Linux has this"):
        run_security.security(["apparmor=x"], "freebsd")


PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "defaultErrno": "ENOSYS",
    "archMap": [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": None},
    ],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "", "includes": {}, "excludes": {}},
        {"name": "vhangup", "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_TTY_CONFIG"]}},
        {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}},
        {"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "errno": "EPERM", "excludes": {"caps": ["CAP_BPF"]}},
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_CHOWN"]}},
        {"names": ["s390_pci_mmio_read"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
        {"names": ["close"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["future"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.1"}},
    ],
}


@pytest.mark.linux
@pytest.mark.parametrize(
    ("machine", "expected"),
    [("x86_64", ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]), ("aarch64", ["SCMP_ARCH_AARCH64"]), ("s390x", [])],
)
def test_conditions_are_decided(monkeypatch: pytest.MonkeyPatch, machine: str, expected: list[str]) -> None:
    monkeypatch.setattr(seccomp_profile, "_machine", lambda: seccomp_profile.MACHINES.get(machine, machine))

    found = seccomp_profile.convert(PROFILE, "p", ["CAP_CHOWN", "CAP_SYS_CHROOT"])

    assert found["architectures"] == expected
    names = ["read", "chroot", "bpf", *(["s390_pci_mmio_read"] if machine == "s390x" else []), "close"]
    assert [name for rule in found["syscalls"] for name in rule["names"]] == names
    assert found["syscalls"][2]["errnoRet"] == 1
    report = Report()
    read_seccomp(Reader(found, ("linux", "seccomp"), report))
    report.raise_if_any("profile")


@pytest.mark.linux
@pytest.mark.skipif(not PODMANS.exists(), reason="podman's profile is not installed")
def test_podman_s_own_profile(tmp_path: Path) -> None:
    found = applied(f"seccomp={PODMANS}")["linux"]["seccomp"]

    assert found["defaultAction"] == "SCMP_ACT_ERRNO"
    allowed = {name for rule in found["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
    assert {"read", "chroot"} <= allowed
    assert "acct" not in allowed, "it takes CAP_SYS_PACCT"
    (tmp_path / "odd.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "kernel": 5}))
    with pytest.raises(UsageError, match=r"odd.json: unknown member 'kernel'"):
        applied(f"seccomp={tmp_path}/odd.json")


@pytest.mark.linux
def test_a_device_or_all_in_a_directory(tmp_path: Path) -> None:
    found = run_devices.devices(["/dev/null:/dev/nothing:r", "/dev/zero"], "linux")["linux"]

    assert [(node["path"], node["type"], node["major"], node["minor"]) for node in found["devices"]] == [
        ("/dev/nothing", "c", 1, 3),
        ("/dev/zero", "c", 1, 5),
    ]
    assert found["devices"][0]["fileMode"] == stat.S_IMODE(os.stat("/dev/null").st_mode)
    assert [rule["access"] for rule in found["resources"]["devices"]] == ["r", "rwm"]
    (tmp_path / "file").touch()
    assert run_devices.devices([str(tmp_path)], "linux")["linux"]["devices"] == []


def test_freebsd_shows_a_device_by_its_own_name() -> None:
    assert run_devices.devices(["/dev/null"], "freebsd") == {"freebsd": {"devices": [{"path": "null"}]}}
    for text in ("/dev/null:/dev/x", "/dev/null:r"):
        with pytest.raises(UsageError, match="shows a device under its own name"):
            run_devices.devices([text], "freebsd")
    for text in ("/etc/passwd", "/dev/../etc/passwd", "/dev/nonexistent"):
        with pytest.raises(UsageError, match=r"not below /dev|does not exist"):
            run_devices.devices([text], "freebsd")
