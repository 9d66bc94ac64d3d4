"""registries.conf: what skopeo takes for one is one, and by one file both pull the same image, or neither does."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.errors import InvalidConfig
from runjail.image.registry import registries_conf
from tests.support.image.images import Layout, digest_of
from tests.support.image.registries import INVALID, OURS, VALID
from tests.support.image.registry_server import DockerRegistry
from tests.support.program import Runjail

pytestmark = pytest.mark.peers("skopeo")


class Shelf:
    """Three registries: only `first` has team/web:1 and only `second` has team/db:1; `third` has both, other ones."""

    def __init__(self, top: Path) -> None:
        self.servers = []
        self.digests = {}
        for name, images in (("first", ["web"]), ("second", ["db"]), ("third", ["web", "db"])):
            (top / name).mkdir()
            self.servers.append(DockerRegistry(top / name))
            layout = Layout(top / f"{name}.images")
            for image in images:
                self.digests[name, image] = layout.image(image, [{f"of-{name}": image}]).digest
                target = f"docker://{self.servers[-1].host}/team/{image}:1"
                copy(top, "--dest-tls-verify=false", f"oci:{layout.path}:{image}", target)

    def named(self, text: str) -> str:
        """Return a text with registries' addresses for their names, and digests."""
        text = re.sub(r"@(\w+)/(\w+)", lambda found: "@" + self.digests[found[1], found[2]], text)
        for name, server in zip(("FIRST", "SECOND", "THIRD"), self.servers, strict=True):
            text = text.replace(name, server.host)
        return text


def copy(directory: Path, *words: str, conf: str = "") -> "subprocess.CompletedProcess[str]":
    policy = directory / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}', encoding="utf-8")
    options = ["--policy", str(policy), *(["--registries-conf", conf] if conf else [])]
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent"}
    command = ["skopeo", *options, "copy", "--quiet", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    pytest.importorskip("urllib3", reason="needs urllib3")
    found = Shelf(tmp_path_factory.mktemp("shelf"))
    yield found
    for server in found.servers:
        server.stop()


@pytest.mark.parametrize("text", [*VALID, *INVALID, *OURS])
def test_both_take_the_same_for_a_file(text: str, tmp_path: Path) -> None:
    """What only we refuse is among OURS, and nothing else."""
    path = tmp_path / "registries.conf"
    path.write_text(text, encoding="utf-8")
    try:
        registries_conf.read(str(path))
        ours = True
    except InvalidConfig:
        ours = False
    done = copy(tmp_path, "docker://127.0.0.1:1/web", f"dir:{tmp_path}/out", conf=str(path))

    assert ("loading registries configuration" not in done.stderr) == (ours or text in OURS), done.stderr


TEAM = '[[registry]]\nprefix="shelf.test/team"\nlocation="{}/team"\ninsecure=true\n'
MIRROR = '[[registry.mirror]]\nlocation="{}/team"\ninsecure=true\n'
ALL = TEAM.format("THIRD") + MIRROR.format("FIRST") + MIRROR.format("SECOND")
DEAD = MIRROR.format("127.0.0.1:1")
BLOCK = '[[registry]]\nlocation="{}"\nblocked=true\n'
CASES = {  # what is pulled by which file, and whose it is, "" for an error
    "a mirror": (ALL, "shelf.test/team/web:1", "first"),
    "the next mirror": (ALL, "shelf.test/team/db:1", "second"),
    "behind a dead mirror": (TEAM.format("THIRD") + DEAD + MIRROR.format("SECOND"), "shelf.test/team/db:1", "second"),
    "the location": (TEAM.format("THIRD") + DEAD, "shelf.test/team/web:1", "third"),
    "nowhere": (ALL, "shelf.test/team/none:1", ""),
    "a digest": (ALL, "shelf.test/team/web@third/web", "third"),
    "another prefix": (ALL.replace("shelf.test/team", "127.0.0.1:1/teams"), "127.0.0.1:1/team/web:1", ""),
    "digests only, a tag": (
        TEAM.format("THIRD") + MIRROR.format("FIRST") + 'pull-from-mirror="digest-only"\n',
        "shelf.test/team/web:1",
        "third",
    ),
    "digests only, a digest": (
        TEAM.format("SECOND") + MIRROR.format("FIRST") + 'pull-from-mirror="digest-only"\n',
        "shelf.test/team/web@first/web",
        "first",
    ),
    "tags only, a digest": (
        TEAM.format("SECOND") + MIRROR.format("FIRST") + 'pull-from-mirror="tag-only"\n',
        "shelf.test/team/web@first/web",
        "",
    ),
    "mirrors by digest only": (
        TEAM.format("THIRD") + "mirror-by-digest-only=true\n" + MIRROR.format("FIRST"),
        "shelf.test/team/web:1",
        "third",
    ),
    "subdomains": (
        '[[registry]]\nprefix="*.shelf.test"\nlocation="THIRD"\ninsecure=true\n',
        "a.b.shelf.test/team/web:1",
        "third",
    ),
    "a port follows": (
        '[[registry]]\nprefix="shelf.test"\nlocation="127.0.0.1"\ninsecure=true\n',
        "PORT/team/web:1",
        "third",
    ),
    "blocked": (BLOCK.format("THIRD"), "THIRD/team/web:1", ""),
    "a blocked repository": (BLOCK.format("THIRD/team/web"), "THIRD/team/web:1", ""),
    "beside a blocked repository": (
        BLOCK.format("THIRD/team/web") + '[[registry]]\nlocation="THIRD"\ninsecure=true\n',
        "THIRD/team/db:1",
        "third",
    ),
    "a blocked mirror": (ALL + BLOCK.format("FIRST"), "shelf.test/team/web:1", "third"),
    "insecure": ('[[registry]]\nlocation="THIRD"\ninsecure=true\n', "THIRD/team/web:1", "third"),
    "version 1": ("[registries.insecure]\nregistries=['THIRD']\n", "THIRD/team/web:1", "third"),
    "blocked in version 1": ("[registries.block]\nregistries=['THIRD']\n", "THIRD/team/web:1", ""),
}  # fmt: skip


@pytest.mark.needs("docker-registry", "loopback")
@pytest.mark.parametrize("case", CASES)
def test_both_pull_the_same(case: str, shelf: Shelf, runjail: Runjail, tmp_path: Path) -> None:
    text, name, whose = CASES[case]
    port = shelf.servers[2].host.rpartition(":")[2]
    name = shelf.named(name).replace("PORT", f"shelf.test:{port}")
    path = tmp_path / "registries.conf"
    path.write_text(shelf.named(text), encoding="utf-8")
    image = re.split("[:@]", name.rpartition("/")[2])[0]
    wanted = shelf.digests[whose, image] if whose else ""

    theirs = copy(tmp_path, f"docker://{name}", f"dir:{tmp_path}/out", conf=str(path))
    ours = runjail(
        "--store", f"dir:{tmp_path}/store", "image", "pull", name, env={registries_conf.NAMED: str(path)}, root=False
    )

    assert (theirs.returncode, ours.returncode) == ((0, 0) if whose else (1, 1)), (theirs.stderr, ours)
    if whose:
        assert digest_of((tmp_path / "out" / "manifest.json").read_bytes()) == wanted
        assert ours.stdout.startswith(f"{name.partition('@')[0]}@{wanted}")
