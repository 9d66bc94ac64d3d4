"""The script for rc(8) with the real program: containers of rc.conf are started, told, ended, and started anew."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.container.harness import until
from tests.support.program import FREEBSD, TOP, Bundle, Runjail, own_words

pytestmark = pytest.mark.needs("containers", "program", "busybox")

# What rc.subr(8) does for such a script: read rc.conf, and perform NAME_cmd as a command.
SUBR = """
load_rc_config() { . "$RC_CONF"; }
run_rc_command() { eval "words=\\$${1}_cmd"; eval "$words"; }
"""
OBEDIENT = "echo up; trap 'exit 0' TERM; while :; do sleep 0.1; done"


class Service:
    """The script as it is installed, with a configuration of its own."""

    def __init__(self, runjail: Runjail, make_bundle: Callable[[str], Bundle], directory: Path) -> None:
        self.runjail, self.directory = runjail, directory
        self.script, self.conf = directory / "service", directory / "rc.conf"
        self.pids = directory / "pids"
        text = (TOP / ".ci/freebsd_rc").read_text(encoding="utf-8").replace("@PREFIX@", str(directory))
        if not FREEBSD:
            (directory / "rc.subr").write_text(SUBR)
            text = text.replace("/etc/rc.subr", str(directory / "rc.subr"))
        self.script.write_text(text.replace("load_rc_config runjail", f"load_rc_config runjail; . {self.conf}"))
        self.bundles = {name: make_bundle(name) for name in ("web", "db.1")}
        for bundle in self.bundles.values():
            bundle.write("/bin/sh", "-c", OBEDIENT)
        self.set()

    def set(self, more: str = "") -> None:
        """Write rc.conf: two containers, and more lines."""
        bundles = "".join(
            f'runjail_bundle_{name.replace(".", "_")}="{bundle.path}"\n' for name, bundle in self.bundles.items()
        )
        self.conf.write_text(
            f'runjail_enable="YES"\nrunjail_list="web db.1"\nrunjail_flags="--root {self.runjail.root}"\n'
            f'runjail_program="{self.runjail.program}"\nrunjail_pids="{self.pids}"\n'
            f'runjail_logs="{self.directory}"\n'
            f'runjail_restart_delay="1"\n{bundles}{more}'
        )

    def __call__(self, *words: str) -> "subprocess.CompletedProcess[str]":
        env = {**os.environ, "RC_CONF": str(self.conf)}
        return subprocess.run(
            ["/bin/sh", str(self.script), *words],
            env=env,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def status(self) -> list[str]:
        return self("status").stdout.splitlines()


@pytest.fixture
def service(runjail: Runjail, make_bundle: Callable[[str], Bundle], tmp_path: Path) -> Service:
    return Service(runjail, make_bundle, tmp_path)


def test_from_boot_to_shutdown(service: Service) -> None:
    """In the order of the list and back; status fails as long as one of them does not run."""
    assert (service("status").returncode, service.status()) == (1, ["web: gone", "db.1: gone"])
    started = service("start")

    assert (started.returncode, started.stderr) == (0, ""), started
    assert started.stdout == "Starting container web.\nStarting container db.1.\n"
    assert (service("status").returncode, service.status()) == (0, ["web: running", "db.1: running"])
    assert service("start").stdout == "runjail: web is running already\nrunjail: db.1 is running already\n"
    assert own_words((service.directory / "runjail-db.1.log").read_text()) == "up\n"
    stopped = service("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "Stopping container db.1.\nStopping container web.\n"), stopped
    assert service.runjail.ids() == []


def test_one_of_them_alone(service: Service) -> None:
    service("start", "db.1")

    assert service.runjail.ids() == ["db.1"]
    assert service("restart", "db.1").stdout == "Stopping container db.1.\nStarting container db.1.\n"
    assert service("stop").returncode == 0
    assert service.runjail.ids() == []


def test_one_that_does_not_obey(service: Service) -> None:
    """After the time-out it is killed."""
    service.bundles["web"].write("/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    service.set('runjail_stop_timeout="1"\n')
    service("start", "web")
    until(lambda: service.runjail.state("web")["status"] == "running")

    assert service("stop", "web").returncode == 0
    assert service.runjail.ids() == []


def test_one_that_cannot_start_keeps_no_other_away(service: Service) -> None:
    service.bundles["web"].write("/no/such/program")

    started = service("start")

    assert started.returncode == 1 and "/no/such/program" in started.stderr
    assert service.status() == ["web: gone", "db.1: running"]
    assert service("stop").returncode == 0


@pytest.mark.needs("daemon")
def test_one_that_is_started_anew(service: Service) -> None:
    """By daemon(8), until the service is stopped."""
    service.set('runjail_restart_web="YES"\n')
    service("start", "web")
    first = until(lambda: running(service))
    service.runjail.ok("kill", "web", "KILL")

    second = until(lambda: running(service, first))

    assert second != first
    assert service("stop", "web").returncode == 0
    assert service.runjail.ids() == [] and not list(service.pids.iterdir())


def running(service: Service, other: int = 0) -> int:
    """Return the pid of web's init once it runs and is not that other one; else 0."""
    state = service.runjail("state", "web")
    if state.returncode or '"running"' not in state.stdout:
        return 0
    pid = int(service.runjail.state("web")["pid"]) if service.runjail("state", "web").returncode == 0 else 0
    return pid if pid != other else 0
