"""How many system calls a file takes, by strace(1): what twice as many files take more."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.support.program import TOP

# What depends on who waits for whom, and on how memory is had
OTHERS = {"futex", "sched_yield", "mmap", "munmap", "mremap", "madvise", "brk", "rt_sigprocmask", "mprotect"}

STATS = {"fstat", "newfstatat", "statx"}  # C libraries differ


def a_file(program: str, made: Callable[[int], list[str]], out: Path, files: int = 200) -> dict[str, float]:
    """Return the calls by name that a file takes: a program of Python is run on `files` and on twice as many.

    made: makes what the program works on, for a number of files, and returns the program's words. More files would only
    take longer: each call waits twice for the scheduler, which on a busy machine is milliseconds.
    """
    few, many = (_calls([sys.executable, "-c", program, *made(count)], out) for count in (files, 2 * files))
    found = {name: round((many[name] - few[name]) / files, 1) for name in many if name not in OTHERS}
    return {name: count for name, count in found.items() if count}


def _calls(words: list[str], out: Path) -> Counter[str]:
    subprocess.run(["strace", "-f", "-c", "-o", str(out), *words], check=True, cwd=TOP)
    rows = [line.split() for line in out.read_text(encoding="utf-8").splitlines()[2:]]
    found: Counter[str] = Counter()
    for row in rows:
        if len(row) >= 5 and row[3].isdecimal() and row[-1] != "total":
            found["stat" if row[-1] in STATS else row[-1]] += int(row[3])
    return found
