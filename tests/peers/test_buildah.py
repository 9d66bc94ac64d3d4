"""buildah, as it is, running RUN steps with runjail."""

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.leftovers import Leftovers
from tests.support.peers.commands import PATH, Caller, Tidiness, check_terminal, in_its_own_state
from tests.support.program import own_words

pytestmark = [pytest.mark.peers("buildah"), pytest.mark.linux]

# A newer buildah asks for a million files and processes otherwise, which not every root may
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=8192:8192")
RUNTIME = "--isolation=oci --runtime={program} --network=host"


class Buildah(Caller):
    """buildah with its storage below one directory, and one working container made from scratch."""

    def __init__(self, directory: Path, ours: Leftovers) -> None:
        self.directory, self.state, self.ours = directory, directory / "state", ours
        self.program = in_its_own_state(directory / "bin", self.state)
        places = [f"--root={directory}/storage", f"--runroot={directory}/runroot", "--storage-driver=vfs"]
        self.command = ["buildah", *places]
        work = directory / "work"
        work.mkdir()
        self.env = {"PATH": PATH, "HOME": str(directory), "TMPDIR": str(work)}
        self.container = ""

    def words(self, options: str, *command: str) -> list[str]:
        """Return the words of a RUN step after buildah's global options."""
        mark = f"--env={self.ours.MARK}={self.ours.base}"
        ours = RUNTIME.format(program=self.program).split()
        return ["run", *ours, mark, *shlex.split(options), self.container, "--", *command]


@pytest.fixture
def buildah(tmp_path: Path, machine_rootfs: Path, leftovers: Leftovers) -> Iterator[Buildah]:
    buildah = Buildah(tmp_path, leftovers)
    buildah.container = buildah.ok("from", *LIMITS, "--name", "working", "scratch").out.strip()
    mounted = buildah.ok("mount", buildah.container).out.strip()
    shutil.copytree(machine_rootfs, mounted, symlinks=True, dirs_exist_ok=True)
    buildah.ok("umount", buildah.container)
    yield buildah
    buildah("rm", "--all")
    Tidiness([tmp_path], buildah.state, leftovers).check()


def test_output_and_files(buildah: Buildah) -> None:
    done = buildah.run(
        "", "sh", "-c", "echo out; echo err >&2; mkdir /made; echo text >/made/file; chown 7:8 /made/file"
    )

    assert (done.code, done.out, own_words(done.err)) == (0, "out\n", "err\n"), done
    made = Path(buildah.ok("mount", buildah.container).out.strip(), "made", "file")
    assert made.read_text(encoding="ascii") == "text\n"
    assert (made.stat().st_uid, made.stat().st_gid) == (7, 8)


@pytest.mark.parametrize("code", [1, 9])
def test_exit_code(buildah: Buildah, code: int) -> None:
    assert buildah.run("", "sh", "-c", f"exit {code}").code == code


def test_a_program_that_does_not_exist(buildah: Buildah) -> None:
    done = buildah.run("", "nope")

    assert done.code != 0
    assert 'exec: "nope": executable file not found in $PATH' in done.err


def test_terminal(buildah: Buildah) -> None:
    words = buildah.words("-t", "sh", "-c", 'tty; read word; echo "got $word"; exit 6')
    check_terminal([*buildah.command, *words], buildah.env, 6)


@pytest.mark.parametrize(
    ("options", "script", "shown"),
    [
        ("--user 1000:1000", "id -u; id -g", ["1000", "1000"]),
        ("--user web", "id -un", ["web"]),
        ("--env NAME=value", "echo $NAME", ["value"]),
        ("--workingdir /var/new", "pwd", ["/var/new"]),
        ("--hostname wonderland", "hostname", ["wonderland"]),
        ("--cap-drop all", "grep CapEff /proc/self/status | cut -f2", ["0000000000000000"]),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) and value.startswith("--") else "",
)
def test_options(buildah: Buildah, options: str, script: str, shown: list[str]) -> None:
    done = buildah.run(options, "sh", "-c", script)

    assert (done.code, done.lines) == (0, shown), done


def test_a_volume(buildah: Buildah) -> None:
    (buildah.directory / "data").mkdir()
    done = buildah.run(f"--volume {buildah.directory}/data:/data", "sh", "-c", "echo new >/data/made")

    assert done.code == 0, done
    assert (buildah.directory / "data" / "made").read_text(encoding="ascii") == "new\n"


def test_one_step_after_the_other(buildah: Buildah) -> None:
    """Each sees what the one before has made, as the lines of a Containerfile do."""
    for step in ("echo one >>/steps", "echo two >>/steps"):
        assert buildah.run("", "sh", "-c", step).code == 0

    assert buildah.run("", "cat", "/steps").out == "one\ntwo\n"


def test_a_containerfile(buildah: Buildah) -> None:
    """`buildah build` with RUN steps, from an image of the same root file system."""
    buildah.ok("commit", "--quiet", buildah.container, "base")
    recipe = buildah.directory / "Containerfile"
    recipe.write_text("FROM base\nENV NAME=value\nUSER web\nRUN echo $NAME $(id -un) >/tmp/made\n", encoding="ascii")
    ours = RUNTIME.format(program=buildah.program).split()
    buildah.ok(
        "build",
        "--quiet",
        "--pull=never",
        *ours,
        *LIMITS,
        "--tag",
        "made",
        "--file",
        str(recipe),
        str(buildah.directory / "work"),
    )
    buildah.ok("from", "--name", "look", "--pull-never", "made")
    mounted = buildah.ok("mount", "look").out.strip()

    assert Path(mounted, "tmp", "made").read_text(encoding="ascii") == "value web\n"
