"""The interpreter's read-only mount: when it is made, by whom, how often, and what makes it go.

Each test has start scripts of its own, and works in a mount namespace of its own.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import TOP, Bundle, Runjail, own_words

LOOK = """
import os, sys
sys.path.insert(0, {top!r})
from runjail.host import interpreter
why = interpreter.secure()
print(interpreter.secured(), os.statvfs("/proc/self/exe").f_flag & 1, why or "-", sys.argv[1:], os.environ.get("GIVEN"))
print(sys.base_prefix, sys.path[1:], flush=True)
os.write(int(sys.argv[1]), b"descriptor kept\\n") if len(sys.argv) > 1 else None
"""

GONE = """
import os, subprocess, sys
sys.path.insert(0, {top!r})
from runjail.host import interpreter
interpreter.secure()
subprocess.run(["umount", "-l", os.environ["PLACE"]], check=True)
os.seteuid(65534)
print(os.path.exists(os.path.realpath("/proc/self/exe")), interpreter.ours_to_write())
"""

pytestmark = pytest.mark.linux


class Scripts:
    """Start scripts below a directory: `look`, which secures itself and says what it is, and runjail's own."""

    def __init__(self, path: Path) -> None:
        self.path, self.place = path, path / "libexec" / "runjail" / "bin"
        boot = [sys.executable, str(TOP / ".ci" / "boot.py"), "--package", str(TOP), "--to", str(path / "bin")]
        subprocess.run(boot, check=True)
        self.runjail, self.look = path / "bin" / "runjail", path / "bin" / "look"
        first = self.runjail.read_text(encoding="utf-8").split("\n", 1)[0]
        self.python = Path(first.removeprefix("#!").split()[0])
        self.write(first)

    def write(self, first: str, body: str = LOOK) -> None:
        """Let `look` have a first line, and what follows it."""
        self.look.write_text(first + body.format(top=str(TOP)), encoding="utf-8")
        self.look.chmod(0o755)

    def shell(self, script: str, **more: str) -> list[str]:
        """Return the lines that a script prints in a mount namespace of its own; LOOK and PLACE are set there."""
        names = {"LOOK": str(self.look), "PLACE": str(self.place), "PATH": os.environ["PATH"], **more}
        command = ["unshare", "-m", "sh", "-ec", script]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=names, timeout=120)
        assert (done.returncode, own_words(done.stderr)) == (0, ""), done
        return done.stdout.splitlines()


@pytest.fixture
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Scripts:
    return Scripts(tmp_path_factory.mktemp("i"))  # a short name: first lines hold it


COUNT = 'grep -c " $PLACE " /proc/self/mountinfo || :\n'


def test_the_first_one_mounts_it(scripts: Scripts) -> None:
    """Once; arguments, environment and descriptors are those of the first start, and so is where modules are found."""
    script = f'{COUNT} GIVEN=yes "$LOOK" 7 word 7>&1; {COUNT} "$LOOK"; {COUNT}'
    before, first, modules, kept, between, second, again, after = scripts.shell(script)

    assert (before, between, after) == ("0", "1", "1")
    assert first == "True 1 - ['7', 'word'] yes"
    assert second == "True 1 - [] None"
    assert kept == "descriptor kept"
    assert modules == again == f"{sys.base_prefix} {plain_path()}"


def plain_path() -> list[str]:
    """Return where the interpreter itself finds modules."""
    python = os.path.realpath(sys.executable)
    found = subprocess.run([python, "-ISc", "import sys; print(*sys.path, sep='\\n')"], capture_output=True, text=True)
    return found.stdout.split("\n")[:-1]


def test_two_first_ones(scripts: Scripts) -> None:
    """Whoever comes second finds the first one's mount."""
    runs = "".join('"$LOOK" & ' for _ in range(12))
    said = scripts.shell(f"{runs} wait; {COUNT}")

    assert said[-1] == "1"
    assert [line for line in said[:-1] if line.startswith(("True", "False"))] == ["True 1 - [] None"] * 12


def test_the_mount_of_somebody_else(scripts: Scripts, tmp_path: Path) -> None:
    """Writable ones and ones of another file are taken away, however many there are."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    shutil.copy2(os.path.realpath(sys.executable), foreign / scripts.python.name)
    writable = f'mount --bind {os.path.dirname(os.path.realpath(sys.executable))} "$PLACE"\n'
    other = f'mount --bind {foreign} "$PLACE"; mount -o remount,bind,ro "$PLACE"\n'
    said = scripts.shell(f'{writable * 3} {other} "$LOOK"; {COUNT} "$LOOK"; {COUNT}')

    assert [said[0], said[2], said[3], said[5]] == ["True 1 - [] None", "1", "True 1 - [] None", "1"]


def test_an_upgrade_is_followed(scripts: Scripts, tmp_path: Path) -> None:
    """A package manager renames another file over the interpreter: the next start has that one."""
    own = tmp_path / "own" / "bin"
    own.mkdir(parents=True)
    (tmp_path / "own" / "lib").symlink_to(f"{sys.base_prefix}/lib")  # one that was unpacked finds its modules there
    python = own / scripts.python.name
    shutil.copy2(os.path.realpath(sys.executable), python)
    shutil.copy2(python, own / "new")
    scripts.python.unlink()
    scripts.python.symlink_to(python)
    (scripts.place.parent / "pyvenv.cfg").write_text(f"home = {own}\n", encoding="utf-8")
    look = 'stat -L -c %i "$PLACE"/*3* | tail -1; "$LOOK"'
    said = scripts.shell(f'"$LOOK"; stat -c %i {own}/new; mv {own}/new {python}; {look}; {COUNT}')

    assert said[0].startswith("True 1 -") and said[4].startswith("True 1 -")
    assert said[2] == said[3]
    assert said[-1] == "1"


def test_a_mount_that_is_taken_away_meanwhile(scripts: Scripts) -> None:
    """Somebody who upgrades or uninstalls, while an ordinary user's verb starts: its interpreter has no path then."""
    scripts.write(f"#!{scripts.python} -IS", GONE)

    assert scripts.shell('"$LOOK"') == ["False False"]


def test_without_a_place(scripts: Scripts) -> None:
    """An interpreter named by itself is executed again each time, and leaves no mount."""
    scripts.write(f"#!{os.path.realpath(sys.executable)} -IS")
    listed = f"cut -d' ' -f5 /proc/self/mountinfo | sort > {scripts.path}"  # others may remove what is mounted on
    first, _, second, _, more = scripts.shell(
        f'{listed}/before; "$LOOK"; "$LOOK"; {listed}/after; cd {scripts.path}; comm -13 before after | wc -l'
    )

    assert more == "0"
    assert first == second == "True 1 - [] None"


WEAK = "setpriv --bounding-set -sys_admin --inh-caps -sys_admin"


@pytest.mark.needs("setpriv")
def test_without_the_right_to_mount(scripts: Scripts) -> None:
    """It is executed from a sealed copy; arguments, descriptors and modules are those of the first start."""
    check = f"{WEAK} {scripts.runjail} check | grep ^interpreter"
    look, modules, kept, row = scripts.shell(f'GIVEN=yes {WEAK} "$LOOK" 7 word 7>&1; {check}')

    assert look == "True 0 - ['7', 'word'] yes"
    assert modules == f"{sys.base_prefix} {plain_path()}"
    assert kept == "descriptor kept"
    assert row.split()[:6] == "interpreter yes executed from a copy".split()


@pytest.mark.needs("setpriv")
def test_without_memory_for_a_copy(scripts: Scripts) -> None:
    """It goes on, `create --debug` says why, and `check` what helps."""
    look, _, logged, row = scripts.shell(
        f'ulimit -f 0; {WEAK} "$LOOK"; '
        f"{WEAK} {scripts.runjail} --debug --root /nonexistent create -b / c 2>&1 | grep interpreter;"
        f"{WEAK} {scripts.runjail} check | grep ^interpreter"
    )

    why = "the interpreter can be written from inside: mounting it read-only: not allowed; copying it to memory: "
    assert look.startswith(f"False 0 {why}"), look
    assert why in logged and "level=debug" in logged
    assert row.split()[1] == "no" and row.endswith("run as root on Linux 5.12 or later")


def test_check_says_where(scripts: Scripts) -> None:
    check = f"{scripts.runjail} check | grep ^interpreter"
    before, after = scripts.shell(f'{check}; "$LOOK" >/dev/null; {check}')

    assert before.split() == f"interpreter yes the first container mounts it at {scripts.place}".split()
    assert after.split() == f"interpreter yes read-only at {scripts.place}".split()


def test_a_directory_that_a_first_line_cannot_name(tmp_path: Path) -> None:
    """A checkout whose path has spaces: the interpreter is named by itself."""
    scripts = Scripts(tmp_path / "with a space")

    assert str(scripts.python) == os.path.realpath(sys.executable)
    assert not scripts.place.exists()


def test_install_and_uninstall_while_it_is_mounted(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Both unmount it, and nothing of the interpreter's directory is lost."""
    prefix = tmp_path_factory.mktemp("u")
    place = prefix / "libexec" / "runjail" / "bin"
    make = f"make -s -C {TOP} PREFIX={prefix} PYTHON={sys.executable}"
    use = f"{prefix}/bin/runjail --root {prefix}/state start c 2>/dev/null || :; {COUNT}"
    command = [
        "unshare",
        "-m",
        "sh",
        "-ec",
        f"{make} install; {use} {make} install; {COUNT} {use} {make} uninstall; {COUNT}",
    ]
    directory = os.path.dirname(os.path.realpath(sys.executable))
    before = sorted(os.listdir(directory))
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | {"PLACE": str(place)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)

    assert [line for line in done.stdout.splitlines() if line.isdigit()] == ["1", "0", "1", "0"]
    assert sorted(os.listdir(directory)) == before
    assert not place.parent.exists()


def test_a_life_in_which_it_is_mounted(runjail: Runjail, bundle: Bundle, scripts: Scripts) -> None:
    """Descriptors that create passes on survive the second start."""
    runjail.program = str(scripts.runjail)
    bundle.write("/bin/sh", "-c", "cat <&3")
    words = f"{runjail.program} --root {runjail.root} run --preserve-fds 1 -b {bundle.path} c"

    assert scripts.shell(f"echo passed on >{scripts.path}/file; {words} 3<{scripts.path}/file; {COUNT}")[::2] == [
        "passed on"
    ]
