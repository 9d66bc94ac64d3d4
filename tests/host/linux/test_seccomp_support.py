"""The features document has of seccomp what this machine can do: what it names is taken, what it lacks is refused."""

import errno
import sys
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import HostError
from runjail.plan import features
from runjail.spec.model import Seccomp, SeccompRule
from runjail.target import LINUX

if sys.platform != "linux":  # whose libc it calls
    pytest.skip("needs Linux", allow_module_level=True)
from runjail.host.linux import libc, libseccomp, seccomp_support

pytestmark = pytest.mark.needs("libseccomp")


def known() -> dict[str, Any]:
    """Return what runjail knows, on whatever machine."""
    found: dict[str, Any] = features.document(LINUX)["linux"]["seccomp"]
    return found


def narrowed() -> dict[str, Any]:
    found = known()
    seccomp_support.narrow(found)
    return found


def test_architectures_are_those_that_the_library_takes() -> None:
    """LOONGARCH64 was listed, which libseccomp has since 2.6, and PPC, whose order of bytes is another one."""
    listed = narrowed()["archs"]

    for name in known()["archs"]:
        profile = Seccomp("SCMP_ACT_ALLOW", architectures=(name,), rules=(SeccompRule(("mkdir",), "SCMP_ACT_ERRNO"),))
        if name in listed:
            assert libseccomp.compile_profile(profile)
        else:
            with pytest.raises(HostError, match=rf"^linux\.seccomp\.architectures\[0\]: .*{name}\b"):
                libseccomp.compile_profile(profile)
    assert {"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"} <= set(listed)


def test_actions_are_those_of_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux 4.8 had no others."""
    (tmp_path / "actions").write_text("kill_thread trap errno trace allow\n", encoding="ascii")
    monkeypatch.setattr(seccomp_support, "ACTIONS", str(tmp_path / "actions"))

    assert narrowed()["actions"] == [f"SCMP_ACT_{word}" for word in "KILL KILL_THREAD TRAP ERRNO TRACE ALLOW".split()]
    monkeypatch.setattr(seccomp_support, "ACTIONS", str(tmp_path / "none"))
    assert narrowed()["actions"] == known()["actions"]


def test_flags_are_asked_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without installing anything; WAIT_KILLABLE_RECV came with Linux 5.19, and is invalid without a listener."""
    asked = []

    def old_kernel(operation: int, flags: int, program: int) -> int:
        asked.append((operation, flags, program))
        raise OSError(errno.EINVAL if flags & 32 else errno.EFAULT, "")

    monkeypatch.setattr(libc, "seccomp", old_kernel)
    found = narrowed()

    assert asked == [(1, 1, 0), (1, 2, 0), (1, 4, 0), (1, 32 | 8, 0)]
    assert found["supportedFlags"] == [f"SECCOMP_FILTER_FLAG_{word}" for word in ("TSYNC", "LOG", "SPEC_ALLOW")]
    assert found["knownFlags"] == known()["knownFlags"]


def test_this_kernel_answers() -> None:
    """Linux 4.14 and later have the first three."""
    assert narrowed()["supportedFlags"][:2] == ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"]


def test_without_the_library_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libseccomp, "LIBRARY", "libnothing.so.9")

    assert narrowed() == {"enabled": False}
