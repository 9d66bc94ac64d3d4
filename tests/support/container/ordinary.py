"""Containers of an ordinary user: the program as that user calls it, and a bundle of that user's."""

import os
import shutil
from pathlib import Path
from typing import Any

from tests.support.container.harness import Life
from tests.support.leftovers import Leftovers
from tests.support.needs import ORDINARY
from tests.support.program import Bundle, Result, Runjail, base_config

OWN = [{"containerID": 0, "hostID": ORDINARY, "size": 1}]


class OrdinaryRunjail(Runjail):
    """The program as an ordinary user calls it: without --root, with a directory for what runs."""

    def __init__(self, directory: Path, runtime: Path) -> None:
        super().__init__(directory)
        self.runtime, self.root = runtime, runtime / "runjail"

    def __call__(self, *args: str, env: dict[str, str] | None = None, root: bool = False, **more: Any) -> Result:
        """Run it to its end."""
        given = {"XDG_RUNTIME_DIR": str(self.runtime)} if env is None else env
        more |= {"user": ORDINARY, "group": ORDINARY, "extra_groups": []}
        return super().__call__(*args, env=given, root=False, **more)


def ordinary_life(runjail: Runjail, place: Path, machine_rootfs: Path, leftovers: Leftovers) -> Life:
    """Return one bundle that belongs to an ordinary user, as `runc spec --rootless` writes them."""
    shutil.copytree(machine_rootfs, place / "bundle" / "rootfs", symlinks=True)
    (place / "run").mkdir(mode=0o700)
    give(place)
    config = base_config(leftovers)
    config["linux"] |= {"uidMappings": OWN, "gidMappings": OWN}
    config["linux"]["namespaces"].append({"type": "user"})
    del config["linux"]["cgroupsPath"]
    return Life(OrdinaryRunjail(runjail.directory, place / "run"), Bundle(place / "bundle", config))


def give(place: Path) -> None:
    """Make a directory and all below it the ordinary user's."""
    for path in (place, *place.rglob("*")):
        os.chown(path, ORDINARY, ORDINARY, follow_symlinks=False)


def end(life: Life) -> None:
    """Delete all of that user's containers."""
    for id in life.runjail.ids():
        life.runjail("delete", "--force", id)
