"""How verbs grow with the containers that are there, and what memory they take: a plot for the documentation.

Containers are made and started until there are 1, 10, 100, 1,000 of them; at each number the processor time of `create`
(of the last few), `state` and `list` is taken, and the most memory of each process. At the end all are removed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))

from tests.bench.bench import ENV, RUNJAIL, Runtime  # noqa: E402  # this program may be started from anywhere
from tests.bench.plot import Line, plot  # noqa: E402
from tests.bench.workplace import lacks_root, workplace  # noqa: E402

COUNTS = (1, 10, 100, 1_000)
LAST = 10  # creations whose median counts
# A small process between: what is known of a process's memory begins with that of who started it.
WATCHED = """
import os, sys
null = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (0, 1, 2)]
_pid, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=null), 0)
print((usage.ru_utime + usage.ru_stime) * 1000, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
COLORS = {"create": "#c0392b", "state": "#1b6ca8", "list": "#2e8b57"}
Row = dict[str, float]


class Crowd:
    """Containers of one runtime. memory: kilobytes at most, by verb."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self.size = runtime, 0
        self.memory: dict[str, int] = {}

    def call(self, verb: str, *words: str) -> float:
        """Run a verb. Returns milliseconds of a processor."""
        command = [os.path.realpath(sys.executable), "-ISc", WATCHED, *self._runtime.words(verb, *words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENV)
        if done.returncode:
            raise SystemExit(f"{verb} {words[-1]} failed")
        milliseconds, kilobytes = done.stdout.split()
        self.memory[verb] = max(self.memory.get(verb, 0), int(kilobytes))
        return float(milliseconds)

    def warm_up(self) -> None:
        """Take one container through its life, so that nothing is read from disk later."""
        self.grow(1)
        self.remove()
        self.size = 0

    def grow(self, size: int) -> float:
        """Add containers. Returns what the last creations took."""
        took = []
        for number in range(self.size, size):
            self._runtime.configure(f"crowd-{number}")
            took.append(self.call("create", "--bundle", self._runtime.bundle, f"crowd-{number}"))
            self.call("start", f"crowd-{number}")
        self.size = size
        return statistics.median(took[-LAST:])

    def row(self, size: int, rounds: int) -> Row:
        """Measure with so many containers."""
        found = {"containers": float(size), "create": self.grow(size)}
        found["state"] = statistics.median(self.call("state", "crowd-0") for _ in range(rounds))
        found["list"] = statistics.median(self.call("list") for _ in range(rounds))
        return found

    def remove(self) -> float:
        """Remove all, running as they are. Returns the median."""
        return statistics.median(self.call("delete", "--force", f"crowd-{number}") for number in range(self.size))


def report(rows: list[Row], removed: float, memory: dict[str, int]) -> None:
    """Print milliseconds of a processor, what a container costs `list`, and memory."""
    print(f"{'containers':>10}" + "".join(f"{verb + ' ms':>12}" for verb in COLORS))
    for row in rows:
        print(f"{row['containers']:>10.0f}" + "".join(f"{row[verb]:>12.1f}" for verb in COLORS))
    first, last = rows[0], rows[-1]
    if last["containers"] > first["containers"]:
        each = (last["list"] - first["list"]) / (last["containers"] - first["containers"])
        print(f"list: {each:.3f} ms a container")
    print(f"delete --force of a running one: {removed:.1f} ms")
    print("memory at most, MB: " + ", ".join(f"{verb} {kilobytes / 1024:.1f}" for verb, kilobytes in memory.items()))
    print(f"load {os.getloadavg()[0]:.1f}")


def main() -> int:
    """Measure and print; 1 when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=COUNTS[-1], help=f"containers (default: {COUNTS[-1]})")
    parser.add_argument("--rounds", type=int, default=9, help="looks at each number (default: 9)")
    parser.add_argument("--plot", metavar="FILE.svg", help="where to draw")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON instead")
    options = parser.parse_args()
    if lacks_root("bench of a crowd"):
        return 1
    with workplace(silent=True) as ours:
        compare(Runtime("runjail", RUNJAIL, ours.base, ours), options)
    return 0


def compare(runtime: Runtime, options: argparse.Namespace) -> None:
    """Measure at each number of containers; print it, and draw it where that was asked for."""
    try:
        runtime.prepare()
        crowd = Crowd(runtime)
        crowd.warm_up()
        rows = [crowd.row(size, options.rounds) for size in COUNTS if size <= options.most]
        memory, removed = dict(crowd.memory), crowd.remove()
        document = {"rows": rows, "delete": removed, "kilobytes": memory}
        print(json.dumps(document)) if options.json else report(rows, removed, memory)
        if options.plot:
            title = "Processor time of verbs, ms, by containers that are there"
            points = {verb: [(row["containers"], row[verb]) for row in rows] for verb in COLORS}
            lines = [Line(verb, color, points[verb]) for verb, color in COLORS.items()]
            Path(options.plot).write_text(plot(title, "containers", lines), encoding="utf-8")
    finally:
        runtime.remove_everything()


if __name__ == "__main__":
    raise SystemExit(main())
