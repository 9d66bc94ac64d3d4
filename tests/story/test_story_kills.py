"""SIGKILL before the steps of a verb of images: the next try finishes, prune cleans up, what is in use stays whole."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runjail.storage.base import RootfsUse
from tests.support.container import fault_injection
from tests.support.image.registry_server import DockerRegistry
from tests.support.program import TOP
from tests.support.story.cli import Cli, Keys

pytestmark = [pytest.mark.needs("root"), pytest.mark.slow]
MAX_STEPS = 1000
Look = Callable[[], object]


class Victim:
    """Verbs that are killed, beside a container that they must not hurt."""

    def __init__(self, cli: Cli, hello: str) -> None:
        self.cli, self.hello = cli, hello
        self.said = cli.directory / "said"

    def kill(self, number: int, *args: str) -> int:
        """Run a verb and kill it before a step; returns its exit code, -9 when it was killed."""
        state = ("--root", str(self.cli.runjail.root), "--store", self.cli.location)
        command = [
            str(TOP / ".venv" / "bin" / "python"),
            str(fault_injection.__file__),
            "parent",
            str(number),
            *state,
            *args,
        ]
        env = {"PATH": os.environ["PATH"], **self.cli.env}
        with open(self.said, "wb") as said:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=60, check=False, env=env
            )
        return done.returncode

    def at_steps(self, stride: int, *args: str, after: Look, before: Look = lambda: None) -> int:
        """Kill at every `stride`th step until the verb gets through; returns how many steps there are."""
        for number in range(1, MAX_STEPS, stride):
            before()
            code = self.kill(number, *args)
            said = self.said.read_text()
            assert code in (0, -9), said
            assert "Traceback" not in said and "internal error" not in said, said
            after()
            if code == 0:
                return number
        raise AssertionError("it never got through")

    def nothing_is_left(self) -> None:
        """Take all names away and prune: then there is nothing, not even what is half-made."""
        cli = self.cli
        for name in cli.runjail.ids() if cli.runjail.root.is_dir() else []:
            cli.ok("delete", "--force", name)
        for image in cli.json("image", "ls"):
            cli.ok("image", "rm", image["name"])
        pruned = cli.json("image", "prune")
        assert pruned["half_made"] == [], "the verbs before this one have swept"
        assert cli.store.layers() == []
        assert cli.left() == {"roots": [], "bundles": [], "containers": []}
        content = Path(cli.store.content())
        young = {path.name for path in content.glob("ingest/*")}  # what a pull resumes within the hour
        assert list(content.glob("blobs/*/*")) == []
        assert len(young) <= 1


@pytest.fixture
def victim(cli: Cli, machine_rootfs: Path, tmp_path: Path) -> Victim:
    """A store without images; the image is in a layout outside."""
    words = ("--cmd", "/bin/echo", "--cmd", "Hello World!")
    cli.ok("image", "import", *words, f"rootfs:{machine_rootfs}", "hello")
    cli.ok("image", "export", "hello", f"oci:{tmp_path}/hello:t")
    cli.ok("image", "rm", "hello")
    return Victim(cli, f"oci:{tmp_path}/hello:t")


def test_import_killed(victim: Victim) -> None:
    """The next import resumes; a name is there only with everything that it needs."""

    def look() -> None:
        for image in victim.cli.json("image", "ls"):
            victim.cli.ok("image", "export", image["name"], f"oci:{victim.cli.directory}/again:t")

    steps = victim.at_steps(1, "image", "import", victim.hello, "hello", after=look)
    assert steps >= 10
    assert victim.cli.ok("run", "--image", "hello", "one") == "Hello World!\n"
    victim.nothing_is_left()


def test_pull_killed(victim: Victim, registry: DockerRegistry) -> None:
    """The same from a registry, with threads."""
    name = f"{registry.host}/kills:{victim.cli.location.partition(':')[0]}"
    victim.cli.ok("image", "import", victim.hello, "hello")
    victim.cli.ok("image", "push", "hello", name)
    victim.cli.ok("image", "rm", "hello")

    victim.at_steps(3, "image", "pull", name, after=lambda: None)
    assert victim.cli.ok("run", "--image", name, "one") == "Hello World!\n"
    victim.nothing_is_left()


def test_unpack_killed(victim: Victim, keys: Keys) -> None:
    """While it authenticates, decrypts, applies and commits: a layer is there whole, or not at all."""
    victim.cli.ok("image", "import", victim.hello, "hello")
    victim.cli.ok("image", "encrypt", *keys.recipient, "hello")
    whole = None

    def look() -> None:
        nonlocal whole
        for layer in victim.cli.store.layers():
            whole = whole or layer.total
            assert abs(layer.total - whole) < 4096, "a layer that is not whole"
            victim.cli.store.remove_layer(layer)

    victim.at_steps(3, "image", "unpack", *keys.key, "hello", after=look)
    assert victim.cli.ok("run", "--image", "hello", *keys.key, "one") == "Hello World!\n"
    victim.nothing_is_left()


def test_run_killed(victim: Victim) -> None:
    """Bundle, root and container: delete and prune take back what there is."""
    victim.cli.ok("image", "import", victim.hello, "hello")
    victim.cli.ok("image", "unpack", "hello")

    def clean() -> None:
        for name in victim.cli.runjail.ids() if victim.cli.runjail.root.is_dir() else []:
            victim.cli.ok("delete", "--force", name)
        victim.cli.ok("image", "prune")
        assert victim.cli.left() == {"roots": [], "bundles": [], "containers": []}
        assert len(victim.cli.store.layers()) == 1

    victim.at_steps(5, "run", "--image", "hello", "one", after=clean)
    victim.nothing_is_left()


def test_prune_and_rm_killed(victim: Victim) -> None:
    """Beside a container that runs: its layers and its root stay whatever happens."""
    victim.cli.ok("run", "--image", victim.hello, "-d", "stays", "--", "/bin/sleep", "600")
    used = [layer.chain for layer in victim.cli.store.layers()]

    def more() -> None:
        """Something to remove: a root whose container is gone, a name, blobs."""
        victim.cli.ok("image", "import", victim.hello, "hello")
        if not any(root.name == "orphan" for root in victim.cli.store.roots()):
            gone = {"container": "/nonexistent/state"}
            victim.cli.store.create_rootfs("orphan", used[0], use=RootfsUse(properties=gone))

    def look() -> None:
        assert victim.cli.ok("exec", "stays", "/bin/echo", "well") == "well\n"
        assert [layer.chain for layer in victim.cli.store.layers()] == used

    victim.at_steps(2, "image", "prune", "--all", before=more, after=look)
    victim.at_steps(2, "image", "rm", "--force", "hello", before=more, after=look)
    assert json.loads(victim.cli.ok("state", "stays"))["status"] == "running"
    victim.nothing_is_left()
