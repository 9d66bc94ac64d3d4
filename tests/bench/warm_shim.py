"""What a life costs in a shim that is there already, in starts of a bare interpreter: on FreeBSD as on Linux.

One shim for all of a namespace, which a client asks as containerd does: Create, Start, Kill, Wait and Delete of a
container that sleeps, and a life of /bin/true, which ends by itself. The unit is `python3 -I -S -c pass`, started once
a round. Wall clock, and the processor time of the shim with everything that it has waited for: workers, jail(8), init.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import psutil

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, TOP)

from tests.bench.bench import RUNJAIL, Runtime  # noqa: E402  # this program may be started from anywhere
from tests.bench.results import machine  # noqa: E402
from tests.bench.verbs import BARE, run  # noqa: E402
from tests.bench.workplace import lacks_root, workplace  # noqa: E402
from tests.support.leftovers import Leftovers  # noqa: E402
from tests.support.shim.caller import Caller  # noqa: E402
from tests.support.shim.talk import Client  # noqa: E402

OCIJAIL = 0.74  # starts: what a whole life with ocijail takes on FreeBSD 15.1
KINDS = {"life of a sleeper": "/bin/sleep 600", "life of true": "/bin/true"}
Times = dict[str, list[float]]


class Shim:
    """One shim, and the container `web` of it whose life is taken again and again."""

    def __init__(self, runtime: Runtime, ours: Leftovers) -> None:
        self._runtime, self._caller = runtime, Caller(Path(ours.base))
        self._caller.env |= {ours.MARK: ours.base}
        self.bundle = self._caller.bundle("web")
        os.rename(os.path.join(runtime.bundle, "rootfs"), self.bundle / "rootfs")
        self._client = Client(self._caller.start("web").removeprefix("unix://"))
        self._process = psutil.Process(self._client.pid())

    def life(self, command: str) -> None:
        """Take a container through its life; one that runs for long is killed."""
        self._client.call("Create", bundle=str(self.bundle))
        self._client.call("Start")
        if command != "/bin/true":
            self._client.call("Kill", signal=9)
        self._client.call("Wait")
        self._client.call("Delete")

    def configure(self, command: str) -> None:
        """Write config.json with this program."""
        self._runtime.configure("web")
        config = json.loads(Path(self._runtime.bundle, "config.json").read_text(encoding="utf-8"))
        config["process"]["args"] = command.split()
        (self.bundle / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def used(self) -> float:
        """Return the milliseconds of a processor that the shim and its dead children have used."""
        return sum(self._process.cpu_times()[:4]) * 1000

    def end(self) -> None:
        """End it."""
        self._client.socket.close()
        self._caller.delete("web")
        self._process.wait(60)


def measure(shim: Shim, runtime: Runtime, rounds: int) -> dict[str, Times]:
    """Return wall clock and processor time in starts, by kind of life."""
    found: dict[str, Times] = {"wall": {}, "cpu": {}}
    python = os.path.realpath(sys.executable)
    for kind, command in KINDS.items():
        shim.configure(command)
        shim.life(command)  # to warm up
        bare, lives, before = [], [], shim.used()
        for _ in range(rounds):
            bare.append(run(runtime, [python, *BARE])[1])  # type: ignore[arg-type]  # it spawns like any other
            begun = time.perf_counter()
            shim.life(command)
            lives.append((time.perf_counter() - begun) * 1000)
        cpu, wall = (statistics.median(each) for each in zip(*bare, strict=True))
        found["wall"][kind] = [spent / wall for spent in lives]
        found["cpu"][kind] = [(shim.used() - before) / rounds / cpu]
    return found


def main() -> int:
    """Measure and print; 1 when nothing could be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="lives of a container (default: 30)")
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON instead")
    options = parser.parse_args()
    if lacks_root("bench of a warm shim"):
        return 1
    with workplace(silent=options.json) as ours:
        runtime = Runtime("runjail", RUNJAIL, ours.base, ours)
        runtime.prepare()
        shim = Shim(runtime, ours)
        try:
            found = measure(shim, runtime, options.rounds)
        finally:
            shim.end()
        if options.json:
            print(json.dumps({"machine": machine(), "rounds": options.rounds, "rows": found}, indent=1))
        else:
            report(found)
    return 0


def report(found: dict[str, Times]) -> None:
    """Print medians in starts, and what the compiled peer takes on FreeBSD."""
    print(f"{'starts of an interpreter':<26}{'cpu':>8}{'wall':>8}")
    for kind in KINDS:
        print(f"{kind:<26}{found['cpu'][kind][0]:>8.2f}{statistics.median(found['wall'][kind]):>8.2f}")
    if sys.platform.startswith("freebsd"):
        print(f"ocijail's verbs take {OCIJAIL} of them for a whole life")


if __name__ == "__main__":
    raise SystemExit(main())
