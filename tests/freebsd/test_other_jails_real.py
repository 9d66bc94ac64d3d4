"""Jails of jail.conf(5) beside the containers of a real FreeBSD."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.container.harness import Life, until
from tests.support.freebsd.real import tool

pytestmark = pytest.mark.freebsd
ID = f"rjlife{os.getpid()}"  # whose jail has this name, whatever else this machine runs


def names() -> list[str]:
    """Every jail of this machine, those that die included."""
    return tool("jls", "-d", "name").split()


class Neighbour:
    """A jail of a jail.conf(5) that rc(8) starts and stops by `jail_list`, as people without an engine have them."""

    def __init__(self, directory: Path) -> None:
        self.name = f"rjneighbour{os.getpid()}"
        conf, settings, self.script = directory / "jail.conf", directory / "rc.conf", directory / "jail"
        conf.write_text(f'{self.name} {{ path = "/"; persist; ip4 = inherit; exec.start = ""; exec.stop = ""; }}\n')
        settings.write_text(f'jail_conf="{conf}"\njail_list="{self.name}"\njail_parallel_start="NO"\n')
        text = Path("/etc/rc.d/jail").read_text(encoding="utf-8")
        self.script.write_text(text.replace("load_rc_config $name\n", f"load_rc_config $name\n. {settings}\n"))

    def __call__(self, word: str) -> str:
        return tool("/bin/sh", str(self.script), word)


@pytest.fixture
def neighbour(tmp_path: Path) -> Iterator[Neighbour]:
    made = Neighbour(tmp_path)
    made("onestart")
    yield made
    subprocess.run(["jail", "-R", made.name], capture_output=True, check=False)


def test_the_service_jail_ends_its_own_only(life: Life, neighbour: Neighbour) -> None:
    life.start("/bin/sleep", "600", id=ID)
    assert neighbour.name in names()

    neighbour("onestop")

    assert neighbour.name not in names()
    assert life.runjail.state(ID)["status"] == "running"


def test_a_jail_of_somebody_else_is_no_container(life: Life, neighbour: Neighbour) -> None:
    """No verb lists, signals or removes it, and a container that is called so is another jail."""
    jid = tool("jls", "-j", neighbour.name, "jid")
    for verb in (["state"], ["kill"], ["delete"], ["exec"]):
        words = [*verb, neighbour.name, *(["true"] if verb == ["exec"] else [])]
        assert "does not exist" in life.runjail(*words).stderr
    assert life.runjail.ids() == []

    life.start("/bin/sleep", "600", id=neighbour.name)
    assert [name for name in names() if name.startswith(f"{neighbour.name}~")]
    life.runjail.ok("kill", neighbour.name, "KILL")
    life.runjail.wait(neighbour.name)
    life.runjail.ok("delete", neighbour.name)

    assert tool("jls", "-j", neighbour.name, "jid") == jid
    until(lambda: not [name for name in names() if name.startswith(f"{neighbour.name}~")])
