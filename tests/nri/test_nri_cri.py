"""Containers of containerd's CRI, which asks the plugins of /etc/nri/conf.json itself: nobody is asked twice."""

import os
import sys

import pytest

from runjail.nri import invoke
from runjail.nri.invoke import configured
from tests.support.nri.plugins import Plugins
from tests.support.program import TOP, Bundle, Runjail

CONTAINER = {"io.kubernetes.cri.container-type": "container"}
STARTER = """\
#!{python} -IS
import sys
sys.path.insert(0, {top!r})
from runjail.nri import invoke
invoke.CRI_CONFIG = {file!r}
from runjail.cli.main import main
main()
"""


def chain(plugins: Plugins, monkeypatch: pytest.MonkeyPatch, settings: str = "") -> invoke.PluginChain:
    """Return the chain of a machine with a plugin that is named in both files, and another one."""
    monkeypatch.setattr(invoke, "CRI_CONFIG", f"{plugins.etc}/conf.json")
    plugins.name("twice", "first", file="conf.json")
    plugins.name("twice", "second")
    return configured([str(plugins.etc)], [str(plugins.bin)], settings)


def test_who_is_asked(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    """In `delete` it is the same ones, though one has a name that containerd knows, too."""
    found = chain(plugins, monkeypatch)

    assert found.ours({}).names() == ["twice", "first", "twice", "second"]
    assert found.ours(CONTAINER).names() == ["twice", "second"]
    assert found.ours(CONTAINER).only(["twice", "first", "twice", "second"]).names() == ["twice", "second"]
    assert found.only(["twice"]).ours(CONTAINER).names() == []


def test_that_runjail_asks_may_be_settled(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    for word, asked in (("runjail", 4), ("containerd", 2)):
        plugins.settings.write_text(f'[nri]\ncri = "{word}"\n', encoding="utf-8")
        assert len(chain(plugins, monkeypatch, str(plugins.settings)).ours(CONTAINER).plugins) == asked


def test_what_containerd_reads() -> None:
    """The path is in its own client, and no option of it."""
    assert invoke.CRI_CONFIG == "/etc/nri/conf.json"


@pytest.mark.needs("containers")
@pytest.mark.parametrize("cri", [True, False])
def test_a_whole_life(runjail: Runjail, bundle: Bundle, plugins: Plugins, cri: bool) -> None:
    """What containerd does not tell them, they hear from us."""
    plugins.recorder("theirs", file="theirs")
    plugins.recorder("ours", file="ours")
    plugins.name("theirs", file="conf.json")
    plugins.name("ours")
    script = plugins.base / "runjail"
    python, file = os.path.realpath(sys.executable), f"{plugins.etc}/conf.json"
    script.write_text(STARTER.format(python=python, top=str(TOP), file=file), encoding="utf-8")
    script.chmod(0o755)
    runjail.program, env = str(script), plugins.env()
    bundle.config["annotations"] = CONTAINER if cri else {}
    runjail.ok("create", "-b", bundle.write("/bin/sleep", "600"), "web", env=env)
    for words in (["start", "web"], ["pause", "web"], ["resume", "web"], ["delete", "-f", "web"]):
        runjail.ok(*words, env=env)

    whole = ["create", "pause", "resume", "delete"]
    assert [request["state"] for request in plugins.requests("ours")] == whole
    assert [request["state"] for request in plugins.requests("theirs")] == (whole[1:3] if cri else whole)
