"""registries.conf of containers: what is one, whom it is for, and where a name is read."""

import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail import log
from runjail.errors import ImageError, InvalidConfig, RegistryError, UnreadableFile
from runjail.image.reference import parse
from runjail.image.registry import places, registries_conf
from runjail.image.registry.places import Place, Reading
from runjail.image.registry.registries_conf import Registries
from tests.support.image.registries import INVALID, MIRROR, OURS, VALID, X

DIGEST = "sha256:" + "0" * 64
MIRRORED = """
[[registry]]
prefix = "r.test/team"
location = "moved.test:5000/all"
[[registry.mirror]]
location = "first.test"
insecure = true
[[registry.mirror]]
location = "digests.test/d"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.test"
pull-from-mirror = "tag-only"
"""


def conf(directory: Path, text: str) -> Registries:
    (directory / "registries.conf").write_text(text, encoding="utf-8")
    return registries_conf.read(f"{directory}/registries.conf")


def found(registries: Registries, name: str, own: dict[str, dict[str, object]] | None = None) -> Reading:
    return places.find(parse(name), registries, own or {})


@pytest.mark.parametrize("text", VALID)
def test_valid(text: str, tmp_path: Path) -> None:
    conf(tmp_path, text)


@pytest.mark.parametrize(("text", "problem"), [*INVALID.items(), *OURS.items()])
def test_invalid(text: str, problem: str, tmp_path: Path) -> None:
    """The file and the key are named."""
    with pytest.raises(InvalidConfig) as caught:
        conf(tmp_path, text)
    assert str(caught.value).startswith(f"invalid {tmp_path}/registries.conf: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("r.test/web", "r.test"),
        ("r.test/team/web:1", "r.test/team"),
        ("r.test/team", "r.test/team"),
        ("r.test/teams/web", "r.test"),
        ("r.test:5000/team/web", "r.test"),
        ("R.Test/team/web", "r.test/team"),
        ("r.test./team/web", "r.test/team"),
        ("a.r.test/team/web", "*.r.test"),
        ("b.a.r.test:1/web", "*.r.test"),
        ("notr.test/web", None),
        ("r.test.evil.test/web", None),
        ("other.test/r.test/web", None),
        ("other.test/x.r.test/web", None),
    ],
)
def test_longest_prefix(name: str, table: str | None, tmp_path: Path) -> None:
    """A name's own table is that of the longest prefix, however its host is spelt."""
    prefixes = ("r.test", "*.r.test", "r.test/team", "third.test")
    text = "".join(f'[[registry]]\nprefix="{each}"\nlocation="b{n}.test"\n' for n, each in enumerate(prefixes))
    reference = parse(name)
    plain = registries_conf.plain_name(f"{reference.host}/{reference.repository}")
    chosen = conf(tmp_path, text).table(plain)

    assert (chosen.prefix if chosen else None) == table


def test_places_by_tag_and_digest(tmp_path: Path) -> None:
    """Mirrors in their order, each for what it is for, then where the registry has been moved to."""
    registries = conf(tmp_path, MIRRORED)
    itself = Place("moved.test:5000", "all/web")

    tagged = found(registries, "r.test/team/web:1")
    assert tagged.mirrors == (Place("first.test", "web", True), Place("tags.test", "web"))
    assert tagged.itself == itself
    assert tagged.named == Place("r.test", "team/web")
    exact = found(registries, f"r.test/team/web@{DIGEST}")
    assert exact.mirrors == (Place("first.test", "web", True), Place("digests.test", "d/web"))
    other = found(registries, "r.test/other/web")
    assert other == Reading(Place("r.test", "other/web"), (), Place("r.test", "other/web"))


def test_mirrors_by_digest_only(tmp_path: Path) -> None:
    text = X + 'mirror-by-digest-only=true\n[[registry.mirror]]\nlocation="b.test/m"\n'
    registries = conf(tmp_path, text)

    assert found(registries, "x.a.test/web:1").mirrors == ()
    assert found(registries, f"x.a.test/web@{DIGEST}").mirrors == (Place("b.test", "m/web"),)


def test_subdomains(tmp_path: Path) -> None:
    """Without a location names stay as they are; with one it stands instead of the host."""
    registries = conf(tmp_path, '[[registry]]\nprefix="*.a.test"\ninsecure=true\n')
    assert found(registries, "x.a.test/web").itself == Place("x.a.test", "web", True)
    registries = conf(tmp_path, '[[registry]]\nprefix="*.a.test"\nlocation="b.test/all"\n')
    assert found(registries, "x.a.test/web").itself == Place("b.test", "all/web")


def test_docker_names(tmp_path: Path) -> None:
    """Docker's registry is known by its full names."""
    registries = conf(tmp_path, '[[registry]]\nlocation="docker.io"\n[[registry.mirror]]\nlocation="m.test/hub"\n')
    for name in ("alpine", "docker.io/alpine", "docker.io/library/alpine", "index.docker.io/alpine"):
        assert found(registries, name).mirrors == (Place("m.test", "hub/library/alpine"),)


def test_own_settings_come_first(tmp_path: Path) -> None:
    """runjail.toml's mirror is the first, and what it says of a host counts, also where that is a mirror."""
    own = {"x.a.test": {"mirror": "http://own.test/x", "insecure": False}, "b.test": {"insecure": True}}
    registries = conf(tmp_path, MIRROR.replace('location="x.a.test"\n', 'location="x.a.test"\ninsecure=true\n'))
    reading = found(registries, "x.a.test/web", own)

    assert reading.mirrors == (Place("own.test", "x/web", True), Place("b.test", "web", True))
    assert reading.itself == reading.named == Place("x.a.test", "web")
    assert found(registries, "x.a.test/web").named.insecure


@pytest.mark.parametrize("own", [{}, {"x.a.test": {"mirror": "own.test"}}])
@pytest.mark.parametrize("name", ["x.a.test/web", "X.A.test/web", "x.a.test./web", f"x.a.test:443/web@{DIGEST}"])
def test_blocked(name: str, own: dict[str, dict[str, object]], tmp_path: Path) -> None:
    """Whatever runjail.toml says and however the host is written; the text names file and table."""
    registries = conf(tmp_path, X + 'blocked=true\n[[registry.mirror]]\nlocation="b.test"\n')
    with pytest.raises(RegistryError, match=rf"blocked by {tmp_path}/registries.conf: registry\[0\], prefix x.a.test$"):
        found(registries, name, own)


@pytest.mark.parametrize("prefix", ["docker.io", "registry-1.docker.io", "index.docker.io"])
@pytest.mark.parametrize(
    "name", ["alpine", "registry-1.docker.io/x/web", "Registry-1.Docker.io/x/web", "index.docker.io.:443/x/web"]
)
def test_docker_is_blocked_by_each_of_its_names(prefix: str, name: str, tmp_path: Path) -> None:
    registries = conf(tmp_path, f'[[registry]]\nlocation="{prefix}"\nblocked=true\n')
    with pytest.raises(RegistryError, match="blocked by"):
        found(registries, name)


def test_dockers_server_is_a_location(tmp_path: Path) -> None:
    """It is docker.io itself, whose name needs not be its."""
    text = '[[registry]]\nlocation="docker.io"\n[[registry.mirror]]\nlocation="registry-1.docker.io"\n'
    assert found(conf(tmp_path, text), "alpine").mirrors == (Place("docker.io", "library/alpine"),)


def test_blocked_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror that is blocked is left out with a word; where a registry has been moved to may be blocked as well."""
    said: list[str] = []
    monkeypatch.setattr(log, "warning", said.append)
    registries = conf(tmp_path, MIRROR + '[[registry]]\nlocation="b.test"\nblocked=true\n')
    assert found(registries, "x.a.test/web").mirrors == ()
    assert len(said) == 1
    assert "b.test/web: blocked by" in said[0]
    own: dict[str, dict[str, object]] = {"x.a.test": {"mirror": "b.test"}}
    assert found(registries, "x.a.test/web", own).mirrors == ()
    assert len(said) == 3
    text = '[[registry]]\nprefix="p.test"\nlocation="b.test/x"\n[[registry]]\nprefix="b.test"\nlocation="b.test"\n'
    with pytest.raises(RegistryError, match=r"^b\.test/x/web: blocked by"):
        found(conf(tmp_path, text + "blocked=true\n"), "p.test/web")


def test_a_location_that_makes_no_name(tmp_path: Path) -> None:
    """As podman refuses it: docker.io has no repository without a slash."""
    text = '[[registry]]\nprefix="r.test/team"\nlocation="docker.io"\n'
    with pytest.raises(ImageError, match=r"registry\[0\]: makes 'docker.io/web' of r.test/team/web, which is no repos"):
        found(conf(tmp_path, text), "r.test/team/web")


def test_version_1(tmp_path: Path) -> None:
    """Lists of registries, read as podman reads them."""
    lists = {"search": "r.test", "insecure": "y.test", "block": "x.a.test"}
    registries = conf(tmp_path, "".join(f"[registries.{key}]\nregistries=['{each}']\n" for key, each in lists.items()))

    assert registries.search == ("r.test",)
    assert found(registries, "y.test/web").named.insecure
    with pytest.raises(RegistryError, match="blocked"):
        found(registries, "x.a.test/web")


# Files ---------------------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_which_files_count(tmp_path: Path) -> None:
    """The user's own instead of the system's; drop-ins beside them in the order of their names."""
    home, system = tmp_path / "home", tmp_path / "etc"
    environ = {"HOME": str(home)}

    def load() -> Registries:
        return registries_conf.load(environ, (f"{tmp_path}/absent", str(system)))

    assert load() == Registries()
    write(system / "registries.conf", 'unqualified-search-registries=["sys.test"]\n' + X + "blocked=true\n")
    write(system / "registries.conf.d/20.conf", '[aliases]\n"web"="b.test/web"\n"db"="b.test/db"\n')
    write(system / "registries.conf.d/10.conf", '[aliases]\n"web"="a.test/web"\n' + X)
    write(system / "registries.conf.d/readme", "no TOML")
    (system / "registries.conf.d/directory.conf").mkdir()
    assert load().search == ("sys.test",)
    assert load().aliases == {"web": "b.test/web", "db": "b.test/db"}
    assert not load().tables["x.a.test"].blocked
    dropped = write(home / ".config/containers/registries.conf.d/x.conf", '[aliases]\n"db"=""\n')
    assert load().aliases == {"web": "b.test/web"}
    write(home / ".config/containers/registries.conf", "unqualified-search-registries=[]\n")
    assert load().search == ()
    assert load().aliases == {}
    environ[registries_conf.NAMED] = str(write(tmp_path / "named", 'unqualified-search-registries=["n.test"]\n'))
    assert load().search == ("n.test",)
    assert load().aliases == {"web": "b.test/web"}
    dropped.write_text("[registries.search]\nregistries=['r.test']\n")
    with pytest.raises(InvalidConfig, match="version 1"):
        load()


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """Nothing is asked of a registry that may be blocked."""
    environ = {"HOME": "/nonexistent", registries_conf.NAMED: f"{tmp_path}/absent"}
    with pytest.raises(UnreadableFile, match="absent is missing"):
        registries_conf.load(environ, ())
    (tmp_path / "registries.conf").mkdir()
    with pytest.raises(UnreadableFile, match="is not a regular file"):
        registries_conf.load({}, (str(tmp_path),))


LINES = [
    "",
    "# words",
    "[aliases]",
    ' "web" = "r.test/team/web"',
    '"db"="r.test/db"\t',
    '"none" = ""',
    "web = 1",
    "[x]",
]
LINES += [
    '"a\\n" = "r.test/a"',
    "'a' = \"r.test/a\"",
    '"a" = "r.test/a" # words',
    "# words\r[registry]",
    '"a" = "r.test/a"\r',
]


@given(st.lists(st.sampled_from(LINES), max_size=6).map("\n".join))
def test_aliases_alone_are_read_as_tomllib_reads_them(text: str) -> None:
    """What the short way takes means the same to tomllib; the rest is left to that."""
    aliases = registries_conf._only_aliases(text.encode())
    if aliases is not None:
        assert tomllib.loads(text).get("aliases", {}) == aliases


def test_the_shape_that_distributions_ship_takes_no_tomllib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tomllib", None)
    assert conf(tmp_path, "# words\n#\n").aliases == {}
    text = '[aliases]\n  # words\n  "web" = "r.test/team/web"\n\n  "team/db-1" = "r.test:5000/db_1.x"\n'
    assert conf(tmp_path, text).aliases == {"web": "r.test/team/web", "team/db-1": "r.test:5000/db_1.x"}
    with pytest.raises(InvalidConfig, match="without host"):
        conf(tmp_path, '[aliases]\n"r.test/x" = "r.test/y"\n')
