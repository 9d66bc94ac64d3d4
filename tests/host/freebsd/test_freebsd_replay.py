"""The stand-ins for FreeBSD's tools say what the tools said."""

import os

import pytest

from runjail.host.programs import Result
from tests.support.host.fake_libc import FakeKernel
from tests.support.host.replay import FakePrograms, recorded

TOOLS = {"devfs": "/sbin/devfs", "ifconfig": "/sbin/ifconfig", "jail": "/usr/sbin/jail"}


@pytest.fixture
def programs() -> FakePrograms:
    fake = FakePrograms(FakeKernel())
    fake.interfaces |= {"epair0a": [], "epair0b": []}
    return fake


def answer(programs: FakePrograms, argv: list[str]) -> Result:
    return programs.run([TOOLS[argv[0]], *argv[1:]])


def entries(tool: str) -> list[tuple[list[str], Result]]:
    return [(argv, wanted) for argv, _, wanted in recorded() if argv[0] == tool]


def test_devfs_answers_as_recorded(programs: FakePrograms) -> None:
    """Rulesets 1 to 5 are longer on a real system, so only the shape of their listing is compared."""
    for argv, wanted in entries("devfs"):
        got = answer(programs, argv)
        if argv[-1] == "show" and argv[3] in "12345":
            assert (got.status, bool(got.stdout), got.stderr) == (wanted.status, bool(wanted.stdout), b"")
        else:
            assert (argv, got) == (argv, wanted)


def test_jail_answers_as_recorded(programs: FakePrograms) -> None:
    """Only the jid in `already exists` differs: more jails had been made there."""
    programs.kernel.jails = {1164: ("recj1", os.path.realpath("/rec/root"))}
    for argv, wanted in entries("jail"):
        got = answer(programs, argv)
        stderr = wanted.stderr.replace(b"1168", b"%d" % (max(programs.kernel.jails)))
        assert (argv, got) == (argv, wanted.replace(stderr=stderr))


def test_ifconfig_fails_as_recorded(programs: FakePrograms) -> None:
    programs.kernel.jails = {1167: ("recj2", "/rec/root")}
    for argv, wanted in entries("ifconfig"):
        if "vnet" in argv or "-vnet" in argv or argv[1:] == ["epair0b"]:
            assert (argv, answer(programs, argv)) == (argv, wanted)


def test_what_the_host_itself_ran_is_answered_as_recorded(programs: FakePrograms) -> None:
    """Every devfs and ifconfig command of the tests on a real kernel, in their order."""
    programs.kernel.jails = {196: ("rjtest", "/")}
    for argv, input, wanted in recorded("host-15.1"):
        if argv[1:] == ["epair0b", "-vnet", "196"] and wanted.status:
            programs.kernel.jails.clear()  # it had been removed by then
        if argv[1:] == ["nosuch0", "vnet", "196"]:
            programs.kernel.jails = {}
        got = programs.run(argv, input=input)
        if argv[0].endswith("ifconfig") and len(argv) == 3:
            assert (argv, addresses(got)) == (argv, addresses(wanted))
        else:
            assert (argv, got) == (argv, wanted)


def addresses(result: Result) -> tuple[int, list[list[str]], bytes]:
    """Reduce a listing to what the host reads of it: netmask spelling differs from what was asked for."""
    lines = [line.split() for line in result.stdout.decode().splitlines()]
    return result.status, [line[:2] for line in lines if line and line[0] in ("inet", "inet6")], result.stderr
