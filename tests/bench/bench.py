"""make bench: what runjail costs next to runc and crun, measured in one run.

All runtimes get the same bundle, the one that `runc spec` writes, and take turns verb by verb, so that whatever else
the machine does hits them alike. Times are wall clock of the called process, started by posix_spawn(3) with /dev/null
for standard input and output. Goals are judged by medians: create, start, kill and delete together at most 1.0 times
runc's and 1.3 times crun's, and the removal of many running ones at most 0.8 times runc's. A missed goal is printed
and is no failure: machines differ. Where there is no runc, as on FreeBSD, times are divided by that of
`python3 -IS -c pass`, the start of the bare interpreter: that says the same on a fast machine and in an emulator.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from typing import Any

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, TOP)

from tests.bench.results import add_options, changes, document  # noqa: E402
from tests.bench.workplace import lacks_root, workplace  # noqa: E402  # this program may be started from anywhere
from tests.support.leftovers import Leftovers  # noqa: E402
from tests.support.machine_root import make_root  # noqa: E402

FREEBSD = sys.platform.startswith("freebsd")
RUNJAIL = os.path.join(TOP, ".venv", "bin", "runjail")
LIFE = ("create", "start", "kill", "delete")
WHOLE, REMOVAL = "+".join(LIFE), "delete --force, running"
GOALS = {(WHOLE, "runc"): 1.0, (WHOLE, "crun"): 1.3, (REMOVAL, "runc"): 0.8}  # of the peer's time
BARE = "python3 -IS -c pass"
ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class Refused(Exception):
    """A runtime failed; the text is what it said."""


class Runtime:
    """One runtime with a state directory and bundle of its own. times: milliseconds by what was measured."""

    def __init__(self, name: str, path: str, directory: str, ours: Leftovers) -> None:
        self.name, self.path, self._ours = name, path, ours
        self.state, self.bundle = os.path.join(directory, name), os.path.join(directory, f"{name}-bundle")
        self._errors = os.path.join(directory, f"{name}-errors")
        self.times: dict[str, list[float]] = {}
        self.peak = self.parked = 0
        os.makedirs(self.state)

    def words(self, verb: str, *args: str) -> list[str]:
        """Return a whole command line."""
        return [self.path, "--root", self.state, verb, *args]

    def call(self, what: str, words: list[str]) -> None:
        """Run a command and keep its time as `what`. Raises Refused."""
        begun = time.perf_counter()
        pid = self.spawn(words)
        status = os.waitpid(pid, 0)[1]
        self.times.setdefault(what, []).append((time.perf_counter() - begun) * 1000)
        if status:
            with open(self._errors, encoding="utf-8", errors="replace") as said:
                raise Refused(f"{self.name} {words[3]}: {said.read().strip()}")

    def spawn(self, words: list[str]) -> int:
        """Start a command. Returns its pid."""
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, self._errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]
        return os.posix_spawn(words[0], words, ENV, file_actions=actions)

    def verb(self, verb: str, id: str, what: str = "") -> None:
        """Run one verb of a container's life; after `kill`, wait for the death, which is not measured."""
        if verb == "create":
            self.configure(id)
        more = {"create": ["--bundle", self.bundle, "--pid-file", self._pid_file()]}.get(verb, [])
        self.call(what or verb, self.words(verb, *more, id, *(["KILL"] if verb == "kill" else [])))
        if verb == "kill":
            wait_for_death(self.pid())

    def configure(self, id: str) -> None:
        """Write config.json: as `spec` made it, with a process that sleeps and a control group of its own."""
        with open(os.path.join(self.bundle, "spec.json"), encoding="utf-8") as file:
            config: dict[str, Any] = json.load(file)
        mark = f"{self._ours.MARK}={self._ours.base}"
        config["process"] |= {"terminal": False, "args": ["/bin/sleep", "600"], "env": ["PATH=/bin", mark]}
        if "linux" in config:
            config["linux"]["cgroupsPath"] = f"/{self._ours.group}/{self.name}-{id}"
        with open(os.path.join(self.bundle, "config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)

    def prepare(self) -> None:
        """Make the bundle. `spec` is runc's own wherever there is a runc."""
        make_root(os.path.join(self.bundle, "rootfs"))
        spec = [shutil.which("runc") or RUNJAIL, "spec", "--bundle", self.bundle]
        subprocess.run(spec, check=True, env=ENV, timeout=60)
        os.rename(os.path.join(self.bundle, "config.json"), os.path.join(self.bundle, "spec.json"))

    def weigh(self) -> None:
        """Measure memory: the peak of `create`, and what init holds while it waits for `start`. In kilobytes."""
        self.configure("weight")
        called = self.spawn(self.words("create", "--bundle", self.bundle, "--pid-file", self._pid_file(), "weight"))
        while peak := memory(called, "VmHWM"):  # it only grows, so the last look before the end is the peak
            self.peak = peak
        os.waitpid(called, 0)
        self.parked = memory(self.pid(), "VmRSS")
        self.verb("delete", "weight", "-")

    def pid(self) -> int:
        """Return the pid of the container that was created last."""
        with open(self._pid_file(), encoding="ascii") as file:
            return int(file.read())

    def _pid_file(self) -> str:
        return os.path.join(self.bundle, "pid")

    def sums(self) -> list[float]:
        """Return the times of whole lives."""
        return list(map(sum, zip(*(self.times[verb] for verb in LIFE), strict=True)))

    def remove_everything(self) -> None:
        """Delete what an interrupted run left."""
        for id in os.listdir(self.state):
            subprocess.run([*self.words("delete", "--force"), id], check=False, capture_output=True, timeout=60)


def memory(pid: int, kind: str) -> int:
    """Return kilobytes from /proc/PID/status, 0 for a process that has ended and on systems without it."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(kind)), 0)
    except OSError:
        return 0


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
        time.sleep(0.001)


def able(runtimes: list[Runtime]) -> list[Runtime]:
    """Warm up; a peer that does not work on this machine is named and left out."""
    found = []
    for runtime in runtimes:
        try:
            for verb in LIFE:
                runtime.verb(verb, "warm-up")
        except Refused as error:
            if runtime is runtimes[0]:
                raise
            print(f"left out: {error}\n", file=sys.stderr)
            continue
        runtime.times.clear()
        found.append(runtime)
    return found


def take_turns(runtimes: list[Runtime], rounds: int, *verbs: str, id: str = "", what: str = "") -> None:
    """Let each runtime run each verb, in turns, once a round; each round has a container of its own unless `id`."""
    for number in range(rounds):
        for verb in verbs:
            for runtime in runtimes:
                runtime.verb(verb, id or f"bench-{number}", what)


def measure(runtimes: list[Runtime], rounds: int) -> None:
    """Measure --version, whole lives, the state of a running container, and memory."""
    for _ in range(rounds):
        runtimes[0].call(BARE, [os.path.realpath(sys.executable), "-IS", "-c", "pass"])
        for runtime in runtimes:
            runtime.call("--version", [runtime.path, "--version"])
    take_turns(runtimes, rounds, *LIFE)
    take_turns(runtimes, 1, "create", "start", id="probe", what="-")
    take_turns(runtimes, rounds * 3, "state", id="probe")
    take_turns(runtimes, 1, "kill", "delete", id="probe", what="-")
    for runtime in runtimes:
        runtime.weigh()


def crowd(runtimes: list[Runtime], count: int) -> None:
    """Create and start many containers next to each other, list them, remove them."""
    for number in range(count):
        take_turns(runtimes, 1, "create", id=f"crowd-{number}", what="crowd")
        take_turns(runtimes, 1, "start", id=f"crowd-{number}", what="-")
    for runtime in runtimes:
        runtime.call("list", runtime.words("list"))
    for number in range(count):
        for runtime in runtimes:
            runtime.call("remove", runtime.words("delete", "--force", f"crowd-{number}"))


def measured_rows(runtimes: list[Runtime], count: int) -> dict[str, dict[str, list[float]]]:
    """Return the times of everything that was measured, by what and by runtime."""
    rows = {what: {each.name: each.times[what] for each in runtimes} for what in ("--version", "state", *LIFE)}
    rows[WHOLE] = {each.name: each.sums() for each in runtimes}
    if count:
        tenth = max(count // 10, 1)
        rows[f"create, the first {tenth}"] = {each.name: each.times["crowd"][:tenth] for each in runtimes}
        rows[f"create, last {tenth} of {count}"] = {each.name: each.times["crowd"][-tenth:] for each in runtimes}
        rows[f"list of {count}"] = {each.name: each.times["list"] for each in runtimes}
        rows[REMOVAL] = {each.name: each.times["remove"] for each in runtimes}
    return rows


def report(runtimes: list[Runtime], count: int) -> None:
    """Print minimum, median and the ratio of medians for everything that was measured, then the goals."""
    ours, *others = runtimes
    print(f"{'':<26}" + "".join(f"{runtime.name:>20}" for runtime in runtimes))
    start = statistics.median(ours.times[BARE])
    ratios = "".join(f"{'/ ' + other.name:>10}" for other in others) or f"{'/ start':>10}"
    print(f"{'milliseconds':<26}" + f"{'min':>10}{'median':>10}" * len(runtimes) + ratios)
    rows = {} if others else {BARE: [ours.times[BARE]]}
    rows |= {what: list(by_name.values()) for what, by_name in measured_rows(runtimes, count).items()}
    for what, measured in rows.items():
        medians = list(map(statistics.median, measured))
        cells = "".join(f"{min(times):>10.1f}{statistics.median(times):>10.1f}" for times in measured)
        compared = medians[1:] if others else [start]
        print(f"{what:<26}{cells}" + "".join(f"{medians[0] / median:>10.2f}" for median in compared))
    print_memory("create, peak MB", [runtime.peak for runtime in runtimes])
    print_memory("init before start, MB", [runtime.parked for runtime in runtimes])
    print()
    for (what, peer), goal in GOALS.items():
        found = {
            runtime.name: statistics.median(times) for runtime, times in zip(runtimes, rows.get(what, []), strict=False)
        }
        if peer in found:
            judge(what, peer, found[ours.name] / found[peer], goal)


def print_memory(what: str, kilobytes: list[int]) -> None:
    """Print one row; 0 was not measured."""
    if all(kilobytes):
        cells = "".join(f"{'':>10}{value / 1024:>10.1f}" for value in kilobytes)
        print(f"{what:<26}{cells}" + "".join(f"{kilobytes[0] / value:>10.2f}" for value in kilobytes[1:]))


def judge(what: str, peer: str, ratio: float, goal: float) -> None:
    """Print whether a goal is met."""
    verdict = "pass" if ratio <= goal else "MISS"
    print(f"{verdict}: {what} takes {ratio:.2f} times as long as {peer}'s; the goal is at most {goal}")


def main() -> int:
    """Measure and print; 1 only when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="lives of a container (default: 30)")
    parser.add_argument("--crowd", type=int, default=200, help="containers side by side, 0 for none (default: 200)")
    add_options(parser)
    options = parser.parse_args()
    if lacks_root("make bench"):
        return 1
    with workplace(silent=options.json) as ours:
        return compare(ours, options)


def compare(ours: Leftovers, options: argparse.Namespace) -> int:
    """Measure the runtimes in a directory of their own and print it. Returns the exit status."""
    rounds, many = options.rounds, options.crowd
    found = {name: shutil.which(name) for name in ("runc", "crun") if not FREEBSD}
    paths = {"runjail": RUNJAIL, **{name: path for name, path in found.items() if path}}
    runtimes = [Runtime(name, path, ours.base, ours) for name, path in paths.items()]
    try:
        for runtime in runtimes:
            runtime.prepare()
        taking_part = able(runtimes)
        measure(taking_part, rounds)
        crowd(taking_part, many)
        show(taking_part, options)
        return 0
    except (Refused, subprocess.SubprocessError) as error:
        print(f"make bench: {error}", file=sys.stderr)
        return 1
    finally:
        for runtime in runtimes:
            runtime.remove_everything()


def show(runtimes: list[Runtime], options: argparse.Namespace) -> None:
    """Print what was measured as the options say."""
    rows = measured_rows(runtimes, options.crowd)
    if options.json:
        print(json.dumps(document({BARE: {"python": runtimes[0].times[BARE]}, **rows}, options.rounds), indent=1))
        return
    report(runtimes, options.crowd)
    print(*(changes(rows, options.compare) if options.compare else []), sep="\n")


if __name__ == "__main__":
    raise SystemExit(main())
