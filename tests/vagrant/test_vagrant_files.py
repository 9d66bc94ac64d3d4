"""vagrant/ and the workflow as files: tools that know their languages find nothing to say."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
VAGRANT = TOP / "vagrant"
WORKFLOW = TOP / ".github" / "workflows" / "ci.yml"


def run(*command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=VAGRANT, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=120
    )


def needs(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


@pytest.mark.parametrize("script", sorted(VAGRANT.glob("*.sh")), ids=lambda path: path.name)
def test_shellcheck(script: Path) -> None:
    """Quoting, portability to FreeBSD's sh, and what else it knows; `sh -n` is in tests/test_lint.py."""
    needs("shellcheck")

    checked = run("shellcheck", "--shell=sh", str(script))

    assert checked.returncode == 0, checked.stdout


def test_vagrantfile_is_ruby() -> None:
    needs("ruby")

    checked = run("ruby", "-wc", "Vagrantfile")

    assert (checked.returncode, checked.stderr) == (0, "")


def test_vagrant_validate(tmp_path: Path) -> None:
    """Vagrant knows every setting; no provider is needed for that."""
    needs("vagrant")

    checked = run(
        "vagrant",
        "validate",
        "--ignore-provider",
        HOME=str(tmp_path),
        VAGRANT_HOME=str(tmp_path / "home"),
        VAGRANT_DOTFILE_PATH=str(tmp_path / "machine"),
        VAGRANT_CHECKPOINT_DISABLE="1",  # it would ask the network for newer versions
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_release_that_has_no_box_is_named(tmp_path: Path) -> None:
    """Before vagrant does anything."""
    needs("ruby")

    checked = run("ruby", "Vagrantfile", RUNJAIL_FREEBSD="13")

    assert (checked.returncode, checked.stderr) == (1, "RUNJAIL_FREEBSD: not one of 15, 14: 13\n")


def test_workflow_is_yaml() -> None:
    """The jobs are there, and each step of them is one thing."""
    if importlib.util.find_spec("yaml") is None:
        pytest.skip("no YAML parser is installed")
    yaml = importlib.import_module("yaml")

    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]

    assert set(jobs) == {"linux", "freebsd"}
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert all(("uses" in step) != ("run" in step) for step in steps)


def test_workflow_says_what_it_runs() -> None:
    """Actions are pinned by commit with the release beside it, and FreeBSD is prepared by our own script."""
    text = WORKFLOW.read_text(encoding="utf-8")
    used = re.findall(r"uses: (.*)", text)

    assert len(used) >= 5
    assert [line for line in used if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []
    assert "sh vagrant/provision.sh" in text
    assert "make test" in text
    assert "\t" not in text
