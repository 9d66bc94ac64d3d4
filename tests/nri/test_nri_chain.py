"""Calling plugins of any language, and everything that can go wrong with them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runjail.errors import PluginError
from runjail.nri.messages import ContainerInfo
from tests.support.container.harness import until
from tests.support.leaks import Held, children
from tests.support.nri.plugins import Plugins, gone

SUBJECT = ContainerInfo("web", 1234, {"qos.class": "ls"}, cgroups_path="default/web")
C_PLUGIN = r"""
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
    static char request[65536];
    size_t length = fread(request, 1, sizeof request - 1, stdin);
    int asked = argc == 2 && !strcmp(argv[1], "invoke") && strstr(request, "\"state\": \"create\"");
    printf("{\"plugin\": \"%s\", \"version\": \"0.1\", \"error\": \"%s\", \"metadata\": {\"bytes\": \"%zu\"}}\n",
           argv[0], asked ? "" : "not asked properly", length);
    return 0;
}
"""


def stay(path: str) -> None:
    raise AssertionError(f"nobody asked for {path}")


def failure(plugins: Plugins, *names: str, timeout: float = 5) -> str:
    """Run a chain that has to fail; returns the error, which is one line and names the plugin."""
    with pytest.raises(PluginError) as caught:
        plugins.chain(*names, timeout=timeout).run("create", SUBJECT, "", stay)
    assert str(caught.value).isprintable() or "\n" not in str(caught.value)
    return str(caught.value)


def test_a_shell_plugin_gets_the_request_and_invoke(plugins: Plugins) -> None:
    plugins.add("sh", f'echo "$0 $# $1" > {plugins.base}/argv\ncat > {plugins.base}/seen\necho "{{}}"\n')

    plugins.chain("sh").run("create", SUBJECT, "", stay)

    assert plugins.requests()[0]["id"] == "web"
    assert (plugins.base / "argv").read_text(encoding="utf-8").split()[1:] == ["1", "invoke"]


def test_a_python_plugin(plugins: Plugins) -> None:
    code = 'import json, sys\nr = json.load(sys.stdin)\nprint(json.dumps({"metadata": {"pid": str(r["pid"])}}))\n'
    plugins.add("py", code, f"#!{sys.executable} -IS\n")
    chain = plugins.chain("py")

    assert chain.call(chain.plugins[0], "create", SUBJECT).metadata == {"pid": "1234"}


@pytest.mark.needs("cc")
def test_a_compiled_plugin(plugins: Plugins, tmp_path: Path) -> None:
    (tmp_path / "plugin.c").write_text(C_PLUGIN, encoding="ascii")
    subprocess.run(["cc", "-o", str(plugins.bin / "c"), str(tmp_path / "plugin.c")], check=True)
    chain = plugins.chain("c")

    result = chain.call(chain.plugins[0], "create", SUBJECT)

    assert result.plugin == "c" and int(result.metadata["bytes"]) > 50


def test_results_are_chained(plugins: Plugins) -> None:
    plugins.recorder("one", '{"plugin": "one", "metadata": {"a": "b"}}')
    plugins.recorder("two")

    plugins.chain("one", "two", "two").run("create", SUBJECT, "", stay)

    first, second, third = plugins.requests()
    assert "results" not in first
    assert second["results"] == [{"plugin": "one", "version": "0.1", "error": "", "metadata": {"a": "b"}}]
    assert [result["plugin"] for result in third["results"]] == ["one", "two"]


def test_a_group_is_moved_once_and_later_plugins_are_told(plugins: Plugins) -> None:
    plugins.recorder("mover", '{"cgroupsPath": "/qos-ls/default//web"}')
    plugins.recorder("echo", '{"cgroupsPath": "qos-ls/default/web"}')
    plugins.recorder("last")
    moved: list[str] = []

    plugins.chain("mover", "echo", "last").run("create", SUBJECT, "", moved.append)

    assert moved == ["qos-ls/default/web"]
    paths = [request["spec"]["cgroupsPath"] for request in plugins.requests()]
    assert paths == ["default/web", "/qos-ls/default/web", "/qos-ls/default/web"]


def test_a_group_that_leads_out_is_a_failure(plugins: Plugins) -> None:
    plugins.recorder("bad", '{"cgroupsPath": "../../x"}')

    assert failure(plugins, "bad").startswith("NRI plugin bad: its answer's cgroupsPath is no path of a group")


def test_the_first_failure_ends_the_chain(plugins: Plugins) -> None:
    plugins.recorder("one")
    plugins.recorder("no", '{"error": "not here"}')

    assert failure(plugins, "one", "no", "one") == "NRI plugin no: not here"
    assert len(plugins.requests()) == 2


def test_a_failure_knows_who_answered(plugins: Plugins) -> None:
    plugins.recorder("one")
    plugins.recorder("mover", '{"cgroupsPath": ".."}')

    with pytest.raises(PluginError) as caught:
        plugins.chain("one", "mover", "one").run("create", SUBJECT, "", stay)

    assert caught.value.answered == ("one", "mover")
    assert plugins.chain("one", "two", "one").only(["one", "three"]).names() == ["one"]
    assert plugins.chain("one", "two", "one").only(["one", "one"]).names() == ["one", "one"]


def test_in_delete_everybody_gets_a_turn(plugins: Plugins) -> None:
    plugins.recorder("no", '{"error": "not here"}')
    plugins.recorder("one")
    said: list[str] = []

    plugins.chain("no", "missing", "one").run_all("delete", SUBJECT, "", said.append)

    assert [request["state"] for request in plugins.requests()] == ["delete", "delete"]
    assert said == ["NRI plugin no: not here", f"NRI plugin missing: not found in {plugins.bin}"]


def test_the_environment_is_small_and_knows_the_state_directory(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "1")
    plugins.add("env", f"env > {plugins.base}/env; echo '{{}}'\n")

    plugins.chain("env").run("create", SUBJECT, "/run/x", stay)

    names = {line.split("=")[0] for line in (plugins.base / "env").read_text(encoding="utf-8").splitlines()}
    assert {"PATH", "LC_ALL", "RUNJAIL_ROOT"} <= names and "SECRET" not in names


def test_the_path_is_not_searched(plugins: Plugins) -> None:
    assert failure(plugins, "sh") == f"NRI plugin sh: not found in {plugins.bin}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("exit 3\n", "exit status 3"),
        ("echo '{}'; echo broken >&2; exit 3\n", "exit status 3: broken"),
        ('echo \'{"error": "too big"}\'; exit 3\n', "too big"),
        ("kill -9 $$\n", "exit status 137"),
        ("true\n", "it answered nothing"),
        ("echo hello\n", "its answer is no JSON: 'hello'"),
        ("echo Permission denied >&2; exit 1\n", "exit status 1: access refused"),
    ],
)
def test_failures_are_worded(plugins: Plugins, text: str, why: str) -> None:
    plugins.add("bad", text)

    assert failure(plugins, "bad") == f"NRI plugin bad: {why}"


def test_what_cannot_be_executed_is_worded(plugins: Plugins) -> None:
    path = plugins.add("bad", "echo '{}'\n")
    path.chmod(0o644)
    assert failure(plugins, "bad") == f"NRI plugin bad: {path} may not be executed"

    plugins.add("lost", "", "#!/no/such/interpreter\n")
    assert failure(plugins, "lost").endswith("/lost its interpreter or a directory is missing")
    plugins.add("text", "hello\n", "")
    assert failure(plugins, "text").endswith("/text is no program and has no #! line")
    (plugins.bin / "dir").mkdir()
    assert failure(plugins, "dir").endswith("/dir may not be executed")


def test_endless_output_ends_at_once(plugins: Plugins) -> None:
    plugins.add("yes", "exec yes\n")

    assert failure(plugins, "yes", timeout=200) == "NRI plugin yes: its answer is larger than 1048576 bytes"


def test_a_long_complaint_is_cut(plugins: Plugins) -> None:
    plugins.add("long", "echo '{\"error\": \"'$(head -c 100000 /dev/zero | tr '\\0' x)'\"}'\n")

    assert len(failure(plugins, "long")) < 3000


def test_a_hanging_plugin_is_killed_with_its_children(plugins: Plugins) -> None:
    plugins.add("hang", f"sleep 600 &\necho $! > {plugins.base}/pid\nsleep 600\n")
    pid = plugins.base / "pid"

    for seconds in (0.5, 5.0, 50.0):  # the machine may be too slow for it to start its child in time
        said = failure(plugins, "hang", timeout=seconds)
        assert said == f"NRI plugin hang: no answer after {seconds:g} s"
        if pid.exists():
            break
    assert gone(int(pid.read_text(encoding="ascii")))


@pytest.mark.needs("ps")
def test_a_plugin_that_multiplies_and_outlives_itself(plugins: Plugins) -> None:
    """Each child starts two more; the plugin itself answers properly and ends."""
    bomb = f'if [ "$1" -gt 0 ]; then for i in 1 2; do sh {plugins.base}/bomb $(($1 - 1)) & done; fi\nexec sleep 600\n'
    (plugins.base / "bomb").write_text(bomb, encoding="ascii")
    plugins.add("bomb", f"sh {plugins.base}/bomb 4 &\nsleep 0.2\necho '{{}}'\n")

    assert failure(plugins, "bomb") == "NRI plugin bomb: it left processes behind, which were killed"
    ps = ["ps", "-A", "-o", "args"]
    until(lambda: f"{plugins.base}/bomb" not in subprocess.run(ps, capture_output=True, text=True, check=True).stdout)


def test_a_child_that_holds_nothing_is_killed_silently(plugins: Plugins) -> None:
    plugins.add("child", f"sleep 600 >/dev/null 2>&1 </dev/null &\necho $! > {plugins.base}/pid\necho '{{}}'\n")

    plugins.chain("child").run("create", SUBJECT, "", stay)

    until(lambda: gone(int((plugins.base / "pid").read_text(encoding="ascii"))))


def test_a_plugin_that_reads_nothing_is_content(plugins: Plugins) -> None:
    plugins.add("deaf", "echo '{}'\n")

    plugins.chain("deaf").run("create", SUBJECT.replace(annotations={"x": "y" * 300_000}), "", stay)


def test_standard_error_goes_to_the_log(plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runjail import log

    monkeypatch.setattr(log._Log, "descriptor", -1)
    log.set_up(str(tmp_path / "log"), "json", "warning")
    plugins.add("loud", "for i in $(seq 30); do echo line $i >&2; done; echo '{}'\n")
    try:
        plugins.chain("loud").run("create", SUBJECT, "", stay)
    finally:
        os.close(log._Log.descriptor)
        log.set_up()

    lines = [json.loads(line) for line in (tmp_path / "log").read_text(encoding="utf-8").splitlines()]
    assert lines[0]["msg"] == "NRI plugin loud: line 1" and lines[0]["level"] == "warning"
    assert [line["msg"] for line in lines[20:]] == ["NRI plugin loud: and 10 more lines"]


def test_no_descriptor_and_no_child_stays(plugins: Plugins) -> None:
    plugins.add("bad", "exit 3\n")
    before, others = Held(), children()

    failure(plugins, "bad")

    assert before.more() == []
    assert children() <= others
