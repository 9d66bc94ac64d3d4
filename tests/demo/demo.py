"""make demo: one container from create to delete, then an encrypted image to a container, explained step by step.

Everything lives in .demo/, which is made anew and removed afterwards. Ends with 1 as soon as a step does not do what is
said of it.
"""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, TOP)

# This program may be started from anywhere.
from tests.demo import image_story  # noqa: E402
from tests.demo.leftovers import Leftovers  # noqa: E402
from tests.demo.machine_root import make_root, missing  # noqa: E402
from tests.demo.telling import DEMO, PROGRAM, STATE, Failed, expect, run, runjail, show  # noqa: E402

FREEBSD = sys.platform.startswith("freebsd")
BUNDLE = os.path.join(DEMO, "hello")
OUTPUT = os.path.join(DEMO, "output")
ID = "demo-hello"


def state() -> dict[str, object]:
    """Return the state document, without showing it."""
    command = [PROGRAM, "--root", STATE, "state", ID]
    document: dict[str, object] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return document


def wait_for(status: str, seconds: float = 10) -> None:
    """Wait until the container has this status."""
    end = time.monotonic() + seconds
    while state()["status"] != status:
        expect(time.monotonic() < end, f"the container is {state()['status']}, not {status}")
        time.sleep(0.02)


def make_bundle() -> None:
    """Put bundles/hello and a root file system together in .demo/hello."""
    shutil.copytree(os.path.join(TOP, "bundles", "hello"), BUNDLE)
    make_root(os.path.join(BUNDLE, "rootfs"))


def create() -> None:
    """`create` as an engine calls it: its standard streams become the container's."""
    command = ["create", "--bundle", ".demo/hello", "--pid-file", ".demo/pid", ID]
    print(f"  $ runjail {shlex.join(command)} >.demo/output 2>&1", flush=True)
    with open(OUTPUT, "wb") as output:
        done = subprocess.run(
            [PROGRAM, "--root", STATE, *command],
            cwd=TOP,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    if done.returncode:
        raise Failed(read(OUTPUT))


def read(path: str) -> str:
    """Return a text file."""
    with open(path, encoding="utf-8") as file:
        return file.read()


def look_from_outside(pid: int) -> str:
    """Show the container with the system's own tools. Returns what its processes have in common (Linux)."""
    if FREEBSD:
        run("jls", "-j", ID, "jid", "name", "host.hostname", "path")
        run("ps", "-o", "pid,jid,state,command", "-J", ID)
        return ""
    kinds = ["pid", "mnt", "uts", "ipc", "net"]
    run("readlink", *[f"/proc/{pid}/ns/{kind}" for kind in kinds])
    own = [kind for kind in kinds if os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")]
    print(f"    of its own: {' '.join(own)}; shared with the host: {' '.join(set(kinds) - set(own)) or 'none'}")
    expect({"pid", "mnt"} <= set(own), "the container shares the host's processes or mounts")
    return os.readlink(f"/proc/{pid}/ns/mnt")


def left_behind(namespace: str) -> list[str]:
    """Return what of the container is still there."""
    left = Leftovers(DEMO).find() + [f"state of {name}" for name in os.listdir(STATE)]
    for number in filter(str.isdigit, os.listdir("/proc") if namespace else []):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{number}/ns/mnt") == namespace:
                left.append(f"process {number}")
    return left


def steps() -> None:
    """The demonstration."""
    show("A bundle: config.json from bundles/hello and a root file system of this machine's own static programs.")
    make_bundle()
    run("ls", os.path.join(BUNDLE), os.path.join(BUNDLE, "rootfs"))

    show("create makes everything the container needs and parks its first process before the program.")
    create()
    pid = int(read(os.path.join(DEMO, "pid")))
    namespace = look_from_outside(pid)

    show("state: 'created'. The pid is that of the parked process, the same as in the pid file.")
    runjail("state", ID)
    expect(state()["status"] == "created" and state()["pid"] == pid, "not created with that pid")
    expect(read(OUTPUT) == "", "the program ran before start")

    show("start opens the gate: the parked process becomes the program, which writes to what was create's output.")
    runjail("start", ID)
    wait_for("running")
    end = time.monotonic() + 10
    while not read(OUTPUT):
        expect(time.monotonic() < end, "the program says nothing")
        time.sleep(0.02)
    run("cat", OUTPUT)
    expect(state()["pid"] == pid, "the pid changed")

    show("exec runs another program in the same container: with its host name and its root directory.")
    said = runjail("exec", ID, "/bin/sh", "-c", "hostname; id; ls /; echo this shell is process $$")
    expect(said.split("\n")[0] != os.uname().nodename, "the container has the host's name")

    show("ps lists the container's processes with the host's process ids.")
    expect(str(pid) in runjail("ps", ID), "init is not in the list")

    show("kill sends a signal to the first process, here one that cannot be ignored.")
    runjail("kill", ID, "KILL")
    wait_for("stopped")
    runjail("state", ID)

    show("delete takes back what create made: processes, mounts, jail or namespaces, limits, and last the state.")
    runjail("delete", ID)
    expect(ID not in runjail("list", "-q"), "still in the list")
    left = left_behind(namespace)
    expect(not left, f"left behind: {', '.join(left)}")
    print("    left behind: nothing")


def clean_up() -> None:
    """Remove .demo and what an aborted demo may have left running."""
    if os.path.isdir(STATE):
        subprocess.run([PROGRAM, "--root", STATE, "delete", "--force", ID], check=False, capture_output=True)
    Leftovers(DEMO).sweep()
    mounts = Leftovers(DEMO).mounts(DEMO)
    if mounts:  # removing the directory would reach through them
        raise SystemExit(f"cannot unmount {' '.join(mounts)}")
    shutil.rmtree(DEMO, ignore_errors=True)


def main() -> int:
    """Run the demonstration; the exit status says whether every step did what is said of it."""
    if os.geteuid():
        print("make demo makes a container, which takes root: run it as root", file=sys.stderr)
        return 1
    if reason := missing():
        print(f"make demo: {reason}", file=sys.stderr)
        return 1
    clean_up()
    os.makedirs(DEMO)
    try:
        steps()
        image_story.tell(os.path.join(BUNDLE, "rootfs"))
    except (Failed, subprocess.SubprocessError, OSError, ValueError) as error:
        print(f"\nmake demo FAILED: {error}", file=sys.stderr)
        return 1
    finally:
        clean_up()
    show("Done. `.venv/bin/runjail plan -b bundles/hello` prints what create does to the system, as commands.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
