"""Writing to the host's interpreter from a container with a user namespace, made by root or by an ordinary user.

The copy that is attacked belongs to the container's root here, as a user's own Python does in a container of that user:
so nothing holds it but the way in which it is executed.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attacks import test_attack_interpreter as usual
from tests.attacks.test_attack_interpreter import Copy, Image, attacker, held
from tests.attacks.test_attack_user_namespaces import MAPPING
from tests.support.container.ordinary import OWN, OrdinaryRunjail
from tests.support.leftovers import Leftovers
from tests.support.needs import ORDINARY
from tests.support.program import TOP, Bundle, Runjail, base_config

__all__ = ["attacker"]  # a fixture

pytestmark = [*usual.pytestmark, pytest.mark.needs("user namespaces")]

EPERM = 1
EXPOSED = """\
#!{python} -IS
import sys
sys.path.insert(0, {top!r})
from runjail.host import interpreter
interpreter.secure = lambda: ""
from runjail.cli.main import main
main()
"""
WAYS = [way for way in usual.WAYS if way is not usual.create_container_hook]


def give(path: Path, owner: int) -> None:
    """Let everything at a path belong to somebody."""
    for each in (path, *path.rglob("*")):
        os.chown(each, owner, owner, follow_symlinks=False)


def image_of(runjail: Runjail, copy: Copy, place: Path, mappings: list[dict[str, int]], leftovers: Leftovers) -> Image:
    """Make the attacker's image in a bundle with a user namespace; it and the copy belong to the root of that."""
    config = base_config(leftovers)
    config["linux"] |= {"uidMappings": mappings, "gidMappings": mappings}
    config["linux"]["namespaces"].append({"type": "user"})
    image = Image(Bundle(place / "bundle", config), runjail, copy, place / "attacker")
    give(place / "bundle" / "rootfs", mappings[0]["hostID"])
    give(copy.python.parents[1], mappings[0]["hostID"])
    return image


@pytest.fixture
def copy(place: Path) -> Iterator[Copy]:
    made = Copy(place)
    yield made
    made.release()


@pytest.fixture
def prepared(place: Path, machine_rootfs: Path, attacker: Path) -> Path:
    """The place, with a root directory and the attacker's program in it."""
    shutil.copytree(machine_rootfs, place / "bundle" / "rootfs", symlinks=True)
    shutil.copy(attacker, place / "attacker")
    return place


@pytest.fixture
def mapped(runjail: Runjail, copy: Copy, prepared: Path, leftovers: Leftovers) -> Iterator[Image]:
    """An image that root runs with mappings."""
    usual_program = runjail.program
    yield image_of(runjail, copy, prepared, MAPPING, leftovers)
    runjail.program = usual_program


def expose(image: Image) -> None:
    """Let runjail be executed as it is, from the copy."""
    script = image.copy.directory / "exposed"
    script.write_text(EXPOSED.format(python=image.copy.python, top=str(TOP)), encoding="utf-8")
    script.chmod(0o755)
    image.runjail.program = str(script)


def overwritten(image: Image) -> bool:
    """Whether the attacker did what it tries."""
    said = image.report()
    assert (said["ran"], said["chmod"], said["written"]) == (0, 0, 0), said
    return image.copy.python.read_bytes().startswith(b"OVERWRITTEN")


@pytest.mark.parametrize("program", ["/proc/self/exe", "/script"], ids=["link", "script"])
@pytest.mark.parametrize("attack", WAYS, ids=lambda way: way.__name__)
def test_the_interpreter_is_not_written(mapped: Image, attack: Callable[[Image, str], None], program: str) -> None:
    """The root of the namespace owns the file, and finds it read-only."""
    attack(mapped, program)

    held(mapped)


def test_a_hook_does_not_reach_the_program_of_init(mapped: Image) -> None:
    """What a createContainer hook runs in the image has the namespace's ids: init is closed to it, unlike without."""
    with pytest.raises(AssertionError, match=r"failed to run command .*/proc/1/exe"):
        usual.create_container_hook(mapped, "/proc/self/exe")

    assert mapped.copy.unchanged
    assert not (mapped.bundle.rootfs / "report").exists()


def test_without_the_mount_it_is_written(mapped: Image) -> None:
    """The same program, started by a runjail that does not secure itself, overwrites the copy."""
    expose(mapped)
    usual.first_process(mapped, "/proc/self/exe")

    assert overwritten(mapped)


# Of an ordinary user ----------------------------------------------------------------------------------------------


@pytest.fixture
def rootless(runjail: Runjail, copy: Copy, prepared: Path, leftovers: Leftovers) -> Iterator[Image]:
    """An image that an ordinary user runs, with one id."""
    (prepared / "run").mkdir(mode=0o700)
    program = OrdinaryRunjail(runjail.directory, prepared / "run")
    usual_program = program.program
    image = image_of(program, copy, prepared, OWN, leftovers)
    del image.bundle.config["linux"]["cgroupsPath"]
    give(prepared, ORDINARY)
    yield image
    program.program = usual_program
    for id in program.ids():
        program("delete", "--force", id)


ROOTLESS = [usual.first_process, usual.joining_process]


@pytest.mark.needs("ordinary user")
@pytest.mark.parametrize("attack", ROOTLESS, ids=lambda way: way.__name__)
def test_the_interpreter_of_the_machine(rootless: Image, attack: Callable[[Image, str], None]) -> None:
    """It belongs to root: nobody whom an ordinary user has can write to it, mounted or not."""
    give(rootless.copy.python.parents[1], 0)
    attack(rootless, "/proc/self/exe")

    said = rootless.report()
    assert (said["ran"], said["chmod"]) == (0, EPERM) and "written" not in said, said
    assert rootless.copy.unchanged


@pytest.mark.needs("ordinary user")
def test_an_interpreter_of_the_user_that_is_not_secured(rootless: Image) -> None:
    expose(rootless)
    usual.first_process(rootless, "/proc/self/exe")

    assert overwritten(rootless)


@pytest.mark.needs("ordinary user")
@pytest.mark.parametrize("attack", ROOTLESS, ids=lambda way: way.__name__)
def test_an_interpreter_of_the_user(rootless: Image, attack: Callable[[Image, str], None]) -> None:
    """Who may not mount is executed from a sealed copy of it, which nobody can write to."""
    attack(rootless, "/proc/self/exe")

    said = rootless.report()
    assert (said["ran"], said["chmod"], said.get("written")) == (0, 0, EPERM), said  # of the copy
    assert rootless.copy.unchanged


@pytest.mark.needs("ordinary user")
def test_an_interpreter_of_the_user_that_nobody_may_write(rootless: Image) -> None:
    """Its owner may change the mode."""
    rootless.copy.python.chmod(0o555)
    rootless.copy.mode = rootless.copy.python.stat().st_mode
    usual.first_process(rootless, "/proc/self/exe")

    assert rootless.report()["written"] == EPERM
    assert rootless.copy.unchanged
