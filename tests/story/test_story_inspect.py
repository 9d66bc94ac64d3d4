"""inspect, and templates of list, ps and images, as scripts use them."""

import json

import pytest

from tests.support.story.cli import Cli

pytestmark = [pytest.mark.needs("root"), pytest.mark.parametrize("location", ["dir"], indirect=True)]


def test_a_container_under_podman_s_names(cli: Cli, hello: str) -> None:
    words = ("-h", "inside", "-l", "a.b=c", "-e", "A=b", "--read-only", "--stop-signal", "QUIT")
    cli.ok("run", "-d", "--image", hello, *words, "--name", "web", "/bin/sleep", "600")

    (found,) = json.loads(cli.ok("inspect", "web"))

    assert (found["Id"], found["Name"], found["Path"], found["Args"]) == ("web", "web", "/bin/sleep", ["600"])
    assert found["State"]["Pid"] == json.loads(cli.ok("state", "web"))["pid"]
    assert found["ImageName"] == "docker.io/library/hello:latest"
    assert found["Config"]["Hostname"] == "inside"
    assert found["Config"]["StopSignal"] == "QUIT"
    assert "A=b" in found["Config"]["Env"]
    assert found["HostConfig"]["ReadonlyRootfs"] is True
    assert (found["HostConfig"]["Memory"], found["HostConfig"]["PidsLimit"]) == (0, 0)
    assert found["HostConfig"]["LogConfig"]["Path"].endswith("/ctr.log")
    template = '{{.State.Status}} {{.State.Running}} {{index .Config.Labels "a.b"}} {{json .Args}}'
    assert cli.ok("inspect", "-f", template, "web") == 'running true c ["600"]\n'

    assert "A=b\n" in cli.ok("inspect", "-f", "{{range .Config.Env}}{{println .}}{{end}}", "web")
    assert cli.ok("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "web") == "\n"

    cli.ok("kill", "web", "KILL")
    cli.ok("wait", "web")
    assert cli.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}}", "web") == "exited 137 0\n"
    assert cli.refused("inspect", "nobody") == "container does not exist: nobody"
    assert cli.refused("inspect", "-f", "table", "web") == "--format: not json or a template: 'table'"


def test_templates_of_lists(cli: Cli, hello: str) -> None:
    cli.ok("run", "-d", "--image", hello, "--name", "web", "/bin/sleep", "600")
    pid = json.loads(cli.ok("state", "web"))["pid"]

    assert cli.ok("list", "--format", "{{.Names}} {{.Image}} {{.Status}}") == (
        "web docker.io/library/hello:latest running\n"
    )
    assert cli.ok("list", "-f", "table {{.ID}}\\t{{.Pid}}").split() == ["ID", "PID", "web", str(pid)]
    assert json.loads(cli.ok("list", "-f", "{{json .}}"))["id"] == "web"
    assert cli.ok("image", "ls", "-f", "{{.Repository}} {{.Tag}}") == "docker.io/library/hello latest\n"
    assert cli.ok("image", "inspect", "-f", "{{.Name}}", hello) == "docker.io/library/hello:latest\n"
    assert cli.refused("list", "-f", "{{.Nope}}") == "--format: there is no field .Nope"
