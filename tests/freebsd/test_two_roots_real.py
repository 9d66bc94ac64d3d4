"""One id below two state roots: two jails, each with limits, devices and mounts of its own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.container.harness import Life
from tests.support.freebsd.real import tool
from tests.support.program import Bundle, Runjail

pytestmark = pytest.mark.freebsd
SCRIPT = "read name </name; echo $name; ls /dev/full; touch /tmp/x"
LIMIT = {"first": 50, "second": 60}


class Root(Life):
    """One state root with a container `c`, whose processes, devices and mounts tell it from the other one."""

    def __init__(self, runjail: Runjail, bundle: Bundle, name: str) -> None:
        super().__init__(runjail, bundle)
        self.limit = LIMIT[name]
        (bundle.rootfs / "name").write_text(name)
        bundle.config["linux"] = {"resources": {"pids": {"limit": self.limit}}}
        bundle.config["freebsd"] = {"devices": [{"path": "full"}]}
        bundle.config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})

    @property
    def jail(self) -> str:
        """The name of its jail, "" when it has none."""
        rows = [line.split(maxsplit=1) for line in tool("jls", "name", "path").splitlines()]
        return next((name for name, path in rows if Path(path) == self.bundle.rootfs.resolve()), "")

    def limits(self) -> list[str]:
        """The rules of its jail's name."""
        return tool("rctl", f"jail:{self.jail}").splitlines()

    def whole(self) -> bool:
        """Whether it runs, with everything that it was given."""
        shown = self.runjail.ok("exec", "c", "/bin/sh", "-c", SCRIPT)
        name = (self.bundle.rootfs / "name").read_text()
        assert shown.stdout == f"{name}\n/dev/full\n", shown
        assert self.limits() == [f"jail:{self.jail}:maxproc:deny={self.limit}"]
        return self.state()["status"] == "running"

    def state(self) -> dict[str, Any]:
        return self.runjail.state("c")


@pytest.fixture
def roots(runjail: Runjail, make_bundle: Any, tmp_path: Path) -> Iterator[tuple[Root, Root]]:
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    second = Root(Runjail(directory), make_bundle("second"), "second")
    yield Root(runjail, make_bundle("first"), "first"), second
    second.runjail("delete", "--force", "c")


def rulesets() -> list[str]:
    """The private rulesets of this machine."""
    return [number for number in tool("devfs", "rule", "showsets").split() if int(number) >= 1000]


@pytest.mark.parametrize("gone", [0, 1])
def test_two_containers_of_one_id(roots: tuple[Root, Root], gone: int) -> None:
    """Whichever is deleted, the other one stays whole."""
    before = rulesets()
    for root in roots:
        root.start("/bin/sleep", "600")
    left, other = roots[1 - gone], roots[gone]
    names = [root.jail for root in roots]

    assert names[0] == "c" and names[1].startswith("c~"), names
    assert left.whole() and other.whole()
    assert len(rulesets()) == len(before) + 2
    other.runjail.ok("kill", "c", "KILL")
    other.runjail.wait("c")
    assert left.whole()
    other.runjail.ok("delete", "c")
    assert left.whole()
    assert tool("rctl", f"jail:{names[gone]}") == "" and len(rulesets()) == len(before) + 1
    left.runjail.ok("delete", "--force", "c")
    assert [tool("rctl", f"jail:{name}") for name in names] == ["", ""] and rulesets() == before
    for root in roots:
        root.gone()


def test_the_same_again_finds_the_name_free(roots: tuple[Root, Root]) -> None:
    """The first one gone, the next container of the second root is called by its id."""
    first, second = roots
    first.sleep()
    second.sleep()
    first.runjail.ok("delete", "--force", "c")
    second.runjail.ok("delete", "--force", "c")
    second.sleep()
    first.sleep()

    assert second.jail == "c" and first.jail.startswith("c~")
    assert first.whole() and second.whole()


def test_limits_usage_and_processes_are_told_apart(roots: tuple[Root, Root]) -> None:
    for root in roots:
        root.sleep()
    first, second = roots
    second.runjail.ok("update", "--pids-limit", "33", "c")
    stats = [json.loads(root.runjail.ok("events", "--stats", "c").stdout)["data"]["pids"]["limit"] for root in roots]
    pids = [json.loads(root.runjail.ok("ps", "-f", "json", "c").stdout) for root in roots]

    assert stats == [LIMIT["first"], 33]
    assert [[root.state()["pid"]] for root in roots] == pids
    second.runjail.ok("pause", "c")
    assert [root.state()["status"] for root in roots] == ["running", "paused"]
    assert first.whole()
    second.runjail.ok("resume", "c")
    first.runjail.ok("kill", "-a", "c", "KILL")
    first.runjail.wait("c")
    assert second.state()["status"] == "running"
