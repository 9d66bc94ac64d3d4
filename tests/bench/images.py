"""What images cost in each kind of store, next to podman and ctr (overlay, runc) and to a bundle that needs no image.

Images are made once (default: one of 20 layers and 33,000 files) and pushed into docker-registry on this machine.
Then all candidates take turns: first each pulls and runs one into an empty store of its own, some rounds, each with new
stores, then each runs it again, some rounds. Milliseconds are of the clock; with `cpu` before them they are those of
processors, of containerd too, but not of zfs-fuse. Nothing is deleted between rounds on a disk: for minutes after many
files were deleted ext4 makes new ones several times slower. Ratios are of medians; for further runs it is the
difference to a bundle's run that counts.
"""

import argparse
import io
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))

from tests.bench.candidates import Bundle, Candidate, Ctr, Podman, PodmanVfs, Times  # noqa: E402
from tests.bench.disk import own_disk  # noqa: E402
from tests.bench.layers import MEMORY_DISK, _pool  # noqa: E402  # this program may be started from anywhere
from tests.bench.results import machine  # noqa: E402
from tests.support import zfs_pool  # noqa: E402
from tests.support.image.oci import Containerd, write_layout  # noqa: E402
from tests.support.image.registry_server import DockerRegistry  # noqa: E402
from tests.support.leftovers import Leftovers  # noqa: E402
from tests.support.machine_root import make_root, missing  # noqa: E402

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MEAN, SPREAD = 7.6, 1.2  # of the logarithm of sizes; about 4.5 KB on average
REPLACED, REMOVED = 20, 5  # files of the layer below, in each layer
POOL_SIZE = 6 << 30  # bytes; the file of the pool is sparse
STORES = ("overlay", "dir", *(() if zfs_pool.missing() else ("zfs",)))  # what can be had here
PEERS = ("podman", "vfs", "ctr")
IMAGES = {"small": (1, 100), "20": (20, 33_000), "100": (100, 33_000)}  # layers and files
GOALS = (("first / podman", 0.7), ("first / ctr", 0.7), ("beyond a bundle ms", 60.0))


def make_layers(top: Path, layers: int, files: int, mean: float = MEAN) -> list[tuple[Path, str]]:
    """Write the layers of an image, the lowest with programs. Returns their blobs and diffIDs.

    mean: of the logarithm of sizes.
    """
    source = random.Random(1)
    pool, made = _pool(source), []
    make_root(str(top / "programs"))
    for number in range(layers):
        plain = top / f"layer{number}.tar"
        with tarfile.open(plain, "w", format=tarfile.PAX_FORMAT) as archive:
            if not number:
                archive.add(top / "programs", ".")
            for name, size in _entries(number, files // layers, source, mean):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = size, 0o644
                start = source.randrange(len(pool) - size)
                archive.addfile(entry, io.BytesIO(pool[start : start + size]))
        diff_id = subprocess.check_output(["sha256sum", str(plain)], text=True).split()[0]
        subprocess.run(["gzip", "-1", str(plain)], check=True)
        made.append((plain.with_suffix(".tar.gz"), f"sha256:{diff_id}"))
    return made


def _entries(layer: int, count: int, source: random.Random, mean: float) -> Iterator[tuple[str, int]]:
    """Yield name and size of the files of one layer: new ones, replaced ones and whiteouts."""
    for number in range(count):
        yield f"usr/part{layer}/d{number % 40}/file{number}", min(int(source.lognormvariate(mean, SPREAD)), 1 << 20)
    if layer:
        for number in range(REPLACED):
            yield f"usr/part{layer - 1}/d{number % 40}/file{number}", 1000
        for number in range(REPLACED, REPLACED + REMOVED):
            yield f"usr/part{layer - 1}/d{number % 40}/.wh.file{number}", 0


@contextmanager
def registry(top: Path, layout: Path) -> Iterator[str]:
    """Run docker-registry with the image; the context is its reference."""
    (top / "registry").mkdir()
    server = DockerRegistry(top / "registry")
    try:
        target = f"{server.host}/bench:latest"
        command = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{target}"]
        subprocess.run(command, check=True)
        yield target
    finally:
        server.stop()


def measure(rounds: list[list[Candidate]], further: int) -> dict[str, Times]:
    """Let everybody take turns. rounds: the same candidates with nothing in their stores yet, each time anew.

    The last ones run the image again. Returns the times of each, by name.
    """
    times: dict[str, Times] = {candidate.name: {} for candidate in rounds[0]}

    def note(candidate: Candidate, what: str, number: int) -> None:
        clock, processor = candidate.run(number)
        times[candidate.name].setdefault(what, []).append(clock)
        times[candidate.name].setdefault(f"{what} cpu", []).append(processor)

    for candidates in rounds:
        for candidate in candidates:
            note(candidate, "first", 0)
            os.sync()  # what one wrote is not for the next to wait for
    for number in range(1, further + 1):
        for candidate in rounds[-1]:
            note(candidate, "further", number)
    return times


def summary(times: dict[str, Times]) -> list[dict[str, object]]:
    """Return a row for each but the bundle: milliseconds, those of processors, ratios to peers, and beyond a bundle."""
    bundle = statistics.median(times["bundle"]["further"])
    rows: list[dict[str, object]] = []
    for name, by_what in times.items():
        if name == "bundle":
            continue
        row: dict[str, object] = {"name": name}
        for what in ("first", "first cpu", "further", "further cpu"):
            median = statistics.median(by_what[what])
            row[f"{what} ms"] = round(median * 1000, 1)
            for peer in PEERS:
                theirs = statistics.median(times[peer][what]) if peer in times else 0.0
                row[f"{what} / {peer}"] = round(median / theirs, 2) if theirs else None
        row["beyond a bundle ms"] = round((statistics.median(by_what["further"]) - bundle) * 1000, 1)
        rows.append(row)
    return rows


def report(rows: list[dict[str, object]], bundle: float, what: str) -> None:
    """Print the table, a line for each kind of number, and the goals."""
    print(f"{what}, load {os.getloadavg()[0]:.1f}; a bundle's run takes {bundle * 1000:.0f} ms")
    print(f"{'':22}" + "".join(f"{row['name']!s:>12}" for row in rows))
    for title in list(rows[0])[1:]:
        print(f"{title:22}" + "".join(f"{'-' if row[title] is None else row[title]!s:>12}" for row in rows))
    for row in rows:
        for title, goal in GOALS:
            value = row[title]
            if row["name"] not in PEERS and isinstance(value, float):
                print(f"{'met' if value <= goal else 'MISSED'}: {row['name']}, {title}: {value}, goal {goal}")


def main() -> int:
    """Measure and print; 1 when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="further runs (default: 5)")
    parser.add_argument("--firsts", type=int, default=3, help="pulls and first runs (default: 3)")
    parser.add_argument("--images", default="20", help=f"some of {', '.join(IMAGES)} (layers), e.g. small,20,100")
    parser.add_argument("--stores", default=",".join(STORES), help=f"kinds of stores (default: {','.join(STORES)})")
    parser.add_argument(
        "--zfs", metavar="DATASET", help="a dataset that is not there, for stores on ZFS (default: a pool of our own)"
    )
    parser.add_argument(
        "--vfs", action="store_true", help="podman's store of directories too: 2 GB for each pull of 20 layers"
    )
    parser.add_argument("--directory", help="where to work, e.g. on a disk (default: a memory disk)")
    parser.add_argument("--disk", action="store_true", help="work on a file system of its own, in a file there")
    parser.add_argument("--json", action="store_true", help="print rows as JSON instead")
    options = parser.parse_args()
    lacking = [name for name in ("skopeo", "docker-registry") if not shutil.which(name)]
    if os.geteuid() or missing() or lacking:
        print(f"make bench: images: {missing() or ' '.join(lacking) or 'root'} is missing", file=sys.stderr)
        return 1
    where = options.directory or (str(MEMORY_DISK) if MEMORY_DISK.is_dir() and not options.disk else None)
    found: list[dict[str, object]] = []
    for name in options.images.split(","):
        with own_disk(where) if options.disk else nullcontext(where) as place:
            found += bench(options, place, *IMAGES[name])
    if options.json:
        print(json.dumps({"machine": machine(), "rows": found}))
    return 0


def bench(options: argparse.Namespace, where: str | None, count: int, files: int) -> list[dict[str, object]]:
    """Measure one image. Returns the rows, which are printed unless they are wanted as JSON."""
    with ExitStack() as stack:
        top = stack.enter_context(_place(where))
        layers = make_layers(top, count, files)
        write_layout(top / "layout", layers, LAYER)
        reference = stack.enter_context(registry(top, top / "layout"))
        dataset = stack.enter_context(_dataset(top, options))
        rounds = [_candidates(stack, top / f"round{n}", reference, options, dataset) for n in range(options.firsts)]
        times = measure(rounds, options.rounds)
        rows, megabytes = summary(times), sum(path.stat().st_size for path, _diff_id in layers) / 1e6
        if not options.json:
            what = f"{count} layers, {files} files, {megabytes:.0f} MB packed, in {where}"
            report(rows, statistics.median(times["bundle"]["further"]), what)
    return [{"layers": count, "files": files, "load": os.getloadavg()[0], **row} for row in rows]


@contextmanager
def _place(where: str | None) -> Iterator[Path]:
    directory = tempfile.mkdtemp(prefix="bench-", dir=where)
    try:
        yield Path(directory)
    finally:
        Leftovers(directory).sweep()  # podman leaves a mount of its store
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _dataset(top: Path, options: argparse.Namespace) -> Iterator[str]:
    """Make a dataset where there are to be stores on ZFS, in a pool of our own unless one is named; else it is ""."""
    if "zfs" not in options.stores.split(","):
        yield ""
    elif options.zfs:
        zfs_pool.zfs("create", options.zfs)
        try:
            yield options.zfs
        finally:
            zfs_pool.zfs("destroy", "-R", options.zfs)
    else:
        (top / "zpool").mkdir()
        pool = zfs_pool.Pool(top / "zpool", Leftovers(str(top)), POOL_SIZE)
        try:
            pool.start()
            with pool.inside():
                yield pool.name
        finally:
            pool.destroy()


def _candidates(
    stack: ExitStack, top: Path, reference: str, options: argparse.Namespace, dataset: str
) -> list[Candidate]:
    """Return everybody who takes part, with nothing in their stores. dataset: for those on ZFS."""
    top.mkdir()
    found: list[Candidate] = [Bundle("bundle", top, "")]
    for kind in options.stores.split(","):
        if kind == "zfs":
            zfs_pool.zfs("create", f"{dataset}/{top.name}")
        found.append(Candidate(kind, top, reference, f"zfs:{dataset}/{top.name}" if kind == "zfs" else ""))
    if shutil.which("podman") and shutil.which("runc"):
        found.append(Podman("podman", top, reference))
        if options.vfs:
            found.append(PodmanVfs("vfs", top, reference))
    if all(map(shutil.which, ("containerd", "ctr", "runc"))):
        found.append(Ctr(top, reference, stack.enter_context(Containerd(top / "containerd"))))
    for candidate in found:
        stack.callback(candidate.close)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
