"""Tests side by side, in workers of pytest-xdist. What may not run at the same time stands here, in one place.

    python -m pytest $(python -m tests.support.side_by_side)      as `make test` does it

Plain `pytest` runs them one by one.

A worker is given whole files, because the tests of a file share what is made once for it. Tests that need something
of which a machine should have one, or which everybody there sees, are a group instead, whatever file they are in: one
worker runs them, one after the other.
"""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.support import needs
from tests.support.leftovers import Leftovers

GROUPS = {  # by what a test needs; the first that fits. Those that take longest come first
    "zfs": "zfs",  # zfs-fuse: one daemon for all, and it stops answering when several work hard
    **dict.fromkeys(("a cluster", "kubelet of its own"), "kubernetes"),  # two processors can do one
    "dockerd": "docker",  # with a containerd of its own
    "containerd": "containerd",  # one daemon for a file; shims' sockets are in one directory of the machine
    "podman": "podman",
    "buildah": "podman",
    "cgroups": "cgroups",  # some use the group runjail/ID that a container without a path of its own gets
}
MOST = 4  # workers


def group_of(item: pytest.Item) -> str | None:
    """Return the group of tests that one worker runs in sequence, None when the file decides."""
    wanted = needs.of(item)
    return next((group for need, group in GROUPS.items() if need in wanted), None)


def arrange(items: list[pytest.Item]) -> dict[str, str]:
    """Put groups first, then files with slow tests; the rest fills the workers' time. Returns groups by node id."""
    order, found = list(dict.fromkeys(GROUPS.values())), {item.nodeid: group_of(item) for item in items}
    slow = {file_of(item.nodeid) for item in items if any(item.iter_markers("slow"))}

    def place(item: pytest.Item) -> int:
        if group := found[item.nodeid]:
            return order.index(group)
        return len(order) + (file_of(item.nodeid) not in slow)

    items.sort(key=place)
    return {nodeid: group for nodeid, group in found.items() if group}


def file_of(nodeid: str) -> str:
    """Return the file of a test."""
    return nodeid.partition("::")[0]


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of several that run tests."""
    return hasattr(config, "workerinput")


def controls(config: pytest.Config) -> bool:
    """Whether this process only hands tests out."""
    return not is_worker(config) and config.getoption("dist", "no") != "no"


def tell(config: pytest.Config, table: list[str], groups: dict[str, str]) -> None:
    """Let the controller know what a worker found out about the tests; it looks at none itself."""
    path = Path(config.workerinput["told"])  # type: ignore[attr-defined]
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps({"table": table, "groups": groups}), encoding="utf-8")
    beside.rename(path)


class Controller:
    """What the process does that hands tests out: one table, one clean-up."""

    def __init__(self, config: pytest.Config) -> None:
        base: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # no fixtures here
        self.config, self.told, self.printed = config, base / "told", False
        config.option.loadscopereorder = False  # the order is ours
        Leftovers.sweep_aborted(str(base.parent))
        self.leftovers = Leftovers(str(base))
        self.leftovers.claim()

    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker where we look for what it tells."""
        node.workerinput["told"] = str(self.told)

    def pytest_xdist_node_collection_finished(self) -> None:
        """Print once what is not tested here."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter and not self.printed and self.told.exists():  # else a path is wrong, and no worker looked at tests
            self.printed = True
            reporter.write_line("\n".join(["", *json.loads(self.told.read_text(encoding="utf-8"))["table"]]))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say why there was nothing to do: what a worker found wrong with the command line is shown nowhere."""
        if not self.printed:
            terminalreporter.write_line("a path or test on the command line is not there: plain pytest says which")

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Hand out groups, and files."""
        from xdist.scheduler import LoadScopeScheduling

        told = self.told

        class Scheduler(LoadScopeScheduling):  # type: ignore[misc, unused-ignore]
            groups: dict[str, str] | None = None

            def _split_scope(self, nodeid: str) -> str:
                if self.groups is None:
                    self.groups = json.loads(told.read_text(encoding="utf-8"))["groups"]
                return self.groups.get(nodeid) or file_of(nodeid)

            def _reschedule(self, node: Any) -> None:
                """Give a worker two tests, or say that there are no more: until then it keeps its last one.

                Once a worker has died, one unit may not be enough: it can have one test, or be done already.
                """
                super()._reschedule(node)
                while not (node.shutting_down or (self.workqueue and self._pending_of(self.assigned_work[node]) > 1)):
                    super()._reschedule(node)

            def remove_node(self, node: Any) -> str | None:
                """Return the test that ended a worker, which no other worker must try: it would end that, too."""
                units = self.assigned_work[node].values()
                first = next(((unit, nodeid) for unit in units for nodeid, done in unit.items() if not done), None)
                if first:
                    first[0][first[1]] = True
                super().remove_node(node)
                return first[1] if first else None

        return Scheduler(config, log)

    def pytest_unconfigure(self) -> None:
        """Remove what a worker left that was killed; what others leave, they report themselves."""
        if found := self.leftovers.find():
            print("\nworkers that ended too early left behind, removed now:\n  " + "\n  ".join(found), file=sys.stderr)
            self.leftovers.sweep()
        self.leftovers.release_interpreter()


def options() -> list[str]:
    """Return the words that make pytest run tests side by side, none where xdist is missing.

    Two workers more than there are processors: tests wait longer than they compute, and three kept two processors busy
    for 60 % of the time.
    """
    return ["-n", str(min(MOST, 2 + (os.cpu_count() or 1)))] if find_spec("xdist") else []


if __name__ == "__main__":
    print(*options())
