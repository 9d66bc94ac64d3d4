"""What a container of containerd's costs with our shim, next to io.containerd.runc.v2, measured in one run.

One containerd, the same root file system, in turns: `ctr run --rm ... /bin/true`, twenty of them at the same time, an
exec in a running container, and the processor time that everything but ctr has used for one run. Then our shim again
as one for the whole namespace, which is warm from the second container on. Wall clock of ctr; goals are judged by
medians. A missed one is printed and is no failure: machines differ.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, TOP)

from tests.bench.results import add_options, changes, document  # noqa: E402
from tests.bench.workplace import lacks_program, lacks_root, workplace  # noqa: E402  # this program may be started from anywhere
from tests.support.leftovers import Leftovers  # noqa: E402
from tests.support.machine_root import make_root  # noqa: E402
from tests.support.peers.commands import finish, start  # noqa: E402
from tests.support.peers.shims import SHIM, Containerd  # noqa: E402

RUNTIMES = {"runjail": "io.containerd.runjail.v1", "runc": "io.containerd.runc.v2"}
SHARED = '[shim]\nshare = "namespace"\n'
AT_ONCE = 20
GOALS = {"run --rm true": 0.7, f"{AT_ONCE} at once": 0.8, "task exec true": 0.4}  # of the time with runc's shim
NEEDED = ("containerd", "ctr", "runc", "containerd-shim-runc-v2", str(SHIM))
ACCOUNTING = "/sys/fs/cgroup/cpuacct"

Times = dict[str, list[float]]  # milliseconds by runtime


def timed(ctr: Containerd, command: list[str]) -> float:
    """Run one command. Returns its milliseconds.

    Without a time limit: with one, subprocess looks only every 50 ms whether the program has ended.
    """
    begun = time.perf_counter()
    process = subprocess.Popen([*ctr.command, *command], env=ctr.env, stdin=subprocess.DEVNULL)
    code = process.wait()
    spent = (time.perf_counter() - begun) * 1000
    assert code == 0, command
    return spent


def one(ctr: Containerd, name: str, id: str) -> float:
    """Run /bin/true in a container with one of the runtimes."""
    ctr.runtime = RUNTIMES[name]
    return timed(ctr, ctr.words(f"--rm {id}", "/bin/true"))


def many(ctr: Containerd, name: str, count: int) -> float:
    """Run it `count` times at the same time."""
    ctr.runtime = RUNTIMES[name]
    begun = time.perf_counter()
    words = [[*ctr.command, *ctr.words(f"--rm many-{number}", "/bin/true")] for number in range(count)]
    for done in [finish(process) for process in [start(each, ctr.env) for each in words]]:
        assert done.code == 0, done
    return (time.perf_counter() - begun) * 1000


class Processor:
    """Processor time of a containerd and all that it starts, where this machine counts it (control groups v1)."""

    def __init__(self, ctr: Containerd) -> None:
        self._group = f"{ACCOUNTING}/{ctr.ours.group}-bench"
        self.counted = os.path.isdir(ACCOUNTING)
        if self.counted:
            os.makedirs(self._group, exist_ok=True)
            for thread in os.listdir(f"/proc/{ctr.process.pid}/task"):
                Path(f"{self._group}/tasks").write_text(thread, encoding="ascii")

    def used(self) -> float:
        """Return milliseconds since the beginning."""
        return int(Path(f"{self._group}/cpuacct.usage").read_text(encoding="ascii")) / 1e6 if self.counted else 0.0


def measure(ctr: Containerd, rounds: int) -> dict[str, Times]:
    """Let both take turns at everything."""
    rows: dict[str, Times] = {}

    def note(what: str, name: str, value: float) -> None:
        rows.setdefault(what, {}).setdefault(name, []).append(value)

    for name in RUNTIMES:
        one(ctr, name, "warm-up")
    processor = Processor(ctr)
    for number in range(rounds):
        for name in RUNTIMES:
            before = processor.used()
            note("run --rm true", name, one(ctr, name, f"one-{number}"))
            time.sleep(0.05)  # what still ends in the background belongs to this one
            note("processor time of one", name, processor.used() - before)
    for _ in range(max(rounds // 3, 3)):
        for name in RUNTIMES:
            note(f"{AT_ONCE} at once", name, many(ctr, name, AT_ONCE))
    for name, runtime in RUNTIMES.items():
        ctr.runtime = runtime
        ctr.ok(*ctr.words(f"-d long-{name}", "/bin/sleep", "600"))
    for number in range(rounds):
        for name in RUNTIMES:
            words = ctr.exec_words(f"--exec-id e{number} long-{name}", "/bin/true")
            note("task exec true", name, timed(ctr, words))
    return rows if processor.counted else {what: rows[what] for what in rows if "processor" not in what}


def measure_shared(ctr: Containerd, rounds: int, rows: dict[str, Times]) -> None:
    """Measure runs under a shim that is there already."""
    ctr.runtime = RUNTIMES["runjail"]
    ctr.ok(*ctr.words("-d first", "/bin/sleep", "600"))
    rows["run, shim of a namespace"] = {
        "runjail": [one(ctr, "runjail", f"one-{number}") for number in range(rounds)],
        "runc": rows["run --rm true"]["runc"],
    }


def report(rows: dict[str, Times]) -> None:
    """Print minimum, median and the ratio of medians, then the goals."""
    print(f"{'milliseconds':<26}" + "".join(f"{name + ' min':>13}{'median':>9}" for name in RUNTIMES) + f"{'ratio':>8}")
    ratios = {}
    for what, times in rows.items():
        medians = {name: statistics.median(times[name]) for name in RUNTIMES}
        ratios[what] = medians["runjail"] / medians["runc"]
        cells = "".join(f"{min(times[name]):>13.1f}{medians[name]:>9.1f}" for name in RUNTIMES)
        print(f"{what:<26}{cells}{ratios[what]:>8.2f}")
    print()
    for what, goal in GOALS.items():
        verdict = "pass" if ratios[what] <= goal else "MISS"
        print(f"{verdict}: {what} takes {ratios[what]:.2f} times as long as with runc's shim; the goal is {goal}")


def main() -> int:
    """Measure and print; 1 only when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="runs one after the other (default: 20)")
    add_options(parser)
    options = parser.parse_args()
    if lacks_root("bench of the shim") or lacks_program("bench of the shim", NEEDED):
        return 1
    with workplace(silent=options.json) as ours:
        compare(ours, options)
    return 0


def compare(ours: Leftovers, options: argparse.Namespace) -> None:
    """Measure under two daemons, with a shim for each container and with one for all, and print it."""
    directory, daemons = Path(ours.base), list[Containerd]()
    try:
        make_root(str(directory / "rootfs"))
        for name, settings in (("own", ""), ("shared", SHARED)):
            (directory / name).mkdir()
            daemons.append(Containerd(directory / name, directory / "rootfs", ours, settings=settings))
        rows = measure(daemons[0], options.rounds)
        measure_shared(daemons[1], options.rounds, rows)
        if options.json:
            print(json.dumps(document(rows, options.rounds), indent=1))
            return
        report(rows)
        print(*(changes(rows, options.compare) if options.compare else []), sep="\n")
    finally:
        for daemon in daemons:
            daemon.remove_everything()
            daemon.end()


if __name__ == "__main__":
    raise SystemExit(main())
