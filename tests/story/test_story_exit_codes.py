"""What `run --image` exits with when the program is missing or cannot be executed: podman's codes, and nothing is left.

Beside podman 4.3 with runc: 127, 127, 126 and 126. The last two it leaves to what runc executes: 1, a shell has these.
"""

from pathlib import Path

import pytest

from tests.support.program import Bundle
from tests.support.story.cli import Cli

pytestmark = [pytest.mark.needs("root"), pytest.mark.parametrize("location", ["dir"], indirect=True)]

PROGRAMS = {  # words of the command: exit code, text
    "/nosuch": (127, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
    "nosuch": (127, 'exec: "nosuch": executable file not found in $PATH'),
    "/etc/plain": (126, 'exec: "/etc/plain": permission denied'),
    "/etc": (126, 'exec: "/etc": is a directory: permission denied'),
    "/etc/stray": (127, 'exec: "/etc/stray": no such file or directory'),
    "/etc/foreign": (126, 'exec: "/etc/foreign": exec format error'),
}
HOW = {"foreground": (), "detached": ("-d",), "again": ("-d", "--restart", "always"), "kept": ("--keep",)}


@pytest.fixture
def image(cli: Cli, machine_rootfs: Path, tmp_path: Path) -> str:
    """The name of an image with files that are no programs."""
    cli.ok("image", "import", f"rootfs:{machine_rootfs}", "base")
    files = tmp_path / "files"
    files.mkdir()
    for name, content, mode in (
        ("plain", b"text", 0o644),
        ("stray", b"#!/nosuch\n", 0o755),
        ("foreign", b"\0\1\2", 0o755),
    ):
        (files / name).write_bytes(content)
        (files / name).chmod(mode)
    return "base"


@pytest.mark.parametrize(("program", "expected"), PROGRAMS.items(), ids=PROGRAMS)
def test_a_program_that_cannot_be_executed(
    cli: Cli, image: str, tmp_path: Path, program: str, expected: tuple[int, str]
) -> None:
    """The fixture looks at what is left: no root, bundle or container."""
    volumes = [f"-v={file}:/etc/{file.name}:ro" for file in sorted((tmp_path / "files").iterdir())]

    result = cli("run", "--image", image, *volumes, "web", program)

    assert (result.returncode, result.stderr.splitlines()[0]) == (expected[0], f"runjail: {expected[1]}")
    assert cli.left() == {"roots": [], "bundles": [], "containers": []}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_whoever_waits_for_it(cli: Cli, image: str, how: tuple[str, ...]) -> None:
    """A container that never ran is not kept, nor made again."""
    result = cli("run", *how, "--image", image, "web", "/nosuch")

    assert (result.returncode, result.stdout, result.stderr) == (127, "", f"runjail: {PROGRAMS['/nosuch'][1]}\n")
    assert cli.left() == {"roots": [], "bundles": [], "containers": []}


def test_another_failure_is_runjail_s_own(cli: Cli, image: str) -> None:
    """Where podman says 125 or 126."""
    assert cli("run", "--image", image, "-u", "nobody9", "web", "true").returncode == 1
    assert cli("run", "--image", image, "-w", "/etc/passwd", "web", "true").returncode == 1


def test_a_bundle_s_run_has_runc_s_code(cli: Cli, bundle: Bundle) -> None:
    """Callers of runc tell the program's own 127 from runc's failure by it."""
    path = bundle.write("/nosuch")

    assert cli("run", "-b", path, "web").returncode == 1
    assert cli("run", "-d", "-b", path, "web").returncode == 1
