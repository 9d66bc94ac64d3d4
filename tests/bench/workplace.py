"""Where the programs of `make bench` work, and what they tell of the machine."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.support.leftovers import Leftovers
from tests.support.machine_root import missing


@contextmanager
def workplace(*, silent: bool = False) -> Iterator[Leftovers]:
    """Make a directory, `base`, whose containers are swept away with it, and print the load unless `silent`."""
    ours = Leftovers(tempfile.mkdtemp(prefix="runjail-bench-"))
    before = load()
    try:
        yield ours
        if not silent:
            print(f"load average: {before} before, {load()} after; {os.cpu_count()} processors")
    finally:
        ours.sweep()
        ours.release_interpreter()
        shutil.rmtree(ours.base, ignore_errors=True)


def lacks_root(name: str) -> bool:
    """Whether no containers can be made here; says why on standard error. name: of the bench."""
    if not os.geteuid() and not missing():
        return False
    print(f"{name}: {missing() or 'it makes containers, which takes root: run it as root'}", file=sys.stderr)
    return True


def lacks_program(name: str, programs: Sequence[str]) -> bool:
    """Whether a program is not here that a bench compares with; says which on standard error. name: of the bench."""
    absent = [program for program in programs if not shutil.which(program)]
    if absent:
        print(f"{name}: needs {', '.join(absent)}", file=sys.stderr)
    return bool(absent)


def load() -> str:
    """Return the load average: times of a busy machine mean little, their ratios a bit more."""
    return " ".join(f"{number:.2f}" for number in os.getloadavg())
