"""runjail.toml: what may be said, and where the mistakes are."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.errors import InvalidConfig
from runjail.settings import KEYS, read

WHOLE = """\
[nri]
config = "/a"
timeout = 2.5
[store]
location = "zfs:tank/runjail"
encrypt = true
[keys]
directories = ["/usr/local/etc/runjail/keys"]
[registries."127.0.0.1:5000"]
insecure = true
[registries."docker.io"]
mirror = "mirror.example"
[shim]
share = "namespace"
[jail]
allow = ["allow.settime", "children.max"]
"""


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "runjail.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidConfig) as caught:
        read(str(path))
    return str(caught.value).removeprefix(f"invalid {path}: ")


def test_what_may_be_said(tmp_path: Path) -> None:
    path = tmp_path / "runjail.toml"
    path.write_text(WHOLE, encoding="utf-8")
    said = read(str(path))

    assert said["nri"] == {"config": "/a", "timeout": 2.5}
    assert said["store"] == {"location": "zfs:tank/runjail", "encrypt": True}
    assert said["keys"]["directories"] == ["/usr/local/etc/runjail/keys"]
    assert said["registries"] == {"127.0.0.1:5000": {"insecure": True}, "docker.io": {"mirror": "mirror.example"}}
    assert said["shim"] == {"share": "namespace"}
    assert said["jail"] == {"allow": ["allow.settime", "children.max"]}


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "runjail.toml").write_text("", encoding="utf-8")

    assert read(str(tmp_path / "runjail.toml")) == {key.removesuffix(".*"): {} for key in KEYS}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[nri]\nbin = '/b'\n\n  bon = 1\n", "line 4 column 3: unknown key nri.bon"),
        ("[nri]\n# x\n[nrii]\nbin = '/b'\n", "line 3 column 2: unknown key nrii"),
        ("nri.bon = 1\n", "line 1 column 5: unknown key nri.bon"),
        ("nri = {timeout = 1, bon = [\n1,\n2]}\n", "line 1 column 21: unknown key nri.bon"),
        ("x = 1\n[nri]\ny = 2\n", "line 1 column 1: unknown key x; line 3 column 1: unknown key nri.y"),
        ("nri = 1\n", "line 1 column 1: nri must be a table"),
        ("[nri]\nbin = 'b'\n", "line 2 column 1: nri.bin must be an absolute path"),
        ("[nri]\ntimeout = true\n", "line 2 column 1: nri.timeout must be a number"),
        ("[store]\nencrypt = 1\n", "line 2 column 1: store.encrypt must be true or false"),
        ("[store]\nlocation = ''\n", "line 2 column 1: store.location must be a text"),
        ("[keys]\ndirectories = ['a']\n", "line 2 column 1: keys.directories must be a list of absolute paths"),
        ("[registries.a]\nx = 1\n", "line 2 column 1: unknown key registries.a.x"),
        ("[registries]\na = 1\n", "line 2 column 1: registries.a must be a table"),
        ("registries = 1\n", "line 1 column 1: registries must be a table"),
        ("[shim]\nshare = 'all'\n", "line 2 column 1: shim.share must be pod or namespace"),
        ("[nri]\nconfig = ['''\n/a\n''']\n", "line 2 column 1: nri.config must be an absolute path"),
    ],
)
def test_a_mistake_is_named_with_its_position(tmp_path: Path, text: str, why: str) -> None:
    assert refused(tmp_path, text) == why


def test_what_is_no_toml_is_named_with_its_position(tmp_path: Path) -> None:
    assert "line 2" in refused(tmp_path, "[nri]\nbin\n")


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"runjail\.toml: is missing"):
        read(str(tmp_path / "runjail.toml"))


@given(
    lines=st.lists(st.sampled_from(["", "# c", "[nri]", "x = 1", "bin = '/b'", "y = '''", "'''", "z = ["]), max_size=7)
)
def test_every_file_is_read_or_explained(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    """A position always lies inside the file, on a line that has the key."""
    path = tmp_path_factory.mktemp("toml") / "runjail.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        read(str(path))
    except InvalidConfig as error:
        for problem in error.problems:
            if "unknown key" in problem:
                line, key = int(problem.split()[1]), problem.split("unknown key ")[1].split(".")[-1]
                assert key in lines[line - 1]
