"""Rights on Linux: `check` tries each of them, and what create is refused says by which call and what it would take."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from runjail.host.linux import rights
from tests.support.program import LINUX, Bundle, Runjail

if not LINUX:
    pytest.skip("needs Linux", allow_module_level=True)
pytestmark = pytest.mark.needs("linux")
WITHOUT_ADMIN = ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")
ADMIN = (
    "it takes CAP_SYS_ADMIN, which this root does not have: in a container it takes docker run --privileged or the like"
)


class Without(Runjail):
    """The program as root without CAP_SYS_ADMIN, as in an ordinary container."""

    def __call__(self, *args: str, **more: Any) -> Any:
        own, self.program = self.program, str(self.wrapper())
        try:
            return super().__call__(*args, **more)
        finally:
            self.program = own

    def wrapper(self) -> Path:
        path = self.directory / "without"
        path.write_text(f'#!/bin/sh\nexec {" ".join(WITHOUT_ADMIN)} "{self.program}" "$@"\n', encoding="utf-8")
        path.chmod(0o755)
        return path


@pytest.fixture
def without(runjail: Runjail) -> Without:
    return Without(runjail.directory)


def rows(result: Any) -> dict[str, dict[str, Any]]:
    return {row["what"]: row for row in json.loads(result.stdout)}


@pytest.mark.needs("containers", "cgroups")
def test_check_succeeds_where_containers_run(runjail: Runjail) -> None:
    """Linux is not the product, which is no fault of the machine."""
    result = runjail("check", "-f", "json")
    found = rows(result)

    assert result.returncode == 0, result
    assert all(found[what]["works"] for what in ("root", "namespaces", "mounts", "devices"))
    assert {"user namespaces", "seccomp", "security modules", "ZFS", "product", "module click"} <= set(found)


@pytest.mark.needs("root", "setpriv", "program")
def test_check_names_the_missing_capability(without: Without) -> None:
    """Namespaces are tried, not looked up in /proc, which shows them to everybody."""
    result = without("check", "-f", "json")
    found = rows(result)

    assert result.returncode == 1
    assert (found["namespaces"]["works"], found["namespaces"]["found"]) == (False, "unshare(2): not allowed")
    assert {found[what]["remedy"] for what in ("namespaces", "mounts", "devices")} == {ADMIN}


@pytest.mark.needs("setpriv")
def test_create_names_the_call_and_the_capability(runjail: Runjail, without: Without, bundle: Bundle) -> None:
    """And the state directory is empty again."""
    bundle.config["linux"].pop("cgroupsPath")
    result = without("create", "-b", bundle.write("/bin/true"), "c")

    assert result.returncode == 1
    assert "runjail: making a pid namespace: unshare(2): not allowed\n" in result.stderr
    assert f"hint: {ADMIN}\n" in result.stderr
    assert os.listdir(runjail.root) == []


def test_nobody_is_told_to_become_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    error = rights.refused("making the root a mount", "mount(2)", OSError(errno.EPERM, ""))

    assert str(error) == "making the root a mount: mount(2): not allowed"
    remedies = (
        "run it as root, or with a user namespace in config.json; in a container it takes docker run --privileged"
    )
    assert error.hint == f"it takes CAP_SYS_ADMIN: {remedies} or the like"


@pytest.mark.needs("containers")
def test_a_refusal_in_spite_of_the_capability_is_a_filters() -> None:
    """AppArmor and seccomp refuse root, too: docker's defaults do."""
    hint = rights.hint(OSError(errno.EPERM, "")) or ""

    assert hint.startswith("CAP_SYS_ADMIN is there, so a seccomp filter or a security module refuses it")


@pytest.mark.needs("linux")
@pytest.mark.parametrize("user", [0, 1000])
def test_user_namespaces_are_what_others_than_root_need(monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    """A remedy makes `check` fail: root is only informed."""
    from runjail.host.linux import check  # whose libc only Linux has

    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(check, "attempt", lambda *_: OSError(errno.EPERM, ""))
    _, works, found, remedy = check._user_namespaces()

    assert not works and found.startswith("unshare(2): not allowed")
    assert ("sysctl user.max_user_namespaces" in remedy) == bool(user)


def test_a_used_up_limit_is_no_missing_right() -> None:
    assert "user.max_" in (rights.hint(OSError(errno.ENOSPC, "")) or "")
    assert rights.hint(OSError(errno.EINVAL, "")) is None


def test_what_is_tried_has_no_effect_here() -> None:
    """Each try is another process; its error is the child's."""
    from runjail.host.linux import check  # whose libc only Linux has

    before = os.getcwd()

    def refuse() -> None:
        raise OSError(errno.ENOSPC, "")

    found = check.attempt(refuse)

    assert found is not None and found.errno == errno.ENOSPC
    assert check.attempt(os.chdir, "/") is None
    assert os.getcwd() == before
