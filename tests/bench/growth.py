"""How time and memory of images grow with their files and layers: plots for the documentation.

Images of 1,000 to 1,000,000 small files in five layers, and of 1 to 120 layers with 5,000 files, are made and imported
into a store of each kind. Measured: unpacking one (time, and the most memory of the process) and a further run of it,
the best of some. The plots are of processor time, which does not depend on what else the machine does, and have
logarithmic scales: what grows as its input is parallel to the thin line.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))

from tests.bench.candidates import RUNJAIL  # noqa: E402  # this program may be started from anywhere
from tests.bench.images import LAYER, make_layers  # noqa: E402
from tests.bench.layers import MEMORY_DISK  # noqa: E402
from tests.bench.plot import Line, plot  # noqa: E402
from tests.bench.results import machine  # noqa: E402
from tests.support.image.oci import write_layout  # noqa: E402
from tests.support.machine_root import missing  # noqa: E402

FILES, LAYERS = (1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000), (1, 5, 20, 60, 120)
MEAN = 4.6  # of the logarithm of sizes: 100 bytes
FILES_OF_LAYERS, LAYERS_OF_FILES = 5_000, 5
# A small process between: what is known of a process's memory begins with that of who started it.
WATCHED = """
import os, sys, time
begun = time.perf_counter()
null = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=null)
_pid, status, usage = os.wait4(pid, 0)
print(time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
Row = dict[str, object]
COLORS = {"overlay": "#1b6ca8", "dir": "#c0392b", "zfs": "#2e8b57"}


class Place:
    """A store of one kind below a directory, with the state of its containers."""

    def __init__(self, kind: str, top: Path, dataset: str) -> None:
        self.kind = kind
        location = f"zfs:{dataset}/{top.name}" if kind == "zfs" else f"{kind}:{top / kind}"
        self._words = [RUNJAIL, "--root", str(top / f"{kind}-state"), "--store", location]

    def call(self, *words: str) -> tuple[float, float, int]:
        """Run a verb. Returns seconds by the clock, those of processors, and the most memory, in bytes."""
        done = subprocess.run(
            [sys.executable, "-ISc", WATCHED, *self._words, *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{self.kind}: {' '.join(words)}: {done.stderr.strip()}")
        seconds, used, memory = done.stdout.split()[-3:]
        return float(seconds), float(used), int(memory) << 10


def measure(places: Sequence[Place], layers: int, files: int, rounds: int, where: str | None) -> list[Row]:
    """Make an image and measure it in each store. Returns a row for each."""
    with tempfile.TemporaryDirectory(prefix="runjail-growth-", dir=where) as directory:
        top = Path(directory)
        write_layout(top / "layout", make_layers(top, layers, files, MEAN), LAYER)
        rows: list[Row] = []
        for place in places:
            name = f"i{layers}-{files}"
            place.call("image", "import", f"oci:{top}/layout:latest", name)
            unpack, unpack_used, memory = place.call("image", "unpack", name)
            runs = [place.call("run", "--image", name, f"r{number}", "--", "true") for number in range(rounds)]
            further, used = min(run[0] for run in runs), min(run[1] for run in runs)
            row: Row = {"store": place.kind, "layers": layers, "files": files, "unpack s": unpack}
            row |= {"unpack cpu s": unpack_used, "unpack MB": memory / 1e6}
            rows.append(row | {"run s": further, "run cpu s": used})
            place.call("image", "rm", name)
            place.call("image", "prune", "--all")
    return rows


def lines(rows: list[Row], across: str, what: str) -> list[Line]:
    """Return a line for each store: what grows with what."""
    stores = dict.fromkeys(str(row["store"]) for row in rows)
    found = []
    for store in stores:
        points = [(float(str(row[across])), float(str(row[what]))) for row in rows if row["store"] == store]
        found.append(Line(store, COLORS[store], points))
    return found


def draw(rows: list[Row], across: str, to: Path) -> None:
    """Write the three plots of a series."""
    titles = {
        "unpack cpu s": ("unpack-s", "Unpacking, seconds of a processor"),
        "run cpu s": ("run-s", "A further run, seconds of a processor"),
        "unpack MB": ("unpack-mb", "Unpacking, MB of memory"),
    }
    for what, (part, title) in titles.items():
        name = f"growth-{across}-{part}.svg"
        (to / name).write_text(plot(f"{title}, by {across}", across, lines(rows, across, what)))


def main() -> int:
    """Measure, print and draw; 1 when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", default="overlay,dir", help="kinds of stores, e.g. overlay,dir,zfs")
    parser.add_argument("--zfs", default="", metavar="DATASET", help="for a store on ZFS: a dataset that is there")
    parser.add_argument("--rounds", type=int, default=3, help="further runs (default: 3)")
    parser.add_argument("--most", type=int, default=100_000, help="files of the largest image; 1000000 takes 12 GB")
    parser.add_argument("--directory", help="where to work, e.g. on a disk (default: a memory disk)")
    parser.add_argument("--plots", help="a directory for the plots")
    parser.add_argument("--json", action="store_true", help="print rows as JSON instead")
    options = parser.parse_args()
    if os.geteuid() or missing():
        print(f"growth: {missing() or 'root'} is missing", file=sys.stderr)
        return 1
    where = options.directory or (str(MEMORY_DISK) if MEMORY_DISK.is_dir() else None)
    with ExitStack() as stack:
        top = Path(tempfile.mkdtemp(prefix="runjail-stores-", dir=where))
        stack.callback(shutil.rmtree, top, ignore_errors=True)
        if options.zfs:
            stack.callback(subprocess.run, ["zfs", "destroy", "-Rf", f"{options.zfs}/{top.name}"], check=False)
        places = [Place(kind, top, options.zfs) for kind in options.stores.split(",")]
        series = {"files": [(LAYERS_OF_FILES, files) for files in FILES if files <= options.most]}
        series["layers"] = [(layers, FILES_OF_LAYERS) for layers in LAYERS]
        found = {
            across: [row for image in images for row in measure(places, *image, options.rounds, where)]
            for across, images in series.items()
        }
    if options.plots:
        for across, rows in found.items():
            draw(rows, across, Path(options.plots))
    report(found, options.json)
    return 0


def report(found: dict[str, list[Row]], as_json: bool) -> None:
    """Print all rows, and by which power of its input each time grows at the end."""
    if as_json:
        print(json.dumps({"machine": machine(), **found}))
        return
    for across, rows in found.items():
        print(f"by {across} (load {os.getloadavg()[0]:.1f}):")
        for row in rows:
            print("".join(f"{f'{value:.3f}' if isinstance(value, float) else value!s:>14}" for value in row.values()))
        for what in ("unpack cpu s", "run cpu s"):
            for line in lines(rows, across, what):
                (x, y), (further, higher) = line.points[0], line.points[-1]
                if further > x:
                    power = math.log(higher / y) / math.log(further / x)
                    print(f"  {line.name}: {what} grows as {across} to the power of {power:.2f}")


if __name__ == "__main__":
    raise SystemExit(main())
