"""docs/tour.md is run, line by line: what it shows is what one sees."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.support.needs import has
from tests.support.network.plugins import PLUGINS, Cni, namespace
from tests.support.program import Runjail, own_words

TOUR = Path(__file__).resolve().parent.parent.parent / "docs" / "tour.md"
ANY = "…"
NETWORK = "## A network"


def steps(cni: bool = True) -> list[tuple[str, list[str]]]:
    """Return each command of the page with the lines that it shows. cni: with those of the section about networks."""
    found: list[tuple[str, list[str]]] = []
    inside, heading = False, ""
    for line in TOUR.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line
        if line.startswith("```"):
            inside = line == "```console" and (cni or heading != NETWORK)
        elif inside and line.startswith("# "):
            found.append((line[2:], []))
        elif inside:
            found[-1][1].append(line)
    return found


def pattern(lines: list[str]) -> str:
    """Return what matches the lines: a line of nothing but dots is any number of them.

    Two spaces or more are the space between columns, which follows the longest value of the moment.
    """
    parts = [r"(?:.*\n)*" if line == ANY else columns(line) + r"\n" for line in lines]
    return "".join(parts)


def columns(line: str) -> str:
    """Return what matches one line."""
    return " {2,}".join(re.escape(part).replace(ANY, ".*") for part in re.split(" {2,}", line))


def test_the_page_is_read() -> None:
    assert len(steps()) > 25
    assert re.fullmatch(pattern(["a", ANY, "b …"]), "a\nx\ny\nb z\n")
    assert re.fullmatch(pattern(["A  B   C"]), "A   B  C\n")
    assert not re.fullmatch(pattern(["a"]), "a\nb\n")
    assert not re.fullmatch(pattern(["a b"]), "a  b\n")


@pytest.mark.needs("containers")
def test_the_first_hour(runjail: Runjail, machine_rootfs: Path, tmp_path: Path) -> None:
    """In order, in one directory, with a store and containers of its own; nothing of them stays."""
    pytest.importorskip("urllib3")
    shutil.copytree(machine_rootfs, tmp_path / "rootfs", symlinks=True)
    cni = has("cni")
    path = f"{Path(runjail.program).parent}:{os.environ['PATH']}"
    env = {
        "PATH": path,
        "RUNJAIL_ROOT": str(runjail.root),
        "RUNJAIL_STORE": f"dir:{tmp_path}/store",
        "LC_ALL": "C.UTF-8",
    }
    lists = Cni(tmp_path / "cni")
    after = {"runjail network create web": lambda: lists.keep_addresses("web", tmp_path / "addresses")}
    with namespace() if cni else nullcontext() as place:
        within = place.command if place else []
        env |= lists.env(PLUGINS) if cni else {}
        walk(steps(cni), after, within, env, tmp_path, runjail)
    assert os.listdir(tmp_path / "store" / "bundles") == []


def walk(
    typed: list[tuple[str, list[str]]],
    after: dict[str, Callable[[], None]],
    within: list[str],
    env: dict[str, str],
    tmp_path: Path,
    runjail: Runjail,
) -> None:
    """Type everything, and compare what is seen.

    after: what the test does once a command has ended; within: what runs a command in a network of the test's own.
    """
    try:
        for command, lines in typed:
            with open(tmp_path / "said", "wb+") as said:  # a file: a container keeps what it is given
                subprocess.run([*within, "/bin/sh", "-c", command], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL,
                               stdout=said, stderr=said, check=False)  # fmt: skip
            shown = own_words((tmp_path / "said").read_text(encoding="utf-8"))
            assert re.fullmatch(pattern(lines), shown), f"# {command}\n{shown}"
            after.get(command, lambda: None)()
    finally:
        for name in runjail.ids() if runjail.root.is_dir() else []:
            command = [runjail.program, "delete", "--force", name]
            subprocess.run([*within, *command], env=env, check=False, capture_output=True)
