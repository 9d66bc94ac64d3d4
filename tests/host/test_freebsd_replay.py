"""The stand-ins for FreeBSD's tools say what the tools said."""

import os

import pytest

from runjail.host.programs import Result
from tests.host.fake_libc import FakeKernel
from tests.host.replay import FakePrograms, recorded

TOOLS = {"devfs": "/sbin/devfs", "ifconfig": "/sbin/ifconfig", "jail": "/usr/sbin/jail"}


@pytest.fixture
def programs() -> FakePrograms:
    fake = FakePrograms(FakeKernel())
    fake.interfaces |= {"epair0a": [], "epair0b": []}
    return fake


def answer(programs: FakePrograms, argv: list[str]) -> Result:
    return programs.run([TOOLS[argv[0]], *argv[1:]])


def test_devfs_answers_as_recorded(programs: FakePrograms) -> None:
    """Rulesets 1 to 5 are longer on a real system, so only the shape of their listing is compared."""
    for argv, wanted in recorded():
        if argv[0] == "devfs":
            got = answer(programs, argv)
            if argv[-1] == "show" and argv[3] in "12345":
                assert (got.status, bool(got.stdout), got.stderr) == (wanted.status, bool(wanted.stdout), b"")
            else:
                assert (argv, got) == (argv, wanted)


def test_jail_answers_as_recorded(programs: FakePrograms) -> None:
    kernel = programs.kernel
    kernel.jails = {1164: ("recj1", os.path.realpath("/rec/root"))}
    for argv, wanted in recorded():
        if argv[0] == "jail":
            got = answer(programs, argv)
            stderr = (
                wanted.stderr.replace(b"1168", b"%d" % max(kernel.jails)) if b"already" in got.stderr else wanted.stderr
            )
            assert (argv, got.status, got.stdout) == (argv, wanted.status, wanted.stdout)
            assert got.stderr == stderr or (b"already exists" in got.stderr and b"already exists" in stderr)


def test_ifconfig_fails_as_recorded(programs: FakePrograms) -> None:
    programs.kernel.jails = {1167: ("recj2", "/rec/root")}
    for argv, wanted in recorded():
        if argv[0] == "ifconfig" and ("vnet" in argv or "-vnet" in argv or argv[1:] == ["epair0b"]):
            assert (argv, answer(programs, argv)) == (argv, wanted)


def test_ifconfig_lists_addresses_as_recorded(programs: FakePrograms) -> None:
    """The parser of aliases looks at lines that start with the family and the address."""
    (listing,) = {
        wanted.stdout for argv, wanted in recorded() if argv == ["ifconfig", "lo0"] and b".10 " not in wanted.stdout
    }
    lines = [line.strip() for line in listing.decode().splitlines() if line.strip().startswith("inet")]

    assert lines == programs.interfaces["lo0"]
