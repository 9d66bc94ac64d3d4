"""make bench: start-up and life cycle next to runc and crun, as ratios.

All runtimes take turns in one run, so that what else the machine does hits them alike; medians are compared. The goal
that decides the exit status: `state` at most 2.5 times runc's, and create, start, kill and delete together at most 1.2
times. On FreeBSD, or without runc, the times are printed alone.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, TOP)

from tests.demo.leftovers import Leftovers  # noqa: E402  # this program may be started from anywhere
from tests.demo.machine_root import make_root, missing  # noqa: E402

FREEBSD = sys.platform.startswith("freebsd")
GOALS = {"state": 2.5, "life": 1.2}
LIFE = ("create", "start", "kill", "delete")


class Refused(Exception):
    """A runtime failed; the text is what it said."""


class Runtime:
    """One runtime with its own state directory and bundle."""

    def __init__(self, name: str, path: str, directory: str) -> None:
        self.name, self.path = name, path
        self.state, self.bundle = os.path.join(directory, name), os.path.join(directory, f"{name}-bundle")
        self.times: dict[str, list[float]] = {}
        os.makedirs(self.state)

    def run(self, verb: str, *args: str) -> None:
        """Run one verb and keep its time in milliseconds. Raises Refused."""
        command = [self.path, "--root", self.state, verb, *args]
        with open(os.path.join(self.state, "..", "errors"), "wb") as errors:
            begun = time.perf_counter()
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, check=False
            )
            self.times.setdefault(verb, []).append((time.perf_counter() - begun) * 1000)
        if done.returncode:
            with open(errors.name, encoding="utf-8", errors="replace") as said:
                raise Refused(f"{self.name} {verb}: {said.read().strip()}")

    def live(self, id: str) -> None:
        """One life of a container; waiting for its death is not measured."""
        pid_file = os.path.join(self.bundle, "pid")
        self.run("create", "--bundle", self.bundle, "--pid-file", pid_file, id)
        self.run("start", id)
        self.run("kill", id, "KILL")
        with open(pid_file, encoding="ascii") as file:
            wait_for_death(int(file.read()))
        self.run("delete", id)

    def median(self, what: str) -> float:
        """Return the median of one verb, or of a whole life."""
        if what == "life":
            return statistics.median(map(sum, zip(*(self.times[verb] for verb in LIFE), strict=True)))
        return statistics.median(self.times[what])


def wait_for_death(pid: int) -> None:
    """Wait until a process is gone or a zombie."""
    for _ in range(2000):
        try:
            os.kill(pid, 0)
            if not FREEBSD:
                with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                    if file.read().rpartition(")")[2].split()[0] in "ZX":
                        return
        except OSError:
            return
        time.sleep(0.005)


def config(name: str, ours: Leftovers) -> dict[str, object]:
    """Return a config.json that all runtimes take: one sleeping process with /proc and /dev."""
    document: dict[str, object] = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/sleep", "600"],
            "env": ["PATH=/bin", f"{ours.MARK}={ours.base}"],
            "cwd": "/",
        },
        "root": {"path": "rootfs"},
        "hostname": "bench",
        "mounts": [{"destination": "/dev", "type": "devfs", "source": "devfs", "options": ["ruleset=4"]}],
    }
    if not FREEBSD:
        document["mounts"] = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        ]
        document["linux"] = {
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "uts", "ipc")],
            "cgroupsPath": f"/{ours.group}-{name}",
        }
    return document


def able(runtimes: list[Runtime]) -> list[Runtime]:
    """Warm up; a peer that does not work on this machine is named and left out."""
    found = []
    for runtime in runtimes:
        try:
            runtime.live("warm-up")
        except Refused as error:
            if runtime is runtimes[0]:
                raise
            print(f"left out: {error}")
            continue
        runtime.times.clear()
        found.append(runtime)
    return found


def measure(runtimes: list[Runtime], rounds: int) -> None:
    """Let all runtimes take turns."""
    for number in range(rounds):
        for runtime in runtimes:
            runtime.live(f"bench-{number}")
    for runtime in runtimes:
        runtime.run("create", "--bundle", runtime.bundle, "probe")
    for _ in range(rounds * 2):
        for runtime in runtimes:
            runtime.run("state", "probe")
    for runtime in runtimes:
        del runtime.times["create"][-1]
        times = runtime.times
        runtime.times = {}
        runtime.run("delete", "--force", "probe")
        runtime.times = times


def report(runtimes: list[Runtime]) -> bool:
    """Print medians and ratios. Returns whether the goals are met."""
    met = True
    columns = ("state", *LIFE, "life")
    print(f"{'ms, median':<12}" + "".join(f"{column:>10}" for column in columns))
    for runtime in runtimes:
        print(f"{runtime.name:<12}" + "".join(f"{runtime.median(column):>10.1f}" for column in columns))
    ours, *others = runtimes
    for other in others:
        ratios = {column: ours.median(column) / other.median(column) for column in columns}
        print(f"{'/ ' + other.name:<12}" + "".join(f"{ratios[column]:>10.2f}" for column in columns))
        if other.name == "runc":
            for goal, limit in GOALS.items():
                met = met and ratios[goal] <= limit
                print(f"  {goal}: {ratios[goal]:.2f} times runc's, the goal is at most {limit}")
    return met


def main() -> int:
    """Measure and print; 1 when a goal is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    if os.geteuid() or missing():
        print(f"make bench: {missing() or 'it makes containers, which takes root: run it as root'}", file=sys.stderr)
        return 1
    directory = tempfile.mkdtemp(prefix="runjail-bench-")
    ours = Leftovers(directory)
    found = {name: shutil.which(name) for name in ("runc", "crun") if not FREEBSD}
    paths = {
        "runjail": os.path.join(TOP, ".venv", "bin", "runjail"),
        **{name: path for name, path in found.items() if path},
    }
    runtimes = [Runtime(name, path, directory) for name, path in paths.items()]
    try:
        for runtime in runtimes:
            make_root(os.path.join(runtime.bundle, "rootfs"))
            with open(os.path.join(runtime.bundle, "config.json"), "w", encoding="utf-8") as file:
                json.dump(config(runtime.name, ours), file)
        taking_part = able(runtimes)
        measure(taking_part, rounds)
        return 0 if report(taking_part) else 1
    except Refused as error:
        print(f"make bench: {error}", file=sys.stderr)
        return 1
    finally:
        for runtime in runtimes:
            for id in os.listdir(runtime.state):
                subprocess.run(
                    [runtime.path, "--root", runtime.state, "delete", "--force", id], check=False, capture_output=True
                )
        ours.sweep()
        with contextlib.suppress(OSError):
            shutil.rmtree(directory)


if __name__ == "__main__":
    raise SystemExit(main())
