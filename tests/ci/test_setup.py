"""What set-up installs: only what is missing, one package at a time, and nothing keeps it from going on."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.program import TOP

TOOLS = ("dirname", "grep", "sh")  # of the system, which the script may use
DPKG = 'for last; do :; done; case " $HERE " in *" $last "*) echo installed;; *) exit 1;; esac'
APT_CACHE = 'case " $ABSENT " in *" $2 "*) echo "  Candidate: (none)";; *) echo "  Candidate: 1.0";; esac'
APT_GET = 'for last; do :; done; echo "apt-get $last" >>"$CALLS"; case " $BROKEN " in *" $last "*) exit 100;; esac'
PKG = 'for last; do :; done; echo "pkg $last" >>"$CALLS"; case " $BROKEN " in *" $last "*) exit 1;; esac'
DEMO = ["python3-venv", "busybox-static", "openssl"]


class Machine:
    """A system whose programs write down what they are asked for. Leave some out with `del machine.programs[NAME]`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.programs = {"dpkg-query": DPKG, "apt-cache": APT_CACHE, "apt-get": APT_GET, "id": "echo 0"}
        self.programs["uname"] = "echo Linux"
        self.facts = {"HERE": "", "ABSENT": "", "BROKEN": ""}

    def set_up(self, *words: str) -> str:
        """Run the script, which always ends well. Returns what it says."""
        bin = self.directory / "bin"
        bin.mkdir()
        for name in TOOLS:
            (bin / name).symlink_to(shutil.which(name) or "")
        for name, text in self.programs.items():
            (bin / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
            (bin / name).chmod(0o755)
        env = {"PATH": str(bin), "CALLS": str(self.directory / "calls"), **self.facts}
        command = [str(bin / "sh"), str(TOP / ".ci" / "setup"), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=200)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def calls(self) -> list[str]:
        """Return what was asked of apt-get or pkg: each program with its last argument."""
        path = self.directory / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Debian with nothing installed, whose mirror has everything."""
    return Machine(tmp_path)


def test_the_demo_takes_three_packages_one_after_the_other(machine: Machine) -> None:
    said = machine.set_up("demo")

    assert machine.calls() == [f"apt-get {name}" for name in DEMO]
    assert [line for line in said.splitlines() if "installing" in line] == [
        f"set-up: installing {name}" for name in DEMO
    ]


def test_a_second_time_asks_nobody(machine: Machine) -> None:
    machine.facts["HERE"] = " ".join(DEMO)

    assert machine.set_up("demo") == ""
    assert machine.calls() == []


def test_only_what_is_missing_is_installed(machine: Machine) -> None:
    machine.facts["HERE"] = "python3-venv openssl"

    machine.set_up("demo")

    assert machine.calls() == ["apt-get busybox-static"]


def test_one_that_the_release_lacks_keeps_none_of_the_others_away(machine: Machine) -> None:
    """The lists may be old: they are read once more before that is believed."""
    machine.facts["ABSENT"] = "busybox-static"

    said = machine.set_up("demo")

    assert machine.calls() == ["apt-get update", "apt-get python3-venv", "apt-get openssl"]
    assert "set-up: this release has no busybox-static: going on without" in said


def test_one_that_cannot_be_installed_neither(machine: Machine) -> None:
    machine.facts["BROKEN"] = "python3-venv"

    said = machine.set_up("demo")

    assert machine.calls() == [f"apt-get {name}" for name in DEMO]
    assert "set-up: apt-get could not install python3-venv: going on without" in said


def test_the_tests_take_more(machine: Machine) -> None:
    machine.set_up()

    assert {"apt-get podman", "apt-get skopeo", "apt-get python3-venv"} < set(machine.calls())


@pytest.mark.parametrize(
    ("without", "instead", "reason"),
    [
        ("id", "echo 1000", "not root, so these are not installed: python3-venv busybox-static openssl"),
        ("apt-get", "", "no apt-get, so these are not installed: python3-venv busybox-static openssl"),
        ("dpkg-query", "", "not Debian or Ubuntu: looking for Python 3.11, its venv and a static /bin/busybox"),
        ("uname", "echo Darwin", "neither FreeBSD nor Linux"),
    ],
    ids=["not root", "no apt-get", "another distribution", "another system"],
)
def test_where_nothing_can_be_installed(machine: Machine, without: str, instead: str, reason: str) -> None:
    """What it looked for is named."""
    del machine.programs[without]
    if instead:
        machine.programs[without] = instead

    assert f"set-up: {reason}" in machine.set_up("demo")
    assert machine.calls() == []


def test_freebsd_takes_packages_of_its_python(machine: Machine) -> None:
    """A module that is there is left alone; one that pkg(8) does not have keeps none away."""
    machine.facts["BROKEN"] = "py311-urllib3"
    machine.programs |= {"uname": "echo FreeBSD", "pkg": PKG}
    machine.programs["python"] = (
        'case "$2" in *print*) echo py311;; "import psutil"|*version_info*) exit 0;; *) exit 1;; esac'
    )
    machine.facts["PYTHON"] = str(machine.directory / "bin" / "python")

    said = machine.set_up("demo")

    assert machine.calls() == ["pkg -N", "pkg py311-urllib3", "pkg py311-cryptography"]
    assert "set-up: pkg could not install py311-urllib3: going on without" in said
