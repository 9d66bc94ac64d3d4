"""Names without a host: docker.io's, unless registries.conf says otherwise."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.cli.image.names import candidates
from runjail.errors import UsageError
from runjail.image.registry import registries_conf
from runjail.image.registry.registries_conf import Registries
from tests.support.image.registry_server import Fake
from tests.support.program import Runjail

ALIASES = {"web": "c.test/all/web", "t/db": "d.test/db"}
SAID = Registries(search=("a.test", "b.test:5000"), path="/etc/x.conf", aliases=ALIASES)
DIGEST = "sha256:" + "0" * 64


def names(word: str, said: Registries = SAID) -> list[str]:
    return [each.name for each in candidates(word, lambda: said)]


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("web", ["c.test/all/web:latest"]),
        ("web:1", ["c.test/all/web:1"]),
        (f"web:1@{DIGEST}", [f"c.test/all/web:1@{DIGEST}"]),
        ("t/db", ["d.test/db:latest"]),
        ("t/web:1", ["a.test/t/web:1", "b.test:5000/t/web:1"]),
        ("docker.io/web", ["docker.io/library/web:latest"]),
        ("docker://web", ["docker.io/library/web:latest"]),
        ("localhost/web", ["localhost/web:latest"]),
        ("oci:web:1", ["oci:web:1"]),
        (DIGEST, [DIGEST]),
    ],
)
def test_what_a_word_may_mean(word: str, found: list[str]) -> None:
    """Aliases come before registries that are looked through; tags and digests stay."""
    assert names(word) == found


def test_docker_io_where_nothing_is_said() -> None:
    """As ever. Who says that there are no registries for short names, gets none."""
    assert names("web:1", Registries()) == ["docker.io/library/web:1"]
    with pytest.raises(UsageError, match=r"'web' is a short name: /etc/x.conf has no alias for it") as caught:
        names("web", Registries(search=(), path="/etc/x.conf"))
    assert caught.value.hint == "docker.io's is docker.io/library/web:latest"
    assert names("0123456789abcdef", Registries(search=(), path="/etc/x.conf"))


def test_full_names_ask_nobody() -> None:
    """They cost no reading of files."""

    def conf() -> Registries:
        raise AssertionError

    assert candidates("a.test/web", conf)


# By the program -----------------------------------------------------------------------------------------------------


@pytest.fixture
def fakes() -> Iterator[list[Fake]]:
    pytest.importorskip("urllib3", reason="needs urllib3")
    running = [Fake(), Fake()]
    yield running
    for each in running:
        each.stop()


class Told:
    """The program with a store and a registries.conf."""

    def __init__(self, runjail: Runjail, directory: Path, text: str) -> None:
        self.runjail, self.store = runjail, f"dir:{directory}/store"
        path = directory / "registries.conf"
        path.write_text(text, encoding="utf-8")
        self.env = {registries_conf.NAMED: str(path)}

    def ok(self, *words: str) -> str:
        return self.runjail.ok("--store", self.store, "image", *words, env=self.env, root=False).stdout

    def refused(self, *words: str) -> str:
        result = self.runjail("--store", self.store, "image", *words, env=self.env, root=False)
        assert result.returncode == 1, result
        return result.stderr


@pytest.mark.needs("loopback")
def test_the_first_registry_that_has_it(runjail: Runjail, fakes: list[Fake], tmp_path: Path) -> None:
    """Its own name is the image's, and the short one means that from then on, in every verb."""
    first, second = fakes
    top = second.add_image("latest", b"layer")
    told = Told(runjail, tmp_path, f'unqualified-search-registries=["{first.host}", "{second.host}"]\n')
    name = f"{second.host}/team/web:latest"

    assert told.ok("pull", "--all-platforms", "team/web") == f"{name}@{top.digest}\n"
    asked = len(first.server.calls())
    assert asked
    told.ok("tag", "team/web", "copy")
    assert name in told.ok("inspect", "--platform", "freebsd/amd64", "--format", "json", "team/web")
    listed = told.ok("ls", "--format", "json")
    assert f"{first.host}/copy:latest" in listed
    told.ok("rm", "team/web", "copy")
    assert told.ok("ls", "-q") == ""
    assert len(first.server.calls()) == asked
    first.add_image("latest", b"other layer")
    assert told.ok("pull", "--all-platforms", "team/web").startswith(f"{first.host}/team/web:latest@")


@pytest.mark.needs("loopback")
def test_enforcing_asks_for_the_full_name(runjail: Runjail, fakes: list[Fake], tmp_path: Path) -> None:
    """Nobody is asked where it is not clear who is meant."""
    hosts = [each.host for each in fakes]
    text = f'unqualified-search-registries=["{hosts[0]}", "{hosts[1]}"]\nshort-name-mode="enforcing"\n'
    told = Told(runjail, tmp_path, text)

    assert told.refused("pull", "web") == (
        f"runjail: 'web' is a short name: short-name-mode is enforcing in {tmp_path}/registries.conf\n"
        f"hint: it may be {hosts[0]}/web:latest or {hosts[1]}/web:latest\n"
    )
    assert [each.server.seen for each in fakes] == [[], []]


def test_a_file_that_is_none_is_named(runjail: Runjail, tmp_path: Path) -> None:
    """Before anything is asked of a registry; a name in full that is in the store would not need it."""
    told = Told(runjail, tmp_path, "blokced = true\n")
    assert told.refused("pull", "r.test/web") == (
        f"runjail: invalid {tmp_path}/registries.conf: blokced: is not known\n"
    )
    assert told.ok("ls") is not None
