"""What images cost in each kind of store, next to podman and ctr (overlay, runc) and to a bundle that needs no image.

Images are made once (default: one of 20 layers and 33,000 files) and pushed into docker-registry on this machine.
Then all candidates take turns: first each pulls and runs one into an empty store of its own, then each runs it again,
some rounds. Nothing is deleted between rounds on a disk: for minutes after many files were deleted ext4 makes new ones
several times slower. Ratios are of medians; for further runs it is the difference to a bundle's run that counts.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))

from tests.bench.layers import MEMORY_DISK, _pool  # noqa: E402  # this program may be started from anywhere
from tests.support.image.oci import Containerd, write_layout  # noqa: E402
from tests.support.image.registry_server import DockerRegistry  # noqa: E402
from tests.support.leftovers import Leftovers  # noqa: E402
from tests.support.machine_root import make_root, missing  # noqa: E402

RUNJAIL = str(TOP / ".venv/bin/runjail")
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MEAN, SPREAD = 7.6, 1.2  # of the logarithm of sizes; about 4.5 KB on average
REPLACED, REMOVED = 20, 5  # files of the layer below, in each layer
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")  # podman's own are more than some machines have
STORES = ("overlay", "dir")
PEERS = ("podman", "ctr")
IMAGES = {"small": (1, 100), "20": (20, 33_000), "100": (100, 33_000)}  # layers and files
FIRST, FURTHER = 0.7, 60.0  # goals: pull and first run / podman's; milliseconds of further runs beyond a bundle's


def make_layers(top: Path, layers: int, files: int) -> list[tuple[Path, str]]:
    """Write the layers of an image, the lowest with programs. Returns their blobs and diffIDs."""
    source = random.Random(1)
    pool, made = _pool(source), []
    make_root(str(top / "programs"))
    for number in range(layers):
        plain = top / f"layer{number}.tar"
        with tarfile.open(plain, "w", format=tarfile.PAX_FORMAT) as archive:
            if not number:
                archive.add(top / "programs", ".")
            for name, size in _entries(number, files // layers, source):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = size, 0o644
                start = source.randrange(len(pool) - size)
                with tempfile.SpooledTemporaryFile(1 << 20) as body:
                    body.write(pool[start : start + size])
                    body.seek(0)
                    archive.addfile(entry, body)
        diff_id = subprocess.check_output(["sha256sum", str(plain)], text=True).split()[0]
        subprocess.run(["gzip", "-1", str(plain)], check=True)
        made.append((plain.with_suffix(".tar.gz"), f"sha256:{diff_id}"))
    return made


def _entries(layer: int, count: int, source: random.Random) -> Iterator[tuple[str, int]]:
    """Yield name and size of the files of one layer: new ones, replaced ones and whiteouts."""
    for number in range(count):
        yield f"usr/part{layer}/d{number % 40}/file{number}", min(int(source.lognormvariate(MEAN, SPREAD)), 1 << 20)
    if layer:
        for number in range(REPLACED):
            yield f"usr/part{layer - 1}/d{number % 40}/file{number}", 1000
        for number in range(REPLACED, REPLACED + REMOVED):
            yield f"usr/part{layer - 1}/d{number % 40}/.wh.file{number}", 0


class Candidate:
    """A program with a store of its own below a directory. seconds: by what was done."""

    def __init__(self, name: str, directory: Path, reference: str, store: str = "") -> None:
        self.name, self.directory, self.reference = name, directory / name, reference
        self.store = store or f"{name}:{self.directory}/store"
        self.seconds: dict[str, list[float]] = {}
        self.directory.mkdir()

    def words(self, number: int) -> list[str]:
        """Return a command line that runs the image, pulled if need be, and leaves no container."""
        ours = [RUNJAIL, "--root", str(self.directory / "state"), "--store", self.store]
        return [*ours, "run", "--image", self.reference, f"b{number}", "--", "true"]

    def commands(self, number: int) -> list[list[str]]:
        """Return the command lines of one run, one after the other."""
        return [self.words(number)]

    def run(self, what: str, number: int) -> None:
        """Measure one run."""
        begun = time.perf_counter()
        for words in self.commands(number):
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{self.name} failed: {done.stderr.strip()}")
        self.seconds.setdefault(what, []).append(time.perf_counter() - begun)

    def median(self, what: str) -> float:
        """Return seconds."""
        return statistics.median(self.seconds[what])


class Bundle(Candidate):
    """The same program in a bundle: what a run costs without images."""

    def words(self, number: int) -> list[str]:
        """Return a command line; the bundle is made at the first."""
        bundle = self.directory / "bundle"
        if not bundle.is_dir():
            make_root(str(bundle / "rootfs"))
            subprocess.run([RUNJAIL, "spec", "--bundle", str(bundle)], check=True)
            config = json.loads((bundle / "config.json").read_text())
            config["process"] |= {"terminal": False, "args": ["/bin/true"], "env": ["PATH=/bin"]}
            (bundle / "config.json").write_text(json.dumps(config))
        return [RUNJAIL, "--root", str(self.directory / "state"), "run", "--bundle", str(bundle), f"b{number}"]


class Podman(Candidate):
    """podman with runc and directories of its own."""

    def words(self, number: int) -> list[str]:
        """Return a command line; hosts without systemd are fine with it."""
        places = ["--root", str(self.directory / "root"), "--runroot", str(self.directory / "run")]
        how = ["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--runtime", shutil.which("runc") or ""]
        alike = ["--rm", *LIMITS, "--network=host", "--log-driver=none", "--tls-verify=false"]
        return ["podman", *places, *how, "run", *alike, self.reference, "true"]


class Ctr(Candidate):
    """containerd's ctr with the snapshotter overlayfs and runc; containerd itself runs all the time."""

    def __init__(self, directory: Path, reference: str, containerd: Containerd) -> None:
        super().__init__("ctr", directory, reference)
        self._containerd = containerd

    def commands(self, number: int) -> list[list[str]]:
        """Return a pull, for the first run, and a run."""
        pull = self._containerd.words("image", "pull", "--plain-http", "--snapshotter", "overlayfs", self.reference)
        how = ["--rm", "--net-host", "--snapshotter", "overlayfs", "--runc-binary", shutil.which("runc") or ""]
        run = self._containerd.words("run", *how, self.reference, f"b{number}", "/bin/true")
        return [run] if number else [pull, run]


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


def measure(candidates: list[Candidate], rounds: int) -> None:
    """Let everybody take turns."""
    for number in range(rounds + 1):
        for candidate in candidates:
            candidate.run("further" if number else "first", number)
        os.sync()  # what one wrote is not for the next to wait for


def summary(candidates: list[Candidate]) -> list[dict[str, object]]:
    """Return a row for each candidate: milliseconds, ratios to podman and ctr, what a run costs beyond a bundle's."""
    peers = {candidate.name: candidate for candidate in candidates if isinstance(candidate, (Podman, Ctr))}
    bundle = candidates[0].median("further")
    rows: list[dict[str, object]] = []
    for candidate in candidates[1:]:
        row: dict[str, object] = {"name": candidate.name}
        for what in ("first", "further"):
            row[f"{what} ms"] = round(candidate.median(what) * 1000, 1)
            for peer in PEERS:
                theirs = peers[peer].median(what) if peer in peers else 0.0
                row[f"{what} / {peer}"] = round(candidate.median(what) / theirs, 2) if theirs else None
        row["beyond a bundle ms"] = round((candidate.median("further") - bundle) * 1000, 1)
        rows.append(row)
    return rows


def report(rows: list[dict[str, object]], bundle: float, what: str) -> None:
    """Print the table and the goals."""
    print(f"{what}; a bundle's run takes {bundle * 1000:.0f} ms")
    heading = list(rows[0])
    print("".join(f"{title:>20}" for title in heading))
    for row in rows:
        print("".join(f"{'-' if row[title] is None else row[title]!s:>20}" for title in heading))
    for row in rows:
        if row["name"] == "overlay":
            goals = (("first / podman", FIRST), ("first / ctr", FIRST), ("beyond a bundle ms", FURTHER))
            for title, goal in goals:
                value = row[title]
                if isinstance(value, float):
                    print(f"{'met' if value <= goal else 'MISSED'}: overlay, {title}: {value}, goal {goal}")


def main() -> int:
    """Measure and print; 1 when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="further runs (default: 5)")
    parser.add_argument("--images", default="20", help=f"some of {', '.join(IMAGES)} (layers), e.g. small,20,100")
    parser.add_argument("--stores", default=",".join(STORES), help="kinds of stores, e.g. overlay,dir")
    parser.add_argument("--zfs", metavar="DATASET", help="a dataset that is not there, for a store on ZFS as well")
    parser.add_argument("--directory", help="where to work, e.g. on a disk (default: a memory disk)")
    parser.add_argument("--json", action="store_true", help="print rows as JSON instead")
    options = parser.parse_args()
    lacking = [name for name in ("skopeo", "docker-registry") if not shutil.which(name)]
    if os.geteuid() or missing() or lacking:
        print(f"make bench: images: {missing() or ' '.join(lacking) or 'root'} is missing", file=sys.stderr)
        return 1
    where = options.directory or (str(MEMORY_DISK) if MEMORY_DISK.is_dir() else None)
    found: list[dict[str, object]] = []
    for name in options.images.split(","):
        found += bench(options, where, *IMAGES[name])
    if options.json:
        print(json.dumps(found))
    return 0


def bench(options: argparse.Namespace, where: str | None, count: int, files: int) -> list[dict[str, object]]:
    """Measure one image. Returns the rows, which are printed unless they are wanted as JSON."""
    directory = tempfile.mkdtemp(prefix="runjail-images-", dir=where)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.callback(Leftovers(directory).sweep)  # podman leaves a mount of its store
        top = Path(directory)
        layers = make_layers(top, count, files)
        write_layout(top / "layout", layers, LAYER)
        reference = stack.enter_context(registry(top, top / "layout"))
        candidates: list[Candidate] = [Bundle("bundle", top, "")]
        candidates += [Candidate(kind, top, reference) for kind in options.stores.split(",")]
        if options.zfs:
            stack.callback(subprocess.run, ["zfs", "destroy", "-R", options.zfs], check=False)
            candidates.append(Candidate("zfs", top, reference, f"zfs:{options.zfs}"))
        if shutil.which("podman") and shutil.which("runc"):
            candidates.append(Podman("podman", top, reference))
        if all(map(shutil.which, ("containerd", "ctr", "runc"))):
            candidates.append(Ctr(top, reference, stack.enter_context(Containerd(top / "containerd"))))
        measure(candidates, options.rounds)
        rows, megabytes = summary(candidates), sum(path.stat().st_size for path, _diff_id in layers) / 1e6
        if not options.json:
            what = f"{count} layers, {files} files, {megabytes:.0f} MB packed, in {where}"
            report(rows, candidates[0].median("further"), what)
    return [{"layers": count, "files": files, "load": os.getloadavg()[0], **row} for row in rows]


if __name__ == "__main__":
    raise SystemExit(main())
