"""The examples are valid, their plans are what plan.txt shows, and their pages speak about what is in them."""

import subprocess
from pathlib import Path

import pytest

from runjail import jsonio
from runjail.plan.plan import make_plan
from runjail.spec.parse import parse
from tests.support.bundles.write_plans import EXAMPLES, plan_text

NAMES = sorted(config.parent.name for config in EXAMPLES.glob("*/config.json"))
BOTH = ("hello", "limits", "linux", "readonly")  # the others are about the network of a jail


@pytest.fixture(params=NAMES)
def example(request: pytest.FixtureRequest) -> Path:
    return EXAMPLES / request.param


def test_there_are_examples() -> None:
    assert NAMES == ["hello", "limits", "linux", "readonly", "vnet", "web"]


def test_the_plan_is_what_plan_txt_shows(example: Path) -> None:
    """After a deliberate change: python -m tests.support.bundles.write_plans."""
    assert plan_text(example) == (example / "plan.txt").read_text()


def test_the_plan_is_a_script(example: Path) -> None:
    checked = subprocess.run(["sh", "-n", example / "plan.txt"], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("name", BOTH)
def test_examples_can_also_be_tried_on_linux(name: str) -> None:
    spec = parse(jsonio.loads((EXAMPLES / name / "config.json").read_text()), "linux")

    assert make_plan(spec, container_id=name, bundle="/b", state="/s", os="linux").steps


def test_every_mount_and_setting_is_explained(example: Path) -> None:
    page = (example / "README.md").read_text()
    document = jsonio.loads((example / "config.json").read_text())
    words = {mount["destination"] for mount in document["mounts"]} | set(document.get("annotations", {}))
    words |= set(document.get("freebsd", {}).get("jail", {})) | set(document["process"])
    common = {"args", "env", "cwd", "user", "/dev", "/dev/fd"} if example.name != "hello" else set()

    assert {word for word in words - common if word not in page} == set()


def test_volumes_of_the_examples_exist(example: Path) -> None:
    document = jsonio.loads((example / "config.json").read_text())
    for mount in document["mounts"]:
        if mount["type"] == "nullfs":
            assert (example / mount["source"]).is_dir()


def test_the_front_page_lists_them_all(example: Path) -> None:
    assert f"[{example.name}]({example.name}/)" in (EXAMPLES / "README.md").read_text()
