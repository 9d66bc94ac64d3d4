"""Examples that a machine of either kind can run are run on it, as they are."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.bundles.write_plans import EXAMPLES

HERE = [pytest.param(marks=pytest.mark.linux, id="linux"), pytest.param(marks=pytest.mark.freebsd, id="freebsd")]


@pytest.fixture
def place(tmp_path: Path, machine_rootfs: Path) -> Callable[[str], Path]:
    def copy(name: str) -> Path:
        bundle = tmp_path / name
        shutil.copytree(EXAMPLES / name, bundle)
        shutil.copytree(machine_rootfs, bundle / "rootfs", symlinks=True)
        return bundle

    return copy


def eventually(holds: Callable[[], bool]) -> None:
    """Wait for what a container does by itself once it runs."""
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize((), HERE)
def test_hello_says_hello_and_sleeps(runjail: Any, place: Callable[[str], Path]) -> None:
    bundle = place("hello")
    before = sorted(path.name for path in (bundle / "rootfs").iterdir())
    started = runjail.ok("run", "-d", "-b", str(bundle), "hello")

    assert runjail.state("hello")["status"] == "running"
    inside = runjail.ok("exec", "hello", "/bin/sh", "-c", "echo >/dev/null && echo x >/tmp/x && cat /tmp/x").stdout
    assert inside == "x\n"
    eventually(lambda: started.stdout == "hello from a jail\n")
    runjail.ok("delete", "-f", "hello")
    assert sorted(path.name for path in (bundle / "rootfs").iterdir()) == before


@pytest.mark.parametrize((), HERE)
def test_readonly_can_write_its_volume_and_nothing_else(runjail: Any, place: Callable[[str], Path]) -> None:
    bundle = place("readonly")
    started = runjail.ok("run", "-d", "-b", str(bundle), "readonly")
    eventually(lambda: started.stdout != "" and started.stdout == (bundle / "data" / "starts").read_text())

    failed = runjail("exec", "readonly", "/bin/sh", "-c", "echo x >/data/x; echo x >/tmp/x; echo x >/x")
    assert failed.returncode != 0
    assert sorted(path.name for path in (bundle / "data").iterdir()) == ["README", "starts", "x"]
    runjail.ok("delete", "-f", "readonly")
    assert (bundle / "data" / "x").read_text() == "x\n"
    assert not (bundle / "rootfs" / "x").exists()
