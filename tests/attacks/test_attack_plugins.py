"""NRI plugins whose answers are to be misread, or harm others; our own plugins, asked for nonsense."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runjail.errors import PluginError
from runjail.nri import config
from runjail.nri.messages import ContainerInfo
from tests.support.nri.plugins import Plugins
from tests.support.program import TOP, Bundle, Runjail

GROUPS = "/sys/fs/cgroup"


def test_a_plugin_that_kills_who_waits_for_it(runjail: Runjail, bundle: Bundle, plugins: Plugins) -> None:
    """runjail goes on and undoes the container: it is not the one that was killed."""
    plugins.add("p", f"echo ran > {plugins.base}/ran\nkill -9 $PPID")
    plugins.name("p")
    env = plugins.env()
    runjail.ok("create", "-b", bundle.write(), "c", env=env)
    failed = runjail("start", "c", env=env)

    assert (plugins.base / "ran").exists()
    assert (
        failed.returncode == 1 and "NRI plugin p: the process that watches over a program was killed" in failed.stderr
    )
    assert runjail.ids() == []


@pytest.mark.parametrize("key", ["Error", "ERROR", "eRror"])
def test_a_refusal_in_another_spelling(runjail: Runjail, bundle: Bundle, plugins: Plugins, key: str) -> None:
    """Go's encoding/json, with which plugins were tried, takes it for `error`: so the container must not start."""
    plugins.recorder("p", json.dumps({key: "not this one"}))
    plugins.name("p")
    bundle.write("/bin/sh", "-c", "echo started > /var/proof")
    env = plugins.env()
    runjail.ok("create", "-b", str(bundle.path), "c", env=env)
    failed = runjail("start", "c", env=env)

    assert len(plugins.requests()) == 1
    assert failed.returncode == 1 and "not this one" in failed.stderr, failed
    assert not (bundle.rootfs / "var" / "proof").exists()


def test_a_configuration_in_another_spelling() -> None:
    """Go reads these; a plugin that nobody asks protects nobody."""
    text = b'{"Version": "0.1", "PLUGINS": [{"Type": "p", "Conf": {"a": 1}}]}'
    (found,) = config.parse(text, "file")

    assert (found.type, json.loads(found.conf), found.version) == ("p", {"a": 1}, "0.1")


def test_who_failed_is_not_asked_again_though_it_is_configured_twice(
    runjail: Runjail, bundle: Bundle, plugins: Plugins
) -> None:
    """Its first call succeeds, its second fails: one `create` to take back, so one `delete`."""
    plugins.add(
        "p",
        f"cat >> {plugins.base}/seen; echo >> {plugins.base}/seen\n"
        f"test $(wc -l < {plugins.base}/seen) = 2 && printf '{{\"error\": \"no\"}}' || printf '{{}}'",
    )
    plugins.name({"type": "p", "conf": 1}, {"type": "p", "conf": 2})
    env = plugins.env()
    runjail.ok("create", "-b", bundle.write(), "c", env=env)
    assert runjail("start", "c", env=env).returncode == 1

    assert [(each["state"], each["conf"]) for each in plugins.requests()] == [
        ("create", 1), ("create", 2), ("delete", 1),
    ]  # fmt: skip


# Control groups ---------------------------------------------------------------------------------------------------


@pytest.mark.needs("cgroups", "linux", "containers")
@pytest.mark.parametrize("where", ["{other}", "{other}/below", "{above}"])
def test_the_group_of_another_container(
    runjail: Runjail, make_bundle: Callable[[str], Bundle], plugins: Plugins, where: str
) -> None:
    """To pause or limit one would be to pause or limit the other; a new group beside them is fine."""
    victim, attacker = make_bundle("victim"), make_bundle("attacker")
    above = victim.config["linux"]["cgroupsPath"]
    other = f"{above}/victim"
    victim.config["linux"]["cgroupsPath"] = other
    victim.write()
    plugins.recorder("p", json.dumps({"cgroupsPath": where.format(other=other, above=above)}))
    plugins.name("p")
    env = plugins.env()
    runjail.ok("create", "-b", str(victim.path), "victim")
    runjail.ok("start", "victim")
    runjail.ok("create", "-b", str(attacker.path), "attacker", env=env)
    failed = runjail("start", "attacker", env=env)

    assert len(plugins.requests()) >= 1
    assert failed.returncode == 1 and "other processes are in" in failed.stderr, failed
    assert runjail.ids() == ["victim"]
    plugins.recorder("p", json.dumps({"cgroupsPath": f"{above}/beside"}))
    runjail.ok("create", "-b", str(attacker.path), "attacker", env=env)
    runjail.ok("start", "attacker", env=env)
    runjail.ok("pause", "attacker", env=env)
    assert runjail.state("victim")["status"] == "running"
    runjail.ok("exec", "victim", "/bin/true")
    runjail.ok("delete", "-f", "attacker", env=env)
    runjail.ok("delete", "-f", "victim")
    for hierarchy in (GROUPS, *(f"{GROUPS}/{name}" for name in os.listdir(GROUPS))):
        with contextlib.suppress(OSError):
            os.rmdir(f"{hierarchy}{above}")


# The plugins that come with runjail -------------------------------------------------------------------------------


@pytest.mark.parametrize("plugin", ["konfine", "clearcfs"])
@pytest.mark.parametrize(
    "request_",
    ["{}", "[]", "null", '{"state": 1}', '{"state": "create", "spec": []}', '{"state": "create", "pid": "x"}',
     '{"state": "create", "pid": 9, "spec": {"annotations": [1]}}', "[" * 5000,
     '{"state": "create", "pid": 9, "conf": {"systemReserved": [0]}, "spec": {"cgroupsPath": 5}}'],
)  # fmt: skip
def test_our_own_plugins_take_any_request(runjail: Runjail, tmp_path: Path, plugin: str, request_: str) -> None:
    """One answer with an `error`, exit code 0, and no traceback."""
    program = TOP / ".venv" / "libexec" / "runjail" / "nri" / plugin
    given, out, err = tmp_path / "given", tmp_path / "out", tmp_path / "err"
    given.write_text(request_, encoding="ascii")
    code = os.waitstatus_to_exitcode(os.system(f"{program} invoke <{given} >{out} 2>{err}"))

    assert (code, err.read_text(encoding="utf-8")) == (0, "")
    assert json.loads(out.read_text(encoding="utf-8"))["error"]


@pytest.mark.needs("cgroups", "linux")
def test_clearcfs_does_not_succeed_where_there_is_nothing(tmp_path: Path, plugins: Plugins) -> None:
    program = TOP / ".venv" / "libexec" / "runjail" / "nri"
    plugins.name("clearcfs")
    chain = plugins.chain()
    chain.directories = (str(program),)
    subject = ContainerInfo("c", pid=1, annotations={"qos.class": "ls"}, cgroups_path="/runjail-no-such-group")
    with pytest.raises(PluginError, match="control group runjail-no-such-group: not found"):
        chain.run("create", subject, "", lambda path: None)
