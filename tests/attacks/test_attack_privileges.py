"""Privileges: what runs inside has what config.json gives its process, however it gets in.

Every attacker writes down that it ran; the last tests show that the same attempt works where it was asked for.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.support.attacks import machine_programs
from tests.support.container.harness import Life, exec_document
from tests.support.program import TOP, Bundle, Runjail

pytestmark = pytest.mark.linux

# Each attempt needs a capability and harms nobody but the container
ATTEMPTS = {
    "mknod": ("mknod /tmp/node c 1 3", "CAP_MKNOD"),
    "mount": ("mount -t tmpfs none /var", "CAP_SYS_ADMIN"),
    "chroot": ("chroot / /bin/true", "CAP_SYS_CHROOT"),
    "chown": ("chown 5:5 /tmp/mine", "CAP_CHOWN"),
    "raw socket": ("ping -c 1 -W 5 127.0.0.1 && [ $(id -u) = 0 ]", "CAP_NET_RAW"),
    "hostname": ("hostname taken", "CAP_SYS_ADMIN"),
}
STATUS = (
    "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|SigIgn|SigBlk)' /proc/self/status; cat /proc/self/oom_score_adj; umask; "
    "pwd; ulimit -n; ulimit -c; ulimit -s"
)
WHOLE = ("bounding", "effective", "permitted")
CALLER = TOP / "tests/support/attacks/caller.py"


@pytest.fixture
def life(runjail: Runjail, bundle: Bundle) -> Life:
    (bundle.rootfs / "tmp/mine").touch()
    return Life(runjail, bundle)


def attempt(name: str) -> str:
    """Return a script that tries it, and writes to /tmp/tried what came of it."""
    return f"{{ {ATTEMPTS[name][0]}; }} >/dev/null 2>&1 && echo done >/tmp/tried || echo refused >/tmp/tried"


def outcome(life: Life) -> str:
    return (life.bundle.rootfs / "tmp/tried").read_text().strip()


def with_hook(life: Life, script: str, **process: Any) -> None:
    life.bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    life.start("/bin/sleep", "600", **process)


@pytest.mark.parametrize("name", ATTEMPTS)
def test_root_whose_capabilities_nobody_named(life: Life, name: str) -> None:
    """It has none, as with runc and crun; it had all."""
    del life.bundle.config["process"]["capabilities"]
    life.run(attempt(name))

    assert outcome(life) == "refused"


@pytest.mark.parametrize("name", ATTEMPTS)
def test_exec_with_a_document_that_names_no_capabilities(life: Life, name: str) -> None:
    """It has the container's own, which are none here."""
    life.start("/bin/sleep", "600", capabilities={})
    exec_document(life, attempt(name))

    assert outcome(life) == "refused"


@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_start_container_hook(life: Life, name: str) -> None:
    """It is no more than the program will be."""
    with_hook(life, attempt(name), capabilities={})

    assert outcome(life) == "refused"


@pytest.mark.parametrize("way", ["program", "exec", "hook"])
@pytest.mark.parametrize(
    "name",  # without control groups no container has CAP_MKNOD
    [pytest.param(name, marks=pytest.mark.needs(*(["cgroups"] if name == "mknod" else []))) for name in ATTEMPTS],
)
def test_control_the_attempts_work_where_they_are_allowed(life: Life, name: str, way: str) -> None:
    """With the one capability that each takes; exec finds it in the container's config.json."""
    sets = {key: [ATTEMPTS[name][1], "CAP_DAC_OVERRIDE"] for key in WHOLE}
    if way == "program":
        life.run(attempt(name), capabilities=sets)
    elif way == "exec":
        life.start("/bin/sleep", "600", capabilities=sets)
        exec_document(life, attempt(name))
    else:
        with_hook(life, attempt(name), capabilities=sets)

    assert outcome(life) == "done"


IDENTITIES: dict[str, dict[str, Any]] = {
    "root": {},
    "a user": {
        "user": {"uid": 1000, "gid": 1001, "umask": 0o27, "additionalGids": [7]},
        "noNewPrivileges": True,
        "oomScoreAdj": 321,
        "cwd": "/tmp",
        "capabilities": {key: ["CAP_KILL", "CAP_CHOWN"] for key in WHOLE},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 78}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
    },
    "a user with ambient capabilities": {
        "user": {"uid": 1000, "gid": 1001},
        "capabilities": {key: ["CAP_KILL"] for key in (*WHOLE, "inheritable", "ambient")},
    },
    "root with less": {
        "capabilities": {"bounding": ["CAP_KILL"], "inheritable": ["CAP_KILL"]},
        "user": {"uid": 0, "gid": 0, "umask": 0},
    },
}


@pytest.mark.parametrize("who", IDENTITIES)
def test_a_hook_is_exactly_as_the_program(life: Life, who: str) -> None:
    """Ids, groups, capabilities, limits, umask, directory, no_new_privs, oom score, signals: as runc's and crun's."""
    out = life.bundle.rootfs / "var"
    out.chmod(0o1777)
    life.bundle.config["hooks"] = {
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", f"{{ {STATUS}; }} >/var/hook"]}]
    }
    life.says(f"{{ {STATUS}; }} >/var/program", **IDENTITIES[who])
    hook, program = ((out / name).read_text().splitlines() for name in ("hook", "program"))
    ignored = next(line for line in hook if line.startswith("SigIgn"))

    assert [line for line in hook if line != ignored] == [line for line in program if not line.startswith("SigIgn")]
    assert int(ignored.split()[1], 16) & ~(3 << 31) == 0  # 32 and 33 are libc's own: posix_spawn leaves them ignored
    assert len(program) == 17


def test_a_set_user_id_program_of_the_image(life: Life) -> None:
    """A user without capabilities gains none through it: the bounding set is empty too."""
    raised = machine_programs.add(life.bundle.rootfs, "cat", "raised", 0o4755)
    del life.bundle.config["process"]["capabilities"]
    said = life.says(f"{raised} /proc/self/status | grep -E '^(Uid|Cap[EB])'", user={"uid": 1000, "gid": 1000})

    assert said.split() == ["Uid:", "1000", "0", "0", "0", "CapEff:", "0" * 16, "CapBnd:", "0" * 16]


def test_exec_takes_no_oom_score_from_its_caller(life: Life) -> None:
    """Callers such as containerd's shim protect themselves with -998: what they run inside is the container's."""
    life.start("/bin/sleep", "600", oomScoreAdj=321)
    document = life.path / "process.json"
    document.write_text(json.dumps({"args": ["/bin/cat", "/proc/self/oom_score_adj"], "cwd": "/"}))
    command = f'echo 123 >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj; exec {life.runjail.program} "$@"'
    args = ["--root", str(life.runjail.root), "exec", "-p", str(document), "c"]
    said = subprocess.run(["sh", "-c", command, "sh", *args], capture_output=True, text=True, check=True, timeout=200)

    assert said.stdout.split() == ["123", "321"]


def test_exec_with_a_capability_gives_no_more_than_that_one(life: Life) -> None:
    """--cap for a container that names none adds one; it left all."""
    del life.bundle.config["process"]["capabilities"]
    life.sleep()
    said = life.runjail.ok("exec", "--cap", "CAP_KILL", "c", "grep", "^CapEff", "/proc/self/status").stdout

    assert said.split() == ["CapEff:", f"{1 << 5:016x}"]


@pytest.mark.skipif(not os.path.exists("/proc/keys"), reason="needs a kernel with keyrings")
@pytest.mark.parametrize("way", ["program", "exec", "hook"])
@pytest.mark.parametrize("asked", [False, True])
def test_the_keys_of_the_caller(life: Life, way: str, asked: bool) -> None:
    """A session keyring is inherited over fork and execve, and who possesses it reads its keys.

    With --no-new-keyring a container has it: so the attacker looks well.
    """
    look = "{ cat /proc/keys; echo looked; } >/tmp/tried"
    user = {"uid": 1000, "gid": 1000}
    options = ("--no-new-keyring",) if asked else ()
    script = {"program": look, "exec": "sleep 600", "hook": "true"}[way]
    if way == "hook":
        life.bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", look]}]}
    bundle = life.bundle.write("/bin/sh", "-c", script, user=user)
    verb = ["run", *(("-d",) if way == "exec" else ()), *options, "-b", bundle, "c"]
    with_key(life, *(["run", "-d", *options, "-b", bundle, "c"] if way == "exec" else verb))
    if way == "exec":
        with_key(life, "exec", "c", "/bin/sh", "-c", look)
    said = (life.bundle.rootfs / "tmp/tried").read_text()

    assert said.endswith("looked\n")
    assert ("the-callers-secret" in said) == asked


def with_key(life: Life, *args: str) -> None:
    """Run the program in a session whose keyring holds a key."""
    command = [sys.executable, str(CALLER), life.runjail.program, "--root", str(life.runjail.root), *args]
    subprocess.run(command, check=True, timeout=200, stdin=subprocess.DEVNULL)


def test_the_terminal_of_the_caller(life: Life) -> None:
    """A hook in the session of `start` would reach its terminal as /dev/tty, and type into it with TIOCSTI."""
    look = "echo got me >/dev/tty && echo opened >/tmp/tried || echo refused >/tmp/tried"
    life.bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", look]}]}
    life.create("/bin/sleep", "600")
    said = on_a_terminal("sh", "-c", "echo control >/dev/tty; exec \"$@\"", "sh", life.runjail.program, "--root",
                         str(life.runjail.root), "start", "c")  # fmt: skip

    assert "control" in said
    assert outcome(life) == "refused"
    assert "got me" not in said


def on_a_terminal(*command: str) -> str:
    """Run a command that controls a terminal. Returns what is shown there."""
    import pty

    pid, master = pty.fork()
    if not pid:
        os.execvp(command[0], command)
    shown = b""
    try:
        while block := os.read(master, 4096):
            shown += block
    except OSError:  # EIO: everybody has closed it
        pass
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown
    return shown.decode(errors="replace")
