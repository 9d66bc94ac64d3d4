"""What runjail.toml means to plugins."""

import pytest

from runjail.errors import InvalidConfig
from runjail.nri.invoke import configured
from tests.support.nri.plugins import Plugins


def test_what_it_means_to_plugins(plugins: Plugins) -> None:
    plugins.name("a")
    plugins.env(timeout=1.5)

    chain = configured(["/nowhere"], ["/no/bin"], str(plugins.settings))
    assert (chain.timeout, chain.directories) == (1.5, (str(plugins.bin),))
    assert [plugin.type for plugin in chain.plugins] == ["a"]
    assert configured([], ["/no/bin"], str(plugins.settings), "/other").directories == ("/other",)
    assert configured([str(plugins.etc)], ["/x", "/y"]).directories == ("/x", "/y")


@pytest.mark.parametrize("timeout", ["0", "-1", "4000", "nan"])
def test_a_time_limit_must_be_one(plugins: Plugins, timeout: str) -> None:
    plugins.settings.write_text(f"[nri]\ntimeout = {timeout}\n", encoding="utf-8")

    with pytest.raises(InvalidConfig, match=r"nri\.timeout: must be above 0"):
        configured([], [], str(plugins.settings))


def test_a_configuration_directory_must_exist(plugins: Plugins) -> None:
    plugins.settings.write_text("[nri]\nconfig = '/nowhere'\n", encoding="utf-8")

    with pytest.raises(InvalidConfig, match=r"nri\.config: /nowhere is not a directory"):
        configured([], [], str(plugins.settings))
