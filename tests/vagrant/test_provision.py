"""vagrant/provision.sh on a machine of stubs: it changes what is missing, once, and says so."""

from pathlib import Path

import pytest

from tests.support.vagrant.fake_machine import FakeMachine, is_question

PACKAGES = ("click", "jsonschema", "psutil", "cryptography", "urllib3", "pytest", "hypothesis")


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def test_first_run_makes_everything(machine: FakeMachine) -> None:
    """Every change is named on a line of its own, and that the machine has to be rebooted."""
    run = machine.provision()

    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    assert lines == [
        "provision: changed: package python3",
        *[f"provision: changed: package py311-{name}" for name in PACKAGES],
        "provision: changed: kern.racct.enable=1 in loader.conf",
        'provision: changed: kld_list="nullfs" in rc.conf',
        "provision: changed: module nullfs",
        'provision: changed: kld_list="nullfs tmpfs" in rc.conf',
        "provision: changed: module tmpfs",
        'provision: changed: kld_list="nullfs tmpfs fdescfs" in rc.conf',
        "provision: changed: module fdescfs",
        'provision: changed: kld_list="nullfs tmpfs fdescfs procfs" in rc.conf',
        "provision: changed: module procfs",
        'provision: changed: kld_list="nullfs tmpfs fdescfs procfs if_epair" in rc.conf',
        "provision: changed: module if_epair",
        'provision: changed: kld_list="nullfs tmpfs fdescfs procfs if_epair if_bridge" in rc.conf',
        "provision: changed: module if_bridge",
        'provision: changed: linux_enable="YES" in rc.conf',
        "provision: changed: service linux started",
        "provision: changed: module zfs",
        'provision: changed: zfs_enable="YES" in rc.conf',
        "provision: changed: pool tank in /var/db/tank.zpool of 8G",
        "provision: reboot needed: limits need resource accounting, which is switched on at boot",
    ]
    assert machine.loader_conf.read_text() == "kern.racct.enable=1\n"


def test_second_run_changes_nothing(machine: FakeMachine) -> None:
    """Not a byte of the machine differs, and no program is called that could change one."""
    machine.provision()
    machine.calls()
    before = machine.files()

    run = machine.provision()

    assert run.returncode == 0
    assert run.stdout.splitlines()[0] == "provision: nothing to change"
    assert machine.files() == before
    assert [call for call in machine.calls() if not is_question(call)] == []


def test_after_the_reboot_only_what_ended_with_the_kernel_comes_back(machine: FakeMachine) -> None:
    """Modules in kld_list are loaded by the system; whatever is not there is loaded again, without new settings."""
    machine.provision()
    machine.set("racct", "1")
    (machine.state / "modules" / "nullfs").unlink()
    machine.calls()

    run = machine.provision()

    assert run.stdout == "provision: changed: module nullfs\n"
    assert [call for call in machine.calls() if not is_question(call)] == ["kldload nullfs"]


def test_nothing_but_pkg_may_use_the_network(machine: FakeMachine) -> None:
    """Neither downloads nor disks nor a shutdown: those programs are never called."""
    machine.provision()

    called = {call.split(" ", 1)[0] for call in machine.calls()}
    assert not called & {"fetch", "curl", "wget", "mdconfig", "shutdown", "reboot", "mount", "zfs"}
    assert {"pkg", "kldload", "zpool", "sysrc"} <= called


def test_settings_of_the_administrator_stay(machine: FakeMachine) -> None:
    """Other modules stay in kld_list, other lines in loader.conf, other spellings of yes in rc.conf."""
    machine.set("rc/kld_list", "if_tap")
    machine.set("rc/zfs_enable", "yes")
    machine.loader_conf.write_text('beastie_disable="YES"\n')

    machine.provision(RUNJAIL_LINUX="NO")

    assert (machine.state / "rc/kld_list").read_text().split()[:2] == ["if_tap", "nullfs"]
    assert (machine.state / "rc/zfs_enable").read_text() == "yes\n"
    assert machine.loader_conf.read_text() == 'beastie_disable="YES"\nkern.racct.enable=1\n'
    assert not (machine.state / "rc/linux_enable").exists()
    assert not (machine.state / "modules/linux64elf").exists()


@pytest.mark.parametrize("line", ["kern.racct.enable=1", 'kern.racct.enable="1"', "  kern.racct.enable=1 # limits"])
def test_accounting_that_waits_for_the_reboot_is_not_asked_for_twice(machine: FakeMachine, line: str) -> None:
    machine.loader_conf.write_text(line + "\n")

    run = machine.provision()

    assert machine.loader_conf.read_text() == line + "\n"
    assert "provision: reboot needed: " in run.stdout


def test_accounting_that_is_on_needs_nothing(machine: FakeMachine) -> None:
    machine.set("racct", "1")

    run = machine.provision()

    assert not machine.loader_conf.exists()
    assert "reboot" not in run.stdout


def test_a_kernel_without_accounting_is_no_failure(machine: FakeMachine) -> None:
    (machine.state / "racct").unlink()

    run = machine.provision()

    assert run.returncode == 0
    assert "provision: this kernel has no resource accounting (option RACCT): limits cannot be enforced" in run.stdout


def test_empty_rulesets_are_loaded(machine: FakeMachine) -> None:
    """An empty ruleset shows every device, so this is repaired even where rc.conf says not to load them."""
    (machine.state / "rulesets").unlink()
    machine.set("rc/devfs_load_rulesets", "NO")

    run = machine.provision()

    assert 'provision: changed: devfs_load_rulesets="YES" in rc.conf' in run.stdout
    assert "provision: changed: devfs rulesets" in run.stdout


def test_an_existing_pool_file_is_imported_not_overwritten(machine: FakeMachine) -> None:
    machine.pool_file.write_text("data")

    run = machine.provision()

    assert "provision: changed: pool tank imported from /var/db/tank.zpool" in run.stdout
    assert machine.pool_file.read_text() == "data"


def test_no_pool_on_request(machine: FakeMachine) -> None:
    machine.provision(RUNJAIL_POOL="")

    assert not machine.pool_file.exists()
    assert not any(call.startswith("zpool") for call in machine.calls())


@pytest.mark.parametrize(
    ("fact", "text", "said"),
    [
        ("system", "Linux", "this is Linux, not FreeBSD"),
        ("uid", "1001", "run this as root"),
        ("release", "14.1-RELEASE-p3", "FreeBSD 14.1-RELEASE-p3 is too old: 14.2 or later is needed"),
        ("release", "13.5-RELEASE", "FreeBSD 13.5-RELEASE is too old: 14.2 or later is needed"),
        ("release", "9.3-RELEASE", "FreeBSD 9.3-RELEASE is too old: 14.2 or later is needed"),
    ],
)
def test_a_wrong_machine_is_left_alone(machine: FakeMachine, fact: str, text: str, said: str) -> None:
    machine.set(fact, text)

    run = machine.provision()

    assert (run.returncode, run.stdout, run.stderr) == (1, "", f"provision: {said}\n")
    assert [call for call in machine.calls() if not is_question(call)] == []


@pytest.mark.parametrize(
    "release", ["14.2-RELEASE", "14.10-RELEASE-p1", "15.0-RELEASE", "15.1-RELEASE-p4", "16.0-CURRENT"]
)
def test_releases_that_do(machine: FakeMachine, release: str) -> None:
    machine.set("release", release)

    assert machine.provision().returncode == 0


@pytest.mark.parametrize(
    ("program", "text", "said"),
    [
        ("pkg", "pkg: no repositories", "package python3: pkg: no repositories"),
        ("kldload", "kldload: no such file", "module nullfs: kldload: no such file"),
        ("sysrc", "sysrc: permission denied", 'kld_list="nullfs" in rc.conf: sysrc: permission denied'),
        ("service", "linux does not exist", "service linux started: linux does not exist"),
        ("zpool", "cannot create 'tank': busy", "pool tank in /var/db/tank.zpool of 8G: cannot create 'tank': busy"),
        ("truncate", "truncate: no space", "pool tank in /var/db/tank.zpool of 8G: truncate: no space"),
    ],
)
def test_each_failure_is_one_line(machine: FakeMachine, program: str, text: str, said: str) -> None:
    """The last line that the program said stands behind what we were doing, and the next run goes on from there."""
    machine.set(f"fail-{program}", f"a warning before\n{text}\n")

    run = machine.provision()

    assert (run.returncode, run.stderr) == (1, f"provision: {said}\n")
    assert not machine.pool_file.exists()
    (machine.state / f"fail-{program}").unlink()
    again = machine.provision()
    assert (again.returncode, again.stderr) == (0, "")


def test_an_old_python_is_named(machine: FakeMachine) -> None:
    machine.set("old-python")

    run = machine.provision()

    assert run.returncode == 1
    assert run.stderr.endswith("/python3 is Python 3.9.1: 3.11 or newer is needed\n")
    assert run.stderr.count("\n") == 1


def test_rulesets_that_do_not_load_are_named(machine: FakeMachine) -> None:
    """A restart that succeeds and loads nothing must not pass for success."""
    (machine.state / "rulesets").unlink()
    (machine.programs / "service").write_text("#!/bin/sh\nexit 0\n")

    run = machine.provision(RUNJAIL_LINUX="NO")

    assert (run.returncode, run.stderr) == (
        1,
        "provision: devfs ruleset 4 is still empty after: service devfs restart\n",
    )
