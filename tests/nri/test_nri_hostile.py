"""Plugins that hang, write without end or answer nonsense: the verb goes on, and says what was wrong."""

import json
import time

import pytest

from runjail.errors import InvalidConfig, PluginError
from runjail.nri import config
from runjail.nri.messages import ContainerInfo
from tests.support.nri.plugins import Plugins

# What a plugin does instead of an answer, and what is said of it
SILENT = {
    "sleeps": ("sleep 600", "no answer after"),
    "ignores SIGTERM": ("trap '' TERM HUP INT; while :; do sleep 1; done", "no answer after"),
    "stops itself": ("kill -STOP $$", "no answer after"),
    "shouts": ("exec yes", "larger than"),
    "complains": ("exec yes >&2", "no answer after"),
    "reads nothing": ("exec <&-; sleep 600", "no answer after"),
    "closes everything": ("exec <&- >&- 2>&-; sleep 600", "no answer after"),
    "ends at once": ("exec <&-", "it answered nothing"),
}
# Answers that are none, as printf(1) writes them
LIES = {
    "deep": "python", "NaN": '{"error": NaN}', "infinite": '{"metadata": 1e999}', "a list": "[]", "a string": '"no"',
    "half": '{"error": "', "bytes": r"\377\376", "typed": '{"error": 5}', "two": "{}{}",
    "metadata": '{"metadata": {"a": 1}}',
}  # fmt: skip


def said_of(plugins: Plugins, name: str, timeout: float) -> str:
    """Return what one plugin's failure says."""
    with pytest.raises(PluginError) as caught:
        plugins.chain(name, timeout=timeout).run("create", ContainerInfo("c"), "", lambda path: None)
    return str(caught.value)


@pytest.mark.parametrize("how", SILENT)
def test_a_plugin_that_does_not_answer(plugins: Plugins, how: str) -> None:
    """It ends in time, and so does whoever waits for it."""
    script, cause = SILENT[how]
    plugins.add("p", f"echo ran > {plugins.base}/ran\n{script}")
    begin = time.monotonic()
    said = said_of(plugins, "p", 250 if cause == "larger than" else 3)

    assert cause in said
    assert time.monotonic() - begin < 250
    assert (plugins.base / "ran").exists()


@pytest.mark.parametrize("what", LIES)
def test_an_answer_that_is_none(plugins: Plugins, what: str) -> None:
    text = "printf '%0100000d' 0 | tr 0 '['" if what == "deep" else f"printf '{LIES[what]}'"
    plugins.add("p", text)

    assert "answer" in said_of(plugins, "p", 60)


def test_a_configuration_that_is_deep() -> None:
    with pytest.raises(InvalidConfig):
        config.parse(b"[" * 100_000, "file")


@pytest.mark.parametrize("path", ["/", ".", "..", "../..", "/../../etc", "a/../../../b", "/a/\n/b", "a\0b"])
def test_a_path_that_leaves_the_groups(plugins: Plugins, path: str) -> None:
    plugins.recorder("p", json.dumps({"cgroupsPath": path}))
    moved: list[str] = []
    with pytest.raises(PluginError, match="is no path of a group"):
        plugins.chain("p").run("create", ContainerInfo("c", cgroups_path="/own"), "", moved.append)

    assert len(plugins.requests()) == 1
    assert moved == []
