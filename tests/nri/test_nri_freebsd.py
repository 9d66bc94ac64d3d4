"""Plugins and jails: the documented example, and what a failing plugin leaves behind (nothing)."""

import subprocess

import pytest

from runjail.nri.plugins.konfine import read_list
from tests.support.nri.plugins import SEED, Plugins
from tests.support.program import Bundle, Runjail

pytestmark = pytest.mark.freebsd


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def mask(name: str) -> set[int]:
    """Return the CPUs of a jail."""
    return read_list(ask("/usr/bin/cpuset", "-g", "-j", name).splitlines()[0].partition(" mask: ")[2])


def test_the_documented_example_pins_the_jail_and_lifts_its_quota(
    runjail: Runjail, bundle: Bundle, plugins: Plugins
) -> None:
    accounting = ask("/sbin/sysctl", "-n", "kern.racct.enable").strip() == "1"
    (plugins.etc / "conf.json").write_text(SEED, encoding="ascii")
    plugins.settings.write_text(f'[nri]\nconfig = "{plugins.etc}"\n', encoding="utf-8")
    env = {"RUNJAIL_CONFIG": str(plugins.settings)}
    bundle.config["annotations"] = {"qos.class": "ls"}
    if accounting:
        bundle.config["linux"] = {"resources": {"cpu": {"quota": 50000, "period": 100000}, "pids": {"limit": 50}}}
    runjail.ok("create", "-b", bundle.write(), "nritest", env=env)
    before = mask("nritest")

    runjail.ok("start", "nritest", env=env)

    assert mask("nritest") == (before - {0, 1} or {max(before)})
    if accounting:
        rules = ask("/usr/bin/rctl", "jail:nritest")
        assert "pcpu" not in rules and "maxproc:deny=50" in rules
    runjail.ok("delete", "-f", "nritest", env=env)
    assert "nritest" not in ask("/usr/bin/rctl", "jail:nritest")


def test_plugins_are_told_which_jail(runjail: Runjail, bundle: Bundle, plugins: Plugins) -> None:
    plugins.recorder("recorder", '{"cgroupsPath": "qos/web"}')
    plugins.name("recorder", "recorder")
    runjail.ok("run", "-d", "-b", bundle.write(), "nri.test", env=plugins.env())
    runjail.ok("pause", "nri.test", env=plugins.env())
    runjail.ok("resume", "nri.test", env=plugins.env())
    runjail.ok("delete", "-f", "nri.test", env=plugins.env())

    seen = plugins.requests()
    assert [request["state"] for request in seen[::2]] == ["create", "pause", "resume", "delete"]
    told = seen[0]["spec"]["annotations"]
    assert told["org.runjail.jail.name"] == "nri%2Etest" and int(told["org.runjail.jail.jid"]) > 0
    assert seen[0]["spec"]["resources"] is None and "namespaces" not in seen[0]["spec"]
    assert [request["spec"].get("cgroupsPath") for request in seen[:3]] == [None, "/qos/web", "/qos/web"]


@pytest.mark.parametrize("script", ['echo \'{"error": "no"}\'', "sleep 600", "exec yes", "sleep 600 & echo '{}'"])
def test_a_failing_plugin_leaves_no_jail(runjail: Runjail, bundle: Bundle, plugins: Plugins, script: str) -> None:
    plugins.add("bad", f"{script}\n")
    plugins.name("bad")
    runjail.ok("create", "-b", bundle.write(), "nritest", env=plugins.env(timeout=1))

    result = runjail("start", "nritest", env=plugins.env(timeout=1))

    assert result.returncode == 1 and result.stderr.startswith("runjail: NRI plugin bad: "), result
    assert runjail.ids() == [] and "nritest" not in ask("/usr/sbin/jls", "name")
