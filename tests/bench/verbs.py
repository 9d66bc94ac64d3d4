"""What each verb costs in starts of a bare interpreter, next to runc and crun, and where that goes.

`python3 -I -S -c pass` is the unit: its share of a verb is the same on a quick machine, a slow one and a busy one. Each
round starts it once and takes every runtime through a whole life of a container, in turns: create, state, start, exec,
kill, delete, and a `run` of /bin/true. Processor time is that of the process and of the children that it has waited
for; init is not among them. Medians of all rounds; the spread is that of the middle half.

With --parts each verb is also cut off after each part of its start, and the parts become a picture.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))

from tests.bench.bars import Bar, bars  # noqa: E402  # this program may be started from anywhere
from tests.bench.bench import RUNJAIL, Refused, Runtime, able, wait_for_death  # noqa: E402
from tests.bench.results import machine  # noqa: E402
from tests.bench.workplace import lacks_root, workplace  # noqa: E402
from tests.support.leftovers import Leftovers  # noqa: E402

BARE = ["-I", "-S", "-c", "pass"]
GOALS = {"state": 1.2, "kill": 1.2, "start": 1.4, "delete": 1.5, "exec": 1.6, "create": 2.0}
BESIDE = {("run", "runc"): 0.6, ("life", "runc"): 1.0, ("life", "crun"): 1.3}  # goals: of the peer's processor time
VERBS = ("create", "state", "start", "exec", "kill", "delete", "run")
LIFE = ("create", "start", "kill", "delete")
Times = dict[str, dict[str, list[tuple[float, float]]]]  # (processor, wall) milliseconds by verb and runtime
# Parts of a start, and what the script does before it ends by _exit(2): each has what stands before it as well.
PARTS = {
    "interpreter": "import posix\nposix._exit(0)\n",
    "read modules": "{before}{read}posix._exit(0)\n",
    "execute modules": "{before}{place}posix._exit(0)\n",
}
COLORS = ("#9aa5b1", "#c3b091", "#5b8db8", "#3d6a97", "#c8553d")


class Timed(Runtime):
    """A runtime whose calls are timed by processor time too. spent: (processor, wall) milliseconds by verb."""

    def __init__(self, name: str, path: str, directory: str, ours: Leftovers) -> None:
        super().__init__(name, path, directory, ours)
        self.spent: dict[str, list[tuple[float, float]]] = {}

    def call(self, what: str, words: list[str]) -> None:
        """Run a command and keep what it took. Raises Refused."""
        status, took = run(self, words)
        self.spent.setdefault(what, []).append(took)
        if status:
            raise Refused(f"{self.name} {what} failed")

    def life(self) -> None:
        """Take one container through its life."""
        for verb in VERBS:
            self.configure("life", "/bin/true" if verb == "run" else "/bin/sleep 600")
            bundle = ["--bundle", self.bundle]
            more = {"create": [*bundle, "--pid-file", self._pid_file()], "run": bundle}.get(verb, [])
            after = {"kill": ["KILL"], "exec": ["/bin/true"]}.get(verb, [])
            self.call(verb, self.words(verb, *more, "life", *after))
            if verb == "kill":
                wait_for_death(self.pid())

    def configure(self, id: str, command: str = "/bin/sleep 600") -> None:
        """Write config.json with a program of its own."""
        super().configure(id)
        path = Path(self.bundle, "config.json")
        config = json.loads(path.read_text(encoding="utf-8"))
        config["process"]["args"] = command.split()
        path.write_text(json.dumps(config), encoding="utf-8")


def run(runtime: Runtime, words: list[str]) -> tuple[int, tuple[float, float]]:
    """Run a command. Returns its status, and its processor and wall time in milliseconds."""
    begun = time.perf_counter()
    _pid, status, usage = os.wait4(runtime.spawn(words), 0)
    return status, ((usage.ru_utime + usage.ru_stime) * 1000, (time.perf_counter() - begun) * 1000)


def measure(runtimes: list[Timed], rounds: int) -> Times:
    """Measure whole lives in turns. Returns the times of all, the bare interpreter's as a verb of the first."""
    python = os.path.realpath(sys.executable)
    bare = []
    for number in range(rounds + 1):
        bare.append(run(runtimes[0], [python, *BARE])[1])
        for runtime in runtimes:
            runtime.life()
        if not number:  # to warm up
            bare.clear()
            for runtime in runtimes:
                runtime.spent.clear()
    found: Times = {verb: {runtime.name: runtime.spent[verb] for runtime in runtimes} for verb in VERBS}
    found["life"] = {
        runtime.name: [
            (sum(each[0] for each in life), sum(each[1] for each in life))
            for life in zip(*(runtime.spent[verb] for verb in LIFE), strict=True)
        ]
        for runtime in runtimes
    }
    return {"bare": {"python": bare}, **found}


def summary(times: Times) -> dict[str, dict[str, dict[str, float]]]:
    """Return numbers by verb and runtime: in starts by processor and wall time, and the spread of the former."""
    bare = [statistics.median(each) for each in zip(*times["bare"]["python"], strict=True)]
    found: dict[str, dict[str, dict[str, float]]] = {"bare": {"python": {"cpu ms": bare[0], "wall ms": bare[1]}}}
    for verb, by_runtime in times.items():
        for name, values in by_runtime.items() if verb != "bare" else ():
            cpu, wall = ([value[kind] / bare[kind] for value in values] for kind in (0, 1))
            low, _middle, high = statistics.quantiles(cpu, n=4)
            row = {"cpu": statistics.median(cpu), "wall": statistics.median(wall), "low": low, "high": high}
            found.setdefault(verb, {})[name] = {what: round(value, 3) for what, value in row.items()}
    return found


def report(document: dict, old: dict | None) -> None:
    """Print a table, and beside it what an older run of this program had."""
    rows, machine = document["rows"], document["machine"]
    print(f"{machine['processor']}, {machine['python']}, load {machine['load']}, {document['rounds']} rounds")
    print(f"a bare start: {rows['bare']['python']['cpu ms']:.2f} ms of a processor; all below in such starts")
    names = list(rows["state"])
    print(f"{'':8}" + "".join(f"{name + ' cpu':>13}{'middle half':>14}{'wall':>7}" for name in names) + f"{'goal':>10}")
    for verb in (verb for verb in rows if verb != "bare"):
        cells = ""
        for name in names:
            row = rows[verb][name]
            spread = f"{row['low']:.2f}-{row['high']:.2f}"
            cells += f"{row['cpu']:>13.2f}{spread:>14}{row['wall']:>7.2f}"
        goal = GOALS.get(verb)
        verdict = f"{goal:>6} {'met' if rows[verb]['runjail']['cpu'] <= goal else 'MISSED'}" if goal else ""
        print(f"{verb:8}{cells}    {verdict}{changed(rows, old, verb)}")
    for (verb, peer), goal in BESIDE.items():
        if peer in names:
            ratio = rows[verb]["runjail"]["cpu"] / rows[verb][peer]["cpu"]
            print(f"{verb}: {ratio:.2f} of {peer}'s; the goal is {goal}: {'met' if ratio <= goal else 'MISSED'}")


def changed(rows: dict, old: dict | None, verb: str) -> str:
    """Return what an older run had for a verb of ours, and the ratio."""
    if not old or verb not in old["rows"]:
        return ""
    before, now = old["rows"][verb]["runjail"]["cpu"], rows[verb]["runjail"]["cpu"]
    return f"   was {before:.2f}: {now / before:.2f} of it"


def parts(runtime: Timed, verb: str, rounds: int, directory: Path) -> list[tuple[str, float]]:
    """Return the parts of a verb's start, in starts: what each adds to those before it, by processor time."""
    text = Path(RUNJAIL).read_text(encoding="utf-8")
    head, found, place = text.partition("import posix\n")
    before, exit_line, _main = (found + place).partition("from runjail.cli.main import main")
    assert found and exit_line, "the start script has another form"
    scripts = []
    for number, part in enumerate(PARTS.values()):
        body = part.format(before=head, place=before, read=before.replace("exec(place, {", "({"))
        path = directory / f"part-{number}"
        path.write_text(body if "import _signal" in body else f"{head.partition(chr(10))[0]}\n{body}", encoding="utf-8")
        path.chmod(0o755)
        scripts.append([str(path), verb])
    times: list[list[float]] = [[] for _ in scripts]
    bare = []
    for _ in range(rounds):
        bare.append(run(runtime, [os.path.realpath(sys.executable), *BARE])[1][0])
        for script, spent in zip(scripts, times, strict=True):
            spent.append(run(runtime, script)[1][0])
    unit = statistics.median(bare)
    sums = [statistics.median(each) / unit for each in times]
    return [(name, after - before) for name, before, after in zip(PARTS, [0.0, *sums], sums, strict=False)]


def picture(runtime: Timed, rows: dict, rounds: int, directory: Path) -> str:
    """Return the picture of where the verbs' time goes, and print its numbers."""
    drawn = []
    for verb in VERBS:
        found = parts(runtime, verb, rounds, directory)
        rest = rows[verb]["runjail"]["cpu"] - sum(value for _name, value in found)
        drawn.append(Bar(verb, [*found, ("the verb", rest)]))
        print(f"  {verb:8}" + ", ".join(f"{name} {value:.2f}" for name, value in drawn[-1].parts))
    return bars("Processor time of verbs, in starts of a bare interpreter", drawn, COLORS, GOALS)


def main() -> int:
    """Measure and print; 1 when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="lives of a container (default: 30)")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON instead")
    parser.add_argument("--compare", metavar="OLD.json", help="also say what has changed since")
    parser.add_argument("--parts", metavar="FILE.svg", help="measure the parts of a start, and draw them")
    options = parser.parse_args()
    if lacks_root("bench of verbs"):
        return 1
    old = json.loads(Path(options.compare).read_text(encoding="utf-8")) if options.compare else None
    with workplace(silent=True) as ours:
        compare(ours, old, options)
    return 0


def compare(ours: Leftovers, old: dict[str, Any] | None, options: argparse.Namespace) -> None:
    """Measure the runtimes in a directory of their own; print it, and draw it where that was asked for."""
    paths = {"runjail": RUNJAIL, **{name: shutil.which(name) for name in ("runc", "crun")}}
    runtimes = [Timed(name, path, ours.base, ours) for name, path in paths.items() if path]
    try:
        for runtime in runtimes:
            runtime.prepare()
        rows = summary(measure(able(runtimes), options.rounds))
        document = {"machine": machine(), "rounds": options.rounds, "rows": rows}
        print(json.dumps(document, indent=1)) if options.json else report(document, old)
        if options.parts:
            drawn = picture(runtimes[0], rows, options.rounds, Path(ours.base))
            Path(options.parts).write_text(drawn, encoding="utf-8")
    finally:
        for runtime in runtimes:
            runtime.remove_everything()


if __name__ == "__main__":
    raise SystemExit(main())
