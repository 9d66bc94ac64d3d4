"""What unpacking costs next to the tools people have: GNU tar, containerd, skopeo and umoci.

One layer is made once: 265 MB of gzip with 55,000 files. Then all candidates take turns, each into a new directory, in
memory where there is room: for minutes after many files were deleted, by anybody, ext4 makes new ones several times
slower (it avoids inodes that were just freed), which hides what is compared. Ratios are of medians, ours over theirs:
below one, we are faster. Those of the clock have goals; those of processor time stand beside them, but for ctr's,
whose work containerd does. Tools that are not installed are left out, and said so.
"""

import argparse
import hashlib
import io
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP))

from tests.bench.disk import own_disk  # noqa: E402  # this program may be started from anywhere
from tests.bench.results import machine  # noqa: E402
from tests.support.image.oci import Containerd, write_layout  # noqa: E402

FILES, DIRECTORIES = 55_000, 4_000
MEAN, SPREAD = 8.44, 1.2  # of the logarithm of sizes; about 9.5 KB on average
POOL = 16 << 20
MEMORY_DISK, ROOM = Path("/dev/shm"), 8 << 30
MEMORY = 150_000  # KiB, the goal for the whole process
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# Ours, theirs, and the goals for the ratio of their times: on a disk, and in memory
GOALS = [
    ("unpack", "tar", 0.6, 0.4),
    ("unpack", "ctr import", 0.9, 0.9),
    ("decrypt+unpack", "skopeo+umoci", 0.2, 0.2),
    ("decrypt+unpack", "unpack", 1.25, 1.25),
    ("decrypt", "skopeo", 0.35, 0.35),
]
NEEDS = {
    "tar": ("tar",),
    "ctr import": ("containerd", "ctr"),
    "skopeo+umoci": ("skopeo", "umoci"),
    "skopeo": ("skopeo",),
}

# What is measured is a whole process of ours, start included. Words: the layout, the diffID, where to, the key or "".
PROGRAM = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
layout, diff_id, target, key = sys.argv[2:]
from runjail.image import model
from runjail.image.layers import layer
def blob(digest):
    return os.open(os.path.join(layout, "blobs", *digest.split(":")), os.O_RDONLY)
def document(digest):
    return json.loads(os.read(blob(digest), 1 << 20))
manifest = document(json.load(open(layout + "/index.json"))["manifests"][0]["digest"])
found = model.parse_descriptor(manifest["layers"][0], "layer")
file, decryptor = blob(found.digest), None
if key:
    from runjail.image.crypto import cipher, keys, layer_stream, ocicrypt
    private = ocicrypt.unwrap(found, keys.read_keys([key]))
    public = ocicrypt.public(found)
    if not os.path.isdir(target):
        layer_stream.decrypt_blob(file, os.open(target, os.O_WRONLY | os.O_CREAT, 0o600), private, public, found)
    else:
        layer_stream.verify(file, private, public, found)
        decryptor = cipher.decryptor(private)
else:
    layer.verify(file, found)
if os.path.isdir(target):
    layer.unpack(file, target, diff_id, decryptor=decryptor)
print(*[line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")])
"""


def _pool(source: random.Random) -> bytes:
    """Return content that shrinks like that of an operating system: text, and what is compressed already."""
    words = ["".join(source.choices("etaoinshrdlucmfw", k=source.randint(2, 9))) for _ in range(4000)]
    parts = []
    while sum(map(len, parts)) < POOL:
        parts.append(" ".join(source.choices(words, k=6000)).encode())
        parts.append(source.randbytes(3000))
    return b"".join(parts)


def make_layer(path: Path) -> str:
    """Write the gzip layer and return its diffID."""
    source = random.Random(1)
    pool, hashed, packer = _pool(source), hashlib.sha256(), zlib.compressobj(6, zlib.DEFLATED, 31)

    class Out(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            hashed.update(data)
            blob.write(packer.compress(data))
            return len(data)

    with path.open("wb") as blob:
        with tarfile.open(fileobj=Out(), mode="w|", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[arg-type]
            for number in range(DIRECTORIES):
                _add(archive, _directory(number), tarfile.DIRTYPE)
                for inner in range(number, FILES, DIRECTORIES):
                    size = min(int(source.lognormvariate(MEAN, SPREAD)), POOL)
                    start = source.randrange(POOL - size + 1)
                    _add(archive, f"{_directory(number)}/file{inner}", tarfile.REGTYPE, pool[start : start + size])
                if number % 4 == 0:
                    _add(archive, f"{_directory(number)}/link", tarfile.SYMTYPE)
        blob.write(packer.flush())
    return f"sha256:{hashed.hexdigest()}"


def _directory(number: int) -> str:
    """Return directory number N of a tree with eight on each level: each follows its parent."""
    parts = []
    while number:
        number, last = (number - 1) // 8, (number - 1) % 8
        parts.append(f"part{last}")
    return "/".join(["usr", *reversed(parts)])


def _add(archive: tarfile.TarFile, name: str, kind: bytes, content: bytes = b"") -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.mtime = kind, len(content), 1_700_000_000
    entry.mode = 0o644 if kind == tarfile.REGTYPE else 0o755
    entry.linkname = "file0" if kind == tarfile.SYMTYPE else ""
    archive.addfile(entry, io.BytesIO(content))


class Bench:
    """One layer in two images, plain and encrypted, and all candidates. times, processor: seconds by name."""

    def __init__(self, top: Path) -> None:
        self.top, self.times, self.peaks, self._count = top, dict[str, list[float]](), dict[str, int](), 0
        self.processor: dict[str, list[float]] = {}
        self.blob, self.plain, self.key, self.encrypted = (
            top / "layer",
            top / "plain",
            top / "key.pem",
            top / "encrypted",
        )
        self.diff_id = make_layer(self.blob)
        self.packed = write_layout(self.plain, [(self.blob, self.diff_id)], LAYER)
        if shutil.which("skopeo"):
            public = top / "public.pem"
            _run("openssl", "genrsa", "-out", str(self.key), "2048")
            _run("openssl", "rsa", "-in", str(self.key), "-pubout", "-out", str(public))
            _run("skopeo", "copy", "--encryption-key", f"jwe:{public}", _oci(self.plain), _oci(self.encrypted))
        self.candidates: dict[str, Callable[[Path], None]] = {
            "unpack": lambda to: self._ours("unpack", self.plain, to, ""),
            "tar": self._tar,
            "ctr import": self._containerd,
            "decrypt+unpack": lambda to: self._ours("decrypt+unpack", self.encrypted, to, str(self.key)),
            "skopeo+umoci": self._umoci,
            "decrypt": lambda to: self._ours("decrypt", self.encrypted, to / "plain", str(self.key)),
            "skopeo": self._skopeo,
        }

    def _timed(self, name: str, *words: str) -> str:
        begun, used = time.perf_counter(), _processor()
        said = _run(*words)
        self.times.setdefault(name, []).append(time.perf_counter() - begun)
        if words[0] != "ctr":
            self.processor.setdefault(name, []).append(_processor() - used)
        return said

    def _ours(self, name: str, layout: Path, target: Path, key: str) -> None:
        words = [sys.executable, "-c", PROGRAM, str(TOP), str(layout), self.diff_id, str(target), key]
        peak = int(self._timed(name, *words))
        self.peaks[name] = max(peak, self.peaks.get(name, 0))

    def _tar(self, to: Path) -> None:
        self._timed("tar", "tar", "-xzpf", str(self.blob), "-C", str(to))

    def _containerd(self, to: Path) -> None:
        with Containerd(to / "containerd") as containerd:
            self._timed("ctr import", *containerd.words("image", "import", str(self.packed)))

    def _umoci(self, to: Path) -> None:
        self._skopeo(to, "skopeo+umoci")
        self._timed("skopeo+umoci", "umoci", "unpack", "--image", f"{to / 'decrypted'}:latest", str(to / "bundle"))
        for taken in (self.times["skopeo+umoci"], self.processor["skopeo+umoci"]):
            taken[-2:] = [sum(taken[-2:])]

    def _skopeo(self, to: Path, name: str = "skopeo") -> None:
        words = ["skopeo", "copy", "--decryption-key", str(self.key), _oci(self.encrypted), _oci(to / "decrypted")]
        self._timed(name, *words)

    def run(self, rounds: int) -> None:
        """Let everybody take turns."""
        for _ in range(rounds):
            for name, candidate in self.candidates.items():
                if self.missing(name):
                    continue
                self._count += 1
                to = self.top / f"run{self._count}"
                to.mkdir()
                candidate(to)
                if self.top.is_relative_to(MEMORY_DISK):
                    shutil.rmtree(to)
                else:
                    os.sync()  # what one wrote is not for the next to wait for

    def missing(self, name: str) -> str:
        """Return what is not there that a candidate needs."""
        needs = NEEDS.get(name, ("skopeo",) if name.startswith("decrypt") else ())  # somebody has to encrypt
        return " ".join(program for program in needs if not shutil.which(program))

    def ratios(self) -> list[tuple[str, str, float, float | None, float]]:
        """Return ours, theirs, their ratio by the clock and by processors (where that is known), and the goal."""
        return [
            (ours, theirs, _ratio(self.times, ours, theirs) or 0.0, _ratio(self.processor, ours, theirs), goals[place])
            for ours, theirs, *goals in GOALS
            for place in (int(self.top.is_relative_to(MEMORY_DISK)),)
            if {ours, theirs} <= self.times.keys()
        ]

    def facts(self) -> dict[str, object]:
        """Return the medians in seconds, the ratios that have goals, and the most memory in KiB, for programs."""
        ratios = self.ratios()
        return {
            "machine": machine(),
            "directory": str(self.top.parent),
            "seconds": _medians(self.times),
            "processor seconds": _medians(self.processor),
            "ratios": {f"{ours} / {theirs}": clock for ours, theirs, clock, _processor, _goal in ratios},
            "processor ratios": {f"{ours} / {theirs}": processor for ours, theirs, _clock, processor, _goal in ratios},
            "peaks": self.peaks,
        }

    def report(self) -> None:
        """Print times, ratios with their goals, and peaks."""
        size, load = self.blob.stat().st_size / 1e6, os.getloadavg()[0]
        rounds = len(self.times["unpack"])
        print(f"unpacking a gzip layer of {size:.0f} MB with {FILES} files, medians of {rounds}, load {load:.1f}:")
        for name, seconds in self.times.items():
            used = f"{statistics.median(self.processor[name]):.2f}" if name in self.processor else "-"
            print(f"  {name:15} {statistics.median(seconds):6.2f} s   (best {min(seconds):.2f}), processors {used}")
        for name in sorted({name for ours, theirs, *_goals in GOALS for name in (ours, theirs)}):
            if self.missing(name):
                print(f"  {name}: not measured, there is no {self.missing(name)}")
        for ours, theirs, clock, processor, goal in self.ratios():
            used = f" (processor time {processor:.2f})" if processor else ""
            print(f"  {ours} / {theirs}: {clock:.2f}{used}, goal {goal:.2f}: {'met' if clock <= goal else 'MISSED'}")
        for name, peak in self.peaks.items():
            verdict = "met" if peak <= MEMORY else "MISSED"
            print(f"  peak memory of {name}: {peak / 1000:.0f} MB, goal {MEMORY / 1000:.0f} MB: {verdict}")


def _medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def _ratio(seconds: dict[str, list[float]], ours: str, theirs: str) -> float | None:
    medians = _medians(seconds)
    return medians[ours] / medians[theirs] if {ours, theirs} <= medians.keys() else None


def _processor() -> float:
    """Return the processor seconds of programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _oci(layout: Path) -> str:
    return f"oci:{layout}:latest"


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words[0]} failed: {done.stderr.strip()}")
    return done.stdout


def main(rounds: int = 3, directory: str | None = None, *, as_json: bool = False, disk: bool = False) -> None:
    """Measure and print, as JSON if wanted. disk: on one of our own, in the directory.

    Takes 3 GB of memory, or 5 GB for each round below a directory on a disk; minutes.
    """
    if disk:
        with own_disk(directory) as place:
            main(rounds, place, as_json=as_json)
        return
    if directory is None and MEMORY_DISK.is_dir() and shutil.disk_usage(MEMORY_DISK).free > ROOM:
        directory = str(MEMORY_DISK)
    with tempfile.TemporaryDirectory(prefix="runjail-layers-", dir=directory) as top:
        bench = Bench(Path(top))
        bench.run(rounds)
        if as_json:
            print(json.dumps(bench.facts()))
        else:
            bench.report()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", help="where to work, e.g. on a disk")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON instead")
    parser.add_argument("--disk", action="store_true", help="work on a file system of its own, in a file there")
    given = parser.parse_args()
    main(given.rounds, given.directory, as_json=given.json, disk=given.disk)
