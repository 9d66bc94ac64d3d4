"""What a pod of many containers costs with our shim, next to io.containerd.runc.v2, and what a shim keeps.

One containerd, the same root file system, in turns: a container that stands for the pod's sandbox, then all others of
the pod, so many at the same time as there are processors, then the removal of all by one `ctr task delete --force`.
Milliseconds are wall clock from the first to the last of them, without the sandbox. Memory is the proportional share
of anonymous pages of the shim's process, with the pod and with its sandbox alone; the difference by containers is what
one costs.

With --after N our shim for a whole namespace then runs N containers one after the other; its memory and descriptors
must stay as they are.
"""

import argparse
import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, TOP)

from tests.bench.results import document  # noqa: E402  # this program may be started from anywhere
from tests.bench.shim import NEEDED, RUNTIMES, SHARED, one  # noqa: E402
from tests.bench.workplace import lacks_program, lacks_root, workplace  # noqa: E402
from tests.support.leftovers import Leftovers  # noqa: E402
from tests.support.machine_root import make_root  # noqa: E402
from tests.support.peers.shims import Containerd  # noqa: E402

START, REMOVAL, IDLE = "start of a pod", "its removal", "memory of one, kB"
GOAL = 0.7  # of the time with runc's shim
IDLE_KB = 100.0  # goal: what an idle container costs a shim
FLAT_MB = 2.0  # goal: what a shim may differ by after many containers
POD = "io.kubernetes.cri.sandbox-id"
LOOKS = 20  # at the memory of a shim that runs many containers
Rows = dict[str, dict[str, list[float]]]  # by what was measured and runtime


def share(pid: int) -> float:
    """Return what a process has of memory that is no file's, in kB: shares of files depend on who else has them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))


def shim_of(ctr: Containerd, id: str) -> int:
    """Return the pid of the shim of a running container: the parent of its init, with either shim."""
    lines = Path(f"/proc/{ctr.tasks()[id][0]}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("PPid:"))


def start_pod(ctr: Containerd, name: str, size: int) -> dict[str, float]:
    """Start a pod and remove it. Returns milliseconds, and kB that a container costs its shim."""
    ctr.runtime, pod = RUNTIMES[name], f"pod-{name}"
    ids = [f"{pod}-{number}" for number in range(size)]

    def start(id: str) -> None:
        ctr.ok(*ctr.words(f"-d --annotation {POD}={pod} {id}", "/bin/sleep", "600"))

    start(pod)
    pid = shim_of(ctr, pod)
    before, begun = share(pid), time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as several:
        list(several.map(start, ids))
    started = time.perf_counter()
    after = share(pid)
    ctr.ok("task", "delete", "--force", *ids)
    removed = time.perf_counter()
    ctr.ok("container", "rm", *ids)
    ctr.remove(pod)
    return {
        START: (started - begun) * 1000,
        REMOVAL: (removed - started) * 1000,
        IDLE: (after - before) / size,
    }


def measure(ctr: Containerd, rounds: int, size: int) -> Rows:
    """Let both take turns."""
    rows: Rows = {}
    for name in RUNTIMES:
        one(ctr, name, "warm-up")
    for _ in range(rounds):
        for name in RUNTIMES:
            for what, value in start_pod(ctr, name, size).items():
                rows.setdefault(what, {}).setdefault(name, []).append(value)
    return rows


def run_many(ctr: Containerd, count: int) -> list[tuple[int, float, int]]:
    """Run so many containers under one shim. Returns how many there were, its MB and descriptors, now and then."""
    ctr.runtime = RUNTIMES["runjail"]
    ctr.ok(*ctr.words("-d first", "/bin/sleep", "86400"))
    pid, seen = shim_of(ctr, "first"), []
    for number in range(count + 1):
        if number % max(count // LOOKS, 1) == 0:
            seen.append((number, share(pid) / 1024, len(os.listdir(f"/proc/{pid}/fd"))))
        one(ctr, "runjail", f"many-{number}")
    return seen


def report(rows: Rows, seen: list[tuple[int, float, int]]) -> None:
    """Print medians, their ratio and the goals."""
    medians = {what: {name: statistics.median(times[name]) for name in RUNTIMES} for what, times in rows.items()}
    print(f"{'medians':<26}" + "".join(f"{name:>12}" for name in RUNTIMES) + f"{'ratio':>8}")
    for what, found in medians.items():
        cells = "".join(f"{found[name]:>12.1f}" for name in RUNTIMES)
        print(f"{what:<26}{cells}{found['runjail'] / found['runc']:>8.2f}")
    print()
    ratio = medians[START]["runjail"] / medians[START]["runc"]
    judge(ratio <= GOAL, f"{START} takes {ratio:.2f} of the time with runc's shim; the goal is {GOAL}")
    idle = medians[IDLE]["runjail"]
    judge(idle <= IDLE_KB, f"an idle container costs {idle:.0f} kB; the goal is {IDLE_KB:.0f}")
    for number, megabytes, descriptors in seen:
        print(f"after {number:>6} containers: {megabytes:.2f} MB, {descriptors} descriptors")
    if seen:  # the first look is at a shim that has not yet loaded all
        moved = seen[-1][1] - seen[1][1]
        judge(abs(moved) <= FLAT_MB, f"its memory moved by {moved:+.2f} MB; the goal is {FLAT_MB} at most")


def judge(met: bool, text: str) -> None:
    """Print whether a goal is met."""
    print(f"{'pass' if met else 'MISS'}: {text}")


def main() -> int:
    """Measure and print; 1 only when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="pods with each shim (default: 3)")
    parser.add_argument("--size", type=int, default=100, help="containers of a pod (default: 100)")
    parser.add_argument("--after", type=int, default=0, help="containers one after the other (default: none)")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON instead")
    options = parser.parse_args()
    if lacks_root("bench of a pod") or lacks_program("bench of a pod", NEEDED):
        return 1
    with workplace(silent=options.json) as ours:
        compare(ours, options)
    return 0


def compare(ours: Leftovers, options: argparse.Namespace) -> None:
    """Measure under two daemons, with a shim for each pod and with one for all, and print it."""
    directory, daemons = Path(ours.base), list[Containerd]()
    try:
        make_root(str(directory / "rootfs"))
        for name, settings in (("own", ""), ("shared", SHARED)):
            (directory / name).mkdir()
            daemons.append(Containerd(directory / name, directory / "rootfs", ours, settings=settings))
        rows = measure(daemons[0], options.rounds, options.size)
        seen = run_many(daemons[1], options.after) if options.after else []
        if options.json:
            print(json.dumps({**document(rows, options.rounds), "after": seen}, indent=1))
        else:
            report(rows, seen)
    finally:
        for daemon in daemons:
            daemon.remove_everything()
            daemon.end()


if __name__ == "__main__":
    raise SystemExit(main())
