"""What docker's default seccomp profile adds to create and start, next to what it adds for runc and crun.

The profile is that of containers-common, which is docker's, for the capabilities of the bundle that `runc spec` writes.
Every round takes each runtime through one life with the profile and one without, in turns; what is added is the median
of the differences of a round. The first round, in which the profile's program is made and kept, is not counted: its
row says what it took. The goal, at most 2 ms, is judged by processor time; a missed one is printed and is no failure.
"""

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))

from runjail.cli.seccomp_profile import convert  # noqa: E402  # this program may be started from anywhere
from tests.bench.bench import LIFE, RUNJAIL, able  # noqa: E402
from tests.bench.results import machine  # noqa: E402
from tests.bench.verbs import Timed  # noqa: E402
from tests.bench.workplace import lacks_root, workplace  # noqa: E402
from tests.support.leftovers import Leftovers  # noqa: E402

PROFILE = Path("/usr/share/containers/seccomp.json")  # Debian: golang-github-containers-common
MEASURED = ("create", "start")
GOAL = 2.0  # milliseconds
Pair = tuple[float, float]  # processor and wall time in milliseconds


class Profiled(Timed):
    """A runtime whose containers have the profile when `profiled` says so."""

    profiled = False

    def configure(self, id: str, command: str = "/bin/sleep 600") -> None:
        """Write config.json as all benches have it, with or without the profile."""
        super().configure(id, command)
        path = Path(self.bundle) / "config.json"
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        config["linux"].pop("seccomp", None)
        if self.profiled:
            document = json.loads(PROFILE.read_text(encoding="utf-8"))
            config["linux"]["seccomp"] = convert(document, str(PROFILE), config["process"]["capabilities"]["bounding"])
        path.write_text(json.dumps(config), encoding="utf-8")

    def spend(self, profiled: bool) -> Pair:
        """Take one container through its life. Returns what create and start took together."""
        self.profiled = profiled
        self.spent.clear()
        for verb in LIFE:
            self.verb(verb, "life")
        taken = [self.spent[verb][-1] for verb in MEASURED]
        return sum(each[0] for each in taken), sum(each[1] for each in taken)


def row(rounds: list[tuple[Pair, Pair]]) -> dict[str, float]:
    """Return milliseconds that a profile adds, of (without, with) by round; the first one is apart."""
    added = [[with_it[kind] - without[kind] for without, with_it in rounds] for kind in (0, 1)]
    cpu, wall = (statistics.median(each[1:]) for each in added)
    low, _middle, high = statistics.quantiles(added[0][1:], n=4)
    without = statistics.median(each[0][0] for each in rounds[1:])
    found = {"without": without, "cpu": cpu, "low": low, "high": high, "wall": wall, "first": added[0][0]}
    return {what: round(value, 2) for what, value in found.items()}


def report(document: dict[str, Any]) -> None:
    """Print a table."""
    print(f"{document['machine']['processor']}, load {document['machine']['load']}, {document['rounds']} rounds")
    print("docker's default seccomp profile adds to create and start, in milliseconds")
    print(f"{'':8}{'without':>9}{'cpu':>8}{'middle half':>16}{'wall':>8}{'first time':>12}")
    for name, found in document["rows"].items():
        spread = f"{found['low']:.2f} to {found['high']:.2f}"
        verdict = f"   goal {GOAL}: {'met' if found['cpu'] <= GOAL else 'MISSED'}" if name == "runjail" else ""
        print(f"{name:8}{found['without']:9.2f}{found['cpu']:8.2f}{spread:>16}{found['wall']:8.2f}", end="")
        print(f"{found['first']:12.2f}{verdict}")


def main() -> int:
    """Measure and print; 1 when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="lives of a container of each kind (default: 30)")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON instead")
    options = parser.parse_args()
    if lacks_root("bench of seccomp profiles"):
        return 1
    if not PROFILE.exists():
        print(f"skipped: there is no {PROFILE}")
        return 0
    with workplace(silent=True) as ours:
        rows = compare(ours, options.rounds)
    document = {"machine": machine(), "rounds": options.rounds, "rows": rows}
    print(json.dumps(document, indent=1)) if options.json else report(document)
    return 0


def compare(ours: Leftovers, rounds: int) -> dict[str, dict[str, float]]:
    """Measure the runtimes in a directory of their own. Returns their rows."""
    paths = {"runjail": RUNJAIL, **{name: shutil.which(name) for name in ("runc", "crun")}}
    runtimes = [Profiled(name, path, ours.base, ours) for name, path in paths.items() if path]
    try:
        for runtime in runtimes:
            runtime.prepare()
        runtimes = able(runtimes)
        found: dict[str, list[tuple[Pair, Pair]]] = {runtime.name: [] for runtime in runtimes}
        for _ in range(rounds + 1):
            for runtime in runtimes:
                found[runtime.name].append((runtime.spend(False), runtime.spend(True)))
        return {name: row(times) for name, times in found.items()}
    finally:
        for runtime in runtimes:
            runtime.remove_everything()


if __name__ == "__main__":
    raise SystemExit(main())
