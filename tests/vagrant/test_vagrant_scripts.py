"""vagrant/test.sh and vagrant/qemu.sh with stubs of vagrant, ssh and QEMU: what they call, in which order."""

import os
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
LOG = '#!/bin/sh\necho "${0##*/} $*" >>"$LOG"\n'
VAGRANT = LOG + '[ "$1" != ssh-config ] || echo "Host $2"\n[ ! -e "$LOG.fail-$1" ]\n'
# The last argument is the command for the other side. What it would say there is in files.
SSH = (
    LOG
    + """\
for command; do :; done
case $command in
*"sysctl -n kern.racct.enable"*) cat "$LOG.racct" ;;
*"make test"*) exit "$(cat "$LOG.status")" ;;
*"cat junit.xml"*) cat "$LOG.junit" ;;
*"tar -C runjail"*) tar -tf - >"$LOG.sent" ;;
esac
"""
)


class Stubs:
    """Stub programs in front of PATH, and what they were called with."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.log = directory, directory / "log"
        self.programs = directory / "programs"
        self.programs.mkdir()
        self.checkout = directory / "checkout"
        (self.checkout / "vagrant").mkdir(parents=True)
        for name in ("test.sh", "qemu.sh"):
            (self.checkout / "vagrant" / name).write_bytes((TOP / "vagrant" / name).read_bytes())
        self.results = self.checkout / ".vagrant-results"
        self.say(racct="1", status="0", junit="<testsuites/>")

    def add(self, **programs: str) -> None:
        for name, text in programs.items():
            path = self.programs / name
            path.write_text(text)
            path.chmod(0o755)

    def say(self, **answers: str) -> None:
        for name, text in answers.items():
            Path(f"{self.log}.{name}").write_text(text)

    def run(self, script: str, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.programs}:{os.environ['PATH']}"
        return subprocess.run(
            ["/bin/sh", str(self.checkout / "vagrant" / script), *args],
            env={"PATH": path, "LOG": str(self.log), **env},
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def calls(self) -> list[str]:
        """Return the calls; the options that lead ssh to the machine are left out."""
        text = self.log.read_text() if self.log.exists() else ""
        lines = [line.split(" freebsd15 ", 1) if line.startswith("ssh ") else [line] for line in text.splitlines()]
        return [line[-1].removeprefix("cd runjail && ") for line in lines]


@pytest.fixture
def stubs(tmp_path: Path) -> Stubs:
    made = Stubs(tmp_path)
    made.add(vagrant=VAGRANT, ssh=SSH)
    return made


UP = ["vagrant up --no-provision freebsd15", "vagrant ssh-config freebsd15", "vagrant rsync freebsd15"]
PREPARE = ["sudo sh -c 'sh vagrant/provision.sh'", "sudo sh -c 'sysctl -n kern.racct.enable'"]
MAKE = "sudo sh -c 'rm -f junit.xml; make test PYTEST_ARGS=\"--junitxml=junit.xml \"'"
FETCH = "sudo sh -c 'cat junit.xml'"


def test_vagrant_order(stubs: Stubs) -> None:
    """Up, sync, provision, test, fetch; no reboot where accounting is on, and the machine stays."""
    run = stubs.run("test.sh")

    assert (run.returncode, run.stderr) == (0, "")
    assert stubs.calls() == [*UP, *PREPARE, MAKE, FETCH]
    assert (stubs.results / "freebsd15.xml").read_text() == "<testsuites/>"


def test_reboot_only_for_accounting(stubs: Stubs) -> None:
    """And provisioned again, because modules end with the kernel."""
    stubs.say(racct="0")

    stubs.run("test.sh")

    assert stubs.calls() == [*UP, *PREPARE, "vagrant reload --no-provision freebsd15", PREPARE[0], MAKE, FETCH]


def test_failed_tests_fail_and_leave_their_results(stubs: Stubs) -> None:
    stubs.say(status="2")

    run = stubs.run("test.sh", VAGRANT_DESTROY="1")

    assert run.returncode == 2
    assert (stubs.results / "freebsd15.xml").exists()
    assert stubs.calls()[-1] == "vagrant destroy --force freebsd15"


def test_no_results_is_a_failure(stubs: Stubs) -> None:
    """Even when make says that all is well; an older file does not stay for the new one."""
    stubs.results.mkdir()
    (stubs.results / "freebsd15.xml").write_text("old")
    stubs.add(ssh=SSH.replace('cat "$LOG.junit"', "exit 1"))

    run = stubs.run("test.sh")

    assert (run.returncode, run.stderr) == (1, "vagrant-test: make test wrote no results\n")
    assert list(stubs.results.iterdir()) == []


def test_a_machine_that_does_not_start_ends_it(stubs: Stubs) -> None:
    stubs.say(**{"fail-up": ""})

    run = stubs.run("test.sh")

    assert run.returncode != 0
    assert stubs.calls() == UP[:1]


def test_release_and_pytest_arguments(stubs: Stubs) -> None:
    stubs.run("test.sh", RUNJAIL_FREEBSD="14", PYTEST_ARGS="-m freebsd")

    log = stubs.log.read_text()
    assert "vagrant up --no-provision freebsd14\n" in log
    assert 'make test PYTEST_ARGS="--junitxml=junit.xml -m freebsd"' in log
    assert (stubs.results / "freebsd14.xml").exists()


def test_any_machine_through_ssh(stubs: Stubs) -> None:
    """The checkout is sent without what belongs to this machine; that one is never rebooted."""
    stubs.say(racct="0")
    for name in ("keep/file", ".git/config", ".venv/bin/python", "vagrant/.vagrant/id", "keep/__pycache__/x.pyc"):
        (stubs.checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (stubs.checkout / name).write_text("")

    run = stubs.run("test.sh", "-o", "Some Option=x y", "root@host")

    assert run.returncode == 0, run.stderr
    sent = Path(f"{stubs.log}.sent").read_text().splitlines()
    assert {"./keep/file", "./vagrant/test.sh"} <= set(sent)
    assert not [name for name in sent if any(part in name for part in (".git/", ".venv", ".vagrant", "__pycache__"))]
    calls = stubs.log.read_text().splitlines()
    assert all(call.startswith("ssh -o Some Option=x y root@host ") for call in calls)
    assert "not rebooted" in run.stdout
    assert (stubs.results / "ssh.xml").exists()


# qemu.sh --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def qemu(stubs: Stubs) -> Stubs:
    image = LOG + 'case $1 in info) echo "file format: raw" ;; create) : >"$9" ;; esac\n'
    stubs.add(**{"qemu-img": image, "qemu-system-x86_64": LOG})
    (stubs.directory / "freebsd.img").write_text("image")
    return stubs


def test_boots_a_copy_on_write(qemu: Stubs) -> None:
    """The image stays as it was; the second boot goes on with the changes of the first."""
    image = qemu.directory / "freebsd.img"

    first = qemu.run("qemu.sh", str(image), RUNJAIL_SSH_PORT="2299")
    qemu.run("qemu.sh", str(image))

    assert (first.returncode, first.stderr) == (0, "")
    made = [call for call in qemu.calls() if call.startswith("qemu-img create")]
    assert made == [f"qemu-img create -q -f qcow2 -b freebsd.img -F raw {image}.runjail 20G"]
    booted = [call for call in qemu.calls() if call.startswith("qemu-system-x86_64 ")]
    assert len(booted) == 2
    assert f"file={image}.runjail" in booted[0]
    assert "hostfwd=tcp:127.0.0.1:2299-:22" in booted[0]
    assert "hostfwd=tcp:127.0.0.1:2222-:22" in booted[1]
    assert image.read_text() == "image"


def test_seed_is_a_read_only_disc(qemu: Stubs) -> None:
    seed = qemu.directory / "seed.iso"
    seed.write_text("")

    qemu.run("qemu.sh", str(qemu.directory / "freebsd.img"), str(seed), RUNJAIL_HEADLESS="1")

    booted = qemu.calls()[-1]
    assert f"-drive media=cdrom,readonly=on,format=raw,file={seed}" in booted
    assert booted.endswith("-display none")


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ((), 2, "usage: qemu.sh IMAGE [SEED]"),
        (("a", "b", "c"), 2, "usage: qemu.sh IMAGE [SEED]"),
        (("/nonexistent.img",), 1, "qemu: /nonexistent.img: no such file, or not readable"),
        (("FreeBSD.qcow2.xz",), 1, "qemu: FreeBSD.qcow2.xz is compressed: unpack it first"),
    ],
)
def test_wrong_images_are_named(qemu: Stubs, args: tuple[str, ...], code: int, said: str) -> None:
    run = qemu.run("qemu.sh", *args)

    assert (run.returncode, run.stdout, run.stderr) == (code, "", said + "\n")
    assert qemu.calls() == []


def test_the_example_for_runners_of_ones_own_prepares_tests_and_keeps_the_results(stubs: Stubs) -> None:
    """Its lines are typed here, the second job's through ssh; both leave the file that they say they do."""
    yaml = pytest.importorskip("yaml")
    example = yaml.safe_load((TOP / "vagrant" / "gitlab-ci.example.yml").read_text(encoding="utf-8"))
    stubs.add(sudo=LOG, chmod=LOG)
    for job in example.values():
        done = subprocess.run(
            ["/bin/sh", "-ec", "\n".join(job["script"])],
            env={
                "PATH": f"{stubs.programs}:{os.environ['PATH']}",
                "LOG": str(stubs.log),
                "FREEBSD_KEY": "key",
                "FREEBSD_HOST": "machine",
            },
            cwd=stubs.checkout,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, ""), job
    results = [job["artifacts"]["reports"]["junit"] for job in example.values()]

    called = stubs.log.read_text().splitlines()
    assert called[:2] == ["sudo sh vagrant/provision.sh", "sudo make test PYTEST_ARGS=--junitxml=junit.xml"]
    assert [line for line in called[2:] if "ssh -i key root@machine cd runjail && " in line]
    assert results == ["junit.xml", ".vagrant-results/ssh.xml"]
    assert (stubs.checkout / results[1]).read_text() == "<testsuites/>"
