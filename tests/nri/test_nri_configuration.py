"""conf.json and resource.d: which plugins, in which order."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.errors import InvalidConfig
from runjail.nri.config import Plugin, load, parse
from tests.support.nri.plugins import SEED, Plugins

NAMES = st.text(st.sampled_from("abcxyz019-._"), min_size=1, max_size=12).filter(lambda name: name not in (".", ".."))
ENTRIES = st.lists(st.fixed_dictionaries({"type": NAMES}, optional={"conf": st.integers() | st.none()}), max_size=4)
FILES = st.dictionaries(st.text(st.sampled_from("abc0189-"), min_size=1, max_size=8), ENTRIES, max_size=4)


def test_the_documented_example() -> None:
    konfine, clearcfs = parse(SEED.encode(), "f")

    assert konfine == Plugin("konfine", '{"systemReserved": [0, 1]}', "0.1", "f")
    assert clearcfs == Plugin("clearcfs", "", "0.1", "f")


def test_no_files_no_plugins(tmp_path: Path, plugins: Plugins) -> None:
    assert load([str(tmp_path / "nowhere"), str(plugins.etc)]) == ()


def test_conf_json_comes_first_then_resource_d_by_name_then_the_next_directory(plugins: Plugins) -> None:
    other = Plugins(plugins.base / "other")
    plugins.name("d", file="resource.d/20-b.conf")
    plugins.name("b", "c", file="resource.d/10-a.conf")
    plugins.name("a", file="conf.json")
    plugins.name("hidden", file="resource.d/.10.conf")
    plugins.name("no", file="resource.d/10-a.json")
    other.name("e", file="conf.json")

    assert [plugin.type for plugin in load([str(plugins.etc), str(other.etc)])] == ["a", "b", "c", "d", "e"]


@given(files=FILES)
def test_merging_keeps_every_entry_and_every_order(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, list[dict[str, Any]]]
) -> None:
    """Sorted by file, then as listed; what one file says changes nothing about another."""
    place = Plugins(tmp_path_factory.mktemp("merge") / "nri")
    for name, entries in files.items():
        place.name(*entries, file=f"resource.d/{name}.conf")
    in_order = [entry for name in sorted(files, key=lambda name: f"{name}.conf") for entry in files[name]]

    found = load([str(place.etc)])

    assert [plugin.type for plugin in found] == [entry["type"] for entry in in_order]
    assert [json.loads(plugin.conf) if plugin.conf else ... for plugin in found] == [
        entry.get("conf", ...) for entry in in_order
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "must be an object"),
        ("{", "is no JSON: "),
        ('{"plugins": {}}', "plugins: must be a list"),
        ('{"version": 1}', "version: must be a string"),
        ('{"plugins": ["konfine"]}', "plugins[0]: must be an object"),
        ('{"plugins": [{}]}', "plugins[0].type: must be a string"),
        ('{"plugins": [{"type": "a/b"}]}', "plugins[0].type: must be the name of a file in the plugin directory"),
        ('{"plugins": [{"type": ".."}]}', "not '..'"),
        ('{"plugins": [{"type": ""}]}', "not ''"),
        ('{"plugins": [{"type": "a\\u0000"}]}', "plugins[0].type: must be the name"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_file(text: str, why: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse(text.encode(), "/etc/nri/conf.json")

    assert str(caught.value).startswith("invalid /etc/nri/conf.json: ") and why in str(caught.value)


def test_what_nri_ignores_is_ignored_here() -> None:
    assert parse(b'{"plugins": null, "comment": 1}', "f") == ()
    assert parse(b'{"plugins": [{"type": "a", "note": 1}]}', "f") == (Plugin("a", "", "0.1", "f"),)


@given(content=st.binary(max_size=200))
def test_no_content_breaks_the_reader(content: bytes) -> None:
    try:
        parse(content, "f")
    except InvalidConfig as error:
        assert "\n" not in str(error).strip()


def test_a_huge_file_is_refused(plugins: Plugins) -> None:
    (plugins.etc / "conf.json").write_bytes(b" " * (2 << 20))

    with pytest.raises(InvalidConfig, match=r"conf\.json: is larger than"):
        load([str(plugins.etc)])


def test_a_file_that_cannot_be_read_is_an_error(plugins: Plugins) -> None:
    (plugins.etc / "resource.d" / "10-a.conf").mkdir()

    with pytest.raises(InvalidConfig, match=r"10-a\.conf: is not a regular file"):
        load([str(plugins.etc)])
