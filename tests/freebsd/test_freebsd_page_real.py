"""The sessions of docs/freebsd.md, typed as they stand there, on a machine that they change and that is put back."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli.sessions import commands, session, shown
from tests.support.freebsd.real import tool
from tests.support.machine_root import add_program
from tests.support.program import Bundle, Runjail
from tests.support.storage.zpool import dataset, zpool

__all__ = ("dataset", "zpool")
pytestmark = pytest.mark.freebsd

PAGE = "docs/freebsd.md"


class Desk:
    """Where somebody who follows the page sits: `bundle`, `runjail` in PATH, and words of the page exchanged."""

    def __init__(self, runjail: Runjail, bundle: Bundle) -> None:
        self.bundle, self.runjail = bundle, runjail
        self.exchanged: dict[str, str] = {}
        programs = bundle.path.parent / "programs"
        programs.mkdir()
        (programs / "runjail").symlink_to(runjail.program)
        self.env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "RUNJAIL_ROOT": str(runjail.root)}

    def type(self, block: str) -> str:
        """Type what a session of the page shows; all of it has to succeed. Returns what was printed."""
        script = "set -e\n" + "\n".join(commands(block))
        for old, new in self.exchanged.items():
            script = script.replace(old, new)
        screen = self.bundle.path.parent / "screen"  # a file: a container keeps what it is given at `create`
        with open(screen, "wb") as file:
            done = subprocess.run(
                ["/bin/sh", "-c", script],
                env=self.env,
                cwd=self.bundle.path.parent,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        assert done.returncode == 0, screen.read_text()
        return screen.read_text()


@pytest.fixture
def desk(runjail: Runjail, bundle: Bundle) -> Desk:
    return Desk(runjail, bundle)


def test_which_jail_is_which_container(desk: Desk) -> None:
    block = session(PAGE, "jls -j web meta")
    desk.exchanged["web"] = "page-web"
    desk.runjail.ok("create", "-b", desk.bundle.write(), "page-web")

    said = desk.type(block).splitlines()

    expected = [line.replace("web", "page-web") for line in shown(block) if "bundle" not in line]
    assert [line for line in said if "bundle" not in line and not line.startswith("/")] == expected
    assert f"org.runjail.bundle={desk.bundle.path}" in said
    assert said[-1] == str(desk.bundle.path)


@pytest.fixture
def bridge() -> Iterator[None]:
    """The names of the page, which have to be free, and nothing of them afterwards."""
    taken = {"bridge0", "epair0a"} & set(tool("ifconfig", "-l").split())
    if taken:
        pytest.skip(f"needs these names of interfaces to be free: {sorted(taken)}")
    yield
    for name in ("epair0a", "bridge0"):
        subprocess.run(["ifconfig", name, "destroy"], capture_output=True, check=False)


def test_a_network_stack_of_its_own(desk: Desk, bridge: None) -> None:
    """From here the container answers, and what its end is called is gone with the other one."""
    desk.bundle.config["freebsd"] = {"jail": {"vnet": "new", "vnetInterfaces": ["epair0b"]}}
    desk.bundle.write()
    desk.exchanged["web"] = "page-web"

    desk.type(session(PAGE, "ifconfig bridge0 create"))

    assert desk.runjail.state("page-web")["status"] == "running"
    tool("ping", "-c", "1", "-t", "5", "10.77.0.2")
    desk.runjail.ok("delete", "--force", "page-web")
    tool("ifconfig", "epair0a", "destroy")
    assert "epair0b" not in tool("ifconfig", "-l").split()


def test_a_dataset_that_the_container_manages(desk: Desk, dataset: str) -> None:
    """It mounts and snapshots what it was given, and the host has it back afterwards."""
    for program in ("/sbin/zfs", "/sbin/mount"):
        add_program(str(desk.bundle.rootfs), program)
    (desk.bundle.rootfs / "data").mkdir()
    desk.bundle.config["annotations"] = {"org.runjail.zfs.dataset": f"{dataset}/web"}
    desk.bundle.write("/bin/sleep", "600")
    block = session(PAGE, "zfs create -o jailed=on")
    desk.exchanged |= {"tank/web": f"{dataset}/WEB", "bundle web": "bundle page-web", "exec web": "exec page-web"}
    desk.exchanged["WEB"] = "web"

    desk.type(block)

    assert desk.runjail.ok("exec", "page-web", "/bin/zfs", "snapshot", f"{dataset}/web@a").stderr == ""
    desk.runjail.ok("delete", "--force", "page-web")
    assert tool("zfs", "list", "-H", "-t", "snapshot", "-o", "name", "-r", f"{dataset}/web") == f"{dataset}/web@a\n"
    assert tool("zfs", "get", "-H", "-o", "value", "mounted", f"{dataset}/web") == "no\n"


def test_linux_programs_are_switched_on(desk: Desk, tmp_path: Path) -> None:
    """The page's line, with rc.conf(5) put back: afterwards the kernel takes programs without a brand."""
    kept = tmp_path / "rc.conf"
    shutil.copy2("/etc/rc.conf", kept)
    try:
        desk.type(session(PAGE, "sysrc linux_enable=YES"))
    finally:
        shutil.copy2(kept, "/etc/rc.conf")
    assert tool("sysctl", "-n", "kern.elf64.fallback_brand") == "3\n"
    assert subprocess.run(["kldstat", "-q", "-m", "linux64elf"], check=False).returncode == 0
