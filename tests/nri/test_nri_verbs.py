"""`runjail nri` for people and scripts, and where the program looks for plugins."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runjail.cli import context as cli
from runjail.cli.args import GLOBALS, Args
from runjail.cli.context import Context
from runjail.target import TARGETS
from tests.support.nri.plugins import Plugins
from tests.support.program import Runjail


class System:
    def __init__(self, os: str) -> None:
        self.os = os


def test_ls_says_what_would_run(runjail: Runjail, plugins: Plugins) -> None:
    good = plugins.add("good", "exit 1\n")
    plugins.add("data", "x").chmod(0o644)
    plugins.name({"type": "good", "conf": {"a": [1]}}, "data", "missing")
    file = f"{plugins.etc}/resource.d/10-test.conf"

    result = runjail("nri", "ls", "--format", "json", env=plugins.env())

    assert result.returncode == 1
    assert json.loads(result.stdout) == [
        {"type": "good", "works": True, "found": str(good), "file": file, "conf": {"a": [1]}},
        {
            "type": "data",
            "works": False,
            "found": f"{plugins.bin}/data may not be executed",
            "file": file,
            "conf": None,
        },
        {"type": "missing", "works": False, "found": f"not found in {plugins.bin}", "file": file, "conf": None},
    ]
    heading, first, *_ = runjail("nri", "ls", env=plugins.env()).stdout.splitlines()
    assert heading.split() == ["TYPE", "WORKS", "FOUND", "FILE", "CONF"]
    assert first.split() == ["good", "yes", str(good), file, '{"a":', "[1]}"]


def test_check_asks_every_plugin(runjail: Runjail, plugins: Plugins) -> None:
    plugins.recorder("good", '{"metadata": {"cpus": "2-3"}}')
    plugins.add("bad", "echo oops >&2; exit 2\n")
    plugins.name("bad", {"type": "good", "conf": 1})

    result = runjail("nri", "check", "-f", "json", env=plugins.env())

    rows = json.loads(result.stdout)
    assert result.returncode == 1
    assert [(row["type"], row["works"], row["said"]) for row in rows] == [
        ("bad", False, "exit status 2: oops"),
        ("good", True, "cpus=2-3"),
    ]
    (request,) = plugins.requests()
    assert request["state"] == "create" and request["id"] == "nri-check" and request["conf"] == 1
    assert "pid" not in request and "cgroupsPath" not in request["spec"]
    plugins.name("good")
    assert runjail.ok("nri", "check", env=plugins.env()).stdout.splitlines()[1].split()[:2] == ["good", "yes"]


def test_the_plugins_that_come_along_are_found_and_answer(runjail: Runjail, plugins: Plugins) -> None:
    plugins.name({"type": "konfine", "conf": {"systemReserved": [0, 1]}}, "clearcfs")
    plugins.settings.write_text(f'[nri]\nconfig = "{plugins.etc}"\n', encoding="utf-8")
    env = {"RUNJAIL_CONFIG": str(plugins.settings)}

    assert all(row["works"] for row in json.loads(runjail.ok("nri", "ls", "-f", "json", env=env).stdout))
    assert all(row["works"] for row in json.loads(runjail.ok("nri", "check", "-f", "json", env=env).stdout))


def test_the_option_wins_over_the_settings(runjail: Runjail, plugins: Plugins) -> None:
    good = plugins.add("good", "echo '{}'\n")
    plugins.name("good")
    env = plugins.env(bin="/nowhere")

    assert runjail("nri", "ls", env=env).returncode == 1
    for words in (("--nri-bin", str(plugins.bin), "nri", "ls"), ("nri", "ls", f"--nri-bin={plugins.bin}")):
        assert str(good) in runjail.ok(*words, env=env).stdout
    assert str(good) in runjail.ok("--nri-bin", "bin", "nri", "ls", env=env, cwd=plugins.base).stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("nri",), "nri takes ls|check"),
        (("nri", "list"), "nri takes ls or check, not 'list'"),
        (("nri", "ls", "x"), "got 2"),
    ],
)
def test_wrong_words(runjail: Runjail, words: tuple[str, ...], why: str) -> None:
    result = runjail(*words)

    assert result.returncode == 1 and why in result.stderr


def test_nothing_is_configured(runjail: Runjail, plugins: Plugins) -> None:
    assert runjail.ok("nri", "ls", env=plugins.env()).stdout == "no NRI plugins are configured\n"
    assert runjail.ok("nri", "check", "-f", "json", env=plugins.env()).stdout == "[]\n"


def test_mistakes_are_one_line(runjail: Runjail, plugins: Plugins) -> None:
    env = plugins.env()
    plugins.settings.write_text("[nri]\nbon = 1\n", encoding="utf-8")
    result = runjail("nri", "ls", env=env)

    assert result.returncode == 1
    assert result.stderr == f"runjail: invalid {plugins.settings}: line 2 column 1: unknown key nri.bon\n"


def places(monkeypatch: pytest.MonkeyPatch, plugins: Plugins, system: str) -> Any:
    """Return a context whose directories are `a` and, on FreeBSD, `b`."""
    base = plugins.base
    monkeypatch.setattr(cli, "SETTINGS", (f"{base}/1.toml", f"{base}/2.toml"))
    places = ("a", "b") if TARGETS[system].jails else ("a",)
    monkeypatch.setattr(cli, "NRI", (f"{base}/a", f"{base}/b"))
    monkeypatch.setattr(TARGETS[system], "nri_dirs", tuple(f"{base}/{place}" for place in places))
    monkeypatch.setattr(TARGETS[system], "nri_bins", tuple(f"{base}/{place}bin" for place in places))
    monkeypatch.setattr("sys.argv", ["/opt/bin/runjail"])
    monkeypatch.delenv("RUNJAIL_CONFIG", raising=False)
    host: Any = System(system)
    return Context(Args(GLOBALS)).plugins(host)


def test_where_things_are(monkeypatch: pytest.MonkeyPatch, plugins: Plugins) -> None:
    """FreeBSD has a second place for files and for programs; ours come last."""
    for name in ("a", "b"):
        (plugins.base / name).mkdir()
        (plugins.base / name / "conf.json").write_text(json.dumps({"plugins": [{"type": name}]}), encoding="ascii")

    linux, freebsd = places(monkeypatch, plugins, "linux"), places(monkeypatch, plugins, "freebsd")

    assert linux.names() == ["a"] and freebsd.names() == ["a", "b"]
    assert linux.directories == (f"{plugins.base}/abin", "/opt/libexec/runjail/nri")
    assert freebsd.directories == (f"{plugins.base}/abin", f"{plugins.base}/bbin", "/opt/libexec/runjail/nri")
    (plugins.base / "2.toml").write_text('[nri]\nbin = "/two"\n', encoding="ascii")
    assert places(monkeypatch, plugins, "linux").directories == ("/two",)
    (plugins.base / "1.toml").write_text('[nri]\nbin = "/one"\n', encoding="ascii")
    assert places(monkeypatch, plugins, "linux").directories == ("/one",)


def test_looking_for_nothing_takes_six_questions(monkeypatch: pytest.MonkeyPatch, plugins: Plugins) -> None:
    asked: list[object] = []
    for name in ("exists", "lexists"):
        look = getattr(os.path, name)
        monkeypatch.setattr(os.path, name, lambda path, look=look: asked.append(path) or look(path))

    assert places(monkeypatch, plugins, "freebsd") is None
    assert len(asked) == 6


def test_the_example_in_the_documentation_works(runjail: Runjail, plugins: Plugins) -> None:
    """The plugin in ten lines, as docs/nri.md has it."""
    page = (Path(__file__).parents[2] / "docs" / "nri.md").read_text(encoding="utf-8")
    text = page.split("```python\n", 1)[1].split("```", 1)[0]
    assert len([line for line in text.splitlines() if line]) <= 10
    plugins.add("nolimit", text, "")
    plugins.name("nolimit")

    (row,) = json.loads(runjail("nri", "check", "-f", "json", env=plugins.env()).stdout)

    assert (row["works"], row["said"]) == (False, "containers need a memory limit here")


def test_nri_is_looked_for_where_any_system_has_it() -> None:
    assert set(cli.NRI) == {place for target in TARGETS.values() for place in target.nri_dirs}
