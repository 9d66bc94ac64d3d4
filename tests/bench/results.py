"""What a bench has measured, as a document that a later run is compared with: --json and --compare."""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Rows = Mapping[str, Mapping[str, Sequence[float]]]  # milliseconds by what was measured and runtime


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let a bench have both options."""
    parser.add_argument("--json", action="store_true", help="print what was measured as JSON instead")
    parser.add_argument("--compare", metavar="OLD.json", help="also say what has changed since")


def document(rows: Rows, rounds: int) -> dict[str, Any]:
    """Return the least time and the median of all that was measured, in milliseconds, and of what machine they are."""
    found = {
        what: {
            name: {"min": round(min(times), 3), "median": round(statistics.median(times), 3)}
            for name, times in by_name.items()
        }
        for what, by_name in rows.items()
    }
    return {"machine": machine(), "rounds": rounds, "rows": found}


def changes(rows: Rows, path: str, ours: str = "runjail") -> list[str]:
    """Return a line for each row that an older document has too: its median of ours, and that beside the first peer's.

    The times of another day say little by themselves, their ratios to a peer's of the same run more.
    """
    lines, old = [], json.loads(Path(path).read_text(encoding="utf-8"))["rows"]
    for what, by_name in document(rows, 0)["rows"].items():
        if ours not in old.get(what, {}):
            continue
        before, now = old[what][ours]["median"], by_name[ours]["median"]
        line = f"{what:<26} was {before:.1f} ms: {now / before:.2f} of it"
        for peer in [name for name in by_name if name != ours and name in old[what]][:1]:
            was, ratio = before / old[what][peer]["median"], now / by_name[peer]["median"]
            line += f"; was {was:.2f} of {peer}'s, is {ratio:.2f}"
        lines.append(line)
    return lines


def machine() -> dict[str, str]:
    """Return what a result belongs to."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            processor = next((line.split(": ")[1].strip() for line in file if line.startswith("model name")), processor)
    except OSError:
        pass
    versions = {}
    for name in ("runc", "crun"):
        path = shutil.which(name)
        if path:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
            versions[name] = said.partition("\n")[0]
    return {
        "processor": f"{os.cpu_count()} of {processor}",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"Python {platform.python_version()}",
        "load": " ".join(f"{number:.1f}" for number in os.getloadavg()),
        **versions,
    }
