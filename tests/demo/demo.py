"""make demo: one container from create to delete, then an encrypted image to a container, explained step by step.

Where no containers can be made it shows all that needs none, and ends with a box that names the missing right. Each
demo lives in a directory of its own below .demo/, removed afterwards. Ends with 1 as soon as a step does not do what
is said of it.
"""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, TOP)

# This program may be started from anywhere.
from tests.demo import image_story  # noqa: E402
from tests.demo.output import (  # noqa: E402
    DEMO,
    DEMOS,
    PROGRAM,
    STATE,
    Failed,
    expect,
    host_state,
    run,
    runjail,
    short,
    show,
)
from tests.support.leftovers import Leftovers  # noqa: E402
from tests.support.machine_root import make_root, missing  # noqa: E402

FREEBSD = sys.platform.startswith("freebsd")
ORDINARY = sys.platform == "linux" and os.geteuid() != 0  # who runs containers in user namespaces
BUNDLE = os.path.join(DEMO, "hello")
OUTPUT = os.path.join(DEMO, "output")
ID = f"demo-{os.getpid()}"
INSTALL = "apt-get install busybox-static, or another static busybox at /bin/busybox"
REMEDIES = (
    "Run instead: sudo make demo; or, in a container: docker run --privileged, podman run --privileged.",
    "`.venv/bin/runjail check` shows each right, whether this machine gives it, and what would.",
    "On FreeBSD: root is enough, in a jail one that may have children (children.max, allow.mount).",
)


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
    rootfs = os.path.join(BUNDLE, "rootfs")
    if missing():
        os.makedirs(os.path.join(rootfs, "etc"))
        shutil.copy(os.path.join(TOP, "README.md"), os.path.join(rootfs, "etc", "motd"))
    else:
        make_root(rootfs)
    if ORDINARY:
        add_user_namespace(os.path.join(BUNDLE, "config.json"))


def add_user_namespace(path: str) -> None:
    """Let a config.json have a user namespace with the one id that everybody may map, the own one."""
    config = json.loads(read(path))
    kinds = ("user", "pid", "mount", "uts", "ipc")
    config.setdefault("linux", {})["namespaces"] = [{"type": kind} for kind in kinds]
    for key, own in (("uidMappings", os.geteuid()), ("gidMappings", os.getegid())):
        config["linux"][key] = [{"containerID": 0, "hostID": own, "size": 1}]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)


def create() -> None:
    """`create` as an engine calls it: its standard streams become the container's."""
    command = ["create", "--bundle", BUNDLE, "--pid-file", os.path.join(DEMO, "pid"), ID]
    print(f"  $ runjail {short(shlex.join(command))} >.demo/output 2>&1", flush=True)
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
    """Show the container with the system's own tools. Returns the uts namespace of its processes (Linux)."""
    if FREEBSD:
        run("jls", "-j", ID, "jid", "name", "host.hostname", "path")
        run("ps", "-o", "pid,jid,state,command", "-J", ID)
        return ""
    kinds = ["pid", "mnt", "uts", "ipc", "net"]
    run("readlink", *[f"/proc/{pid}/ns/{kind}" for kind in kinds])
    own = [kind for kind in kinds if os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")]
    print(f"    of its own: {' '.join(own)}; shared with the host: {' '.join(set(kinds) - set(own)) or 'none'}")
    expect({"pid", "mnt", "uts"} <= set(own), "the container shares the host's processes, mounts or name")
    os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY)  # stays open: nobody else's can have its number
    return os.readlink(f"/proc/{pid}/ns/uts")


def left_behind(namespace: str) -> list[str]:
    """Return what of the container is still there."""
    left = Leftovers(DEMO).find() + [f"state of {name}" for name in os.listdir(STATE)]
    for number in filter(str.isdigit, os.listdir("/proc") if namespace else []):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{number}/ns/uts") == namespace:
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
    namespace = "" if ORDINARY else look_from_outside(pid)

    show("state: 'created'. The pid is that of the parked process, the same as in the pid file.")
    runjail("state", ID)
    expect(state()["status"] == "created" and state()["pid"] == pid, "not created with that pid")
    warned = read(OUTPUT)
    expect(all(" level=warning " in line for line in warned.splitlines()), "the program ran before start")
    if warned:
        show("create has warned of what this machine does not give, also with runjail check:")
        run("cat", OUTPUT)

    show("start opens the gate: the parked process becomes the program, which writes to what was create's output.")
    runjail("start", ID)
    wait_for("running")
    end = time.monotonic() + 120
    while read(OUTPUT) == warned:
        expect(time.monotonic() < end, "the program says nothing")
        time.sleep(0.02)
    run("cat", OUTPUT)
    expect(state()["pid"] == pid, "the pid changed")
    if ORDINARY:  # only now it lets us look
        namespace = look_from_outside(pid)

    show("exec runs another program in the same container: with its host name and its root directory.")
    said = runjail("exec", ID, "/bin/sh", "-c", "hostname; id; ls /; echo this shell is process $$")
    expect(said.split("\n")[0] != os.uname().nodename, "the container has the host's name")

    show("ps lists the container's processes with the host's process ids.")
    form = () if find_spec("psutil") else ("-f", "json")
    expect(str(pid) in runjail("ps", *form, ID), "init is not in the list")

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


def without_containers() -> None:
    """What needs no rights: config.json is checked, and turned into a plan for either system."""
    show("A bundle: config.json from bundles/hello and a root file system of this machine's own static programs.")
    make_bundle()
    show("validate explains all that is wrong with a config.json. Nothing is, here.")
    runjail("validate", "--bundle", BUNDLE)
    show("plan prints what create would do on FreeBSD: a jail, mounts, limits.")
    runjail("plan", "--bundle", BUNDLE, "--os", "freebsd", ID, lines=20)
    show("The same for Linux: namespaces, mounts, control groups.")
    linux = os.path.join(TOP, "bundles", "linux")
    runjail("plan", "--bundle", linux, "--os", "linux", ID, lines=20)


def ask_plugins() -> None:
    """Configure a plugin that comes with runjail, and call it with a sample request."""
    show("NRI plugins may decide about CPUs and memory before a program starts. One that comes with runjail answers:")
    plugins = os.path.join(TOP, ".venv", "libexec", "runjail", "nri")
    configuration = os.path.join(DEMO, "nri")
    os.makedirs(configuration)
    with open(os.path.join(configuration, "conf.json"), "w", encoding="utf-8") as file:
        json.dump({"version": "0.1", "plugins": [{"type": "clearcfs"}]}, file)
    settings = os.path.join(DEMO, "runjail.toml")
    with open(settings, "w", encoding="utf-8") as file:
        file.write(f'[nri]\nconfig = "{configuration}"\nbin = "{plugins}"\n')
    os.environ["RUNJAIL_CONFIG"] = settings
    try:
        runjail("nri", "check")
    finally:
        del os.environ["RUNJAIL_CONFIG"]


def lacking() -> str:
    """Return what keeps containers from running here, "" when they can: what `runjail check` says."""
    if reason := missing():
        return f"{reason}: {INSTALL}"
    if ORDINARY and subprocess.run(["unshare", "-Urmpf", "true"], check=False, capture_output=True).returncode == 0:
        return ""
    done = subprocess.run([PROGRAM, "check", "-f", "json"], check=False, capture_output=True, text=True, timeout=60)
    rows = {row["what"].partition(":")[0]: row for row in json.loads(done.stdout)}
    for what in ("user namespaces", "root") if ORDINARY else ("root", "namespaces", "mounts"):
        if what in rows and not rows[what]["works"]:
            return f"{what}: {rows[what]['found']}; {rows[what]['remedy']}"
    return ""


def remedies(lack: str) -> tuple[str, ...]:
    """Return what to do; more rights are no remedy for a program that is missing."""
    return REMEDIES[1:] if lack.endswith(INSTALL) else REMEDIES


def clean_up(base: str) -> None:
    """Remove a demo's directory and all that an aborted one may have left running."""
    state_root = os.path.join(base, "state")
    for name in os.listdir(state_root) if os.path.isdir(state_root) else ():
        subprocess.run([PROGRAM, "--root", state_root, "delete", "--force", name], check=False, capture_output=True)
    leftovers = Leftovers(base)
    leftovers.sweep()
    leftovers.release_interpreter()
    mounts = leftovers.mounts(base)
    if mounts:  # removing the directory would reach through them
        raise SystemExit(f"cannot unmount {' '.join(mounts)}")
    shutil.rmtree(base, ignore_errors=True)


def make_room() -> None:
    """Make this demo's directory, and take away what others left that were killed."""
    os.makedirs(DEMOS, exist_ok=True)
    for name in os.listdir(DEMOS):
        if Leftovers(os.path.join(DEMOS, name)).abandoned():
            clean_up(os.path.join(DEMOS, name))
    os.makedirs(DEMO)
    Leftovers(DEMO).claim()


def tell(lack: str) -> None:
    """Tell all that this machine can show."""
    if lack:
        show(f"This machine lets us make no containers ({lack.partition(';')[0]}). What needs none works all the same.")
        without_containers()
    else:
        steps()
    ask_plugins()
    image_story.tell(os.path.join(BUNDLE, "rootfs"), containers=not (lack or ORDINARY))


def main() -> int:
    """Run the demonstration; the exit status says whether every step did what is said of it."""
    begun = time.monotonic()
    make_room()
    try:
        lack = lacking()
        tell(lack)
    except (Failed, subprocess.SubprocessError, OSError, ValueError) as error:
        print(f"\nmake demo FAILED: {error}", file=sys.stderr)
        return 1
    finally:
        clean_up(DEMO)
    if lack:
        host_state(f"Not shown: containers. {lack[:1].upper()}{lack[1:]}.", *remedies(lack))
    else:
        show("`.venv/bin/runjail plan -b bundles/hello` prints what create does to the system, as commands.")
    show(f"Done in {time.monotonic() - begun:.0f} s.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
