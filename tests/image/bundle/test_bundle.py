"""From an image config to a config.json that our own parser and planner accept."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import ImageError
from runjail.image import model
from runjail.image.bundle import default_mounts
from runjail.image.bundle.oci_config import config
from runjail.plan.plan import make_plan
from runjail.spec.parse import parse
from tests.support.image.images import CREATED

BOTH = [(system, host) for system in ("freebsd", "linux") for host in ("freebsd", "linux")]


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "passwd").write_text("root:x:0:0::/root:/bin/sh\nwww:x:80:81::/var/www:/bin/sh\n")
    (tmp_path / "root" / "etc" / "group").write_text("www:x:81:\nstaff:x:20:www\n")
    return str(tmp_path / "root")


def image(system: str = "linux", run: "dict[str, Any] | None" = None, **members: Any) -> model.ImageConfig:
    document = {"os": system, "architecture": "amd64", "config": {"Cmd": ["/bin/sh"]} if run is None else run,
                "rootfs": {"type": "layers", "diff_ids": []}, **members}  # fmt: skip
    return model.parse_config(json.dumps(document).encode(), 0)


def made(
    root: str, host: str = "linux", system: str = "linux", run: "dict[str, Any] | None" = None, **more: Any
) -> Any:
    """Return the document, which has to be one that can be planned."""
    document = config(image(system, run), root, host=host, **more)
    parsed = parse(json.loads(json.dumps(document)), host)
    make_plan(parsed, container_id="c", bundle="/b", state="/s/c", os=host)
    return document


@pytest.mark.parametrize(("system", "host"), BOTH)
@pytest.mark.parametrize("network", ["host", "none"])
@pytest.mark.parametrize("readonly", [False, True])
def test_every_image_on_every_host_can_be_planned(
    root: str, system: str, host: str, network: str, readonly: bool
) -> None:
    run = {"Cmd": ["/bin/sh"], "Volumes": {"/data": {}}, "User": "www"}
    document = made(root, host, system, run, network=network, readonly=readonly, hostname="h")

    assert document["root"] == {"path": root, "readonly": readonly}
    assert document["hostname"] == "h"
    places = [mount["destination"] for mount in document["mounts"]]
    assert len(places) == len(set(places))
    assert ("/data" in places) is readonly
    assert ("/etc/resolv.conf" in places) is (network == "host" and Path("/etc/resolv.conf").exists())


def types(document: Any) -> dict[str, str]:
    return {mount["destination"]: mount["type"] for mount in document["mounts"]}


def test_a_freebsd_image_gets_devfs_and_fdescfs(root: str) -> None:
    document = made(root, "freebsd", "freebsd", network="none")

    assert types(document) == {"/dev": "devfs", "/dev/fd": "fdescfs"}
    assert document["mounts"][0]["options"] == ["ruleset=4"]
    assert document["freebsd"]["jail"] == {"ip4": "disable", "ip6": "disable"}
    assert "linux" not in document


def test_a_linux_image_on_freebsd_gets_what_linux_programs_read(root: str) -> None:
    document = made(root, "freebsd", "linux", network="none")

    assert types(document) == {
        "/proc": "linprocfs", "/sys": "linsysfs", "/dev": "devfs", "/dev/fd": "fdescfs", "/dev/shm": "tmpfs",
    }  # fmt: skip
    assert [mount["options"] for mount in document["mounts"]][3] == ["linrdlnk"]
    assert document["annotations"]["org.opencontainers.image.os"] == "linux"


def test_a_linux_image_on_linux_is_confined(root: str) -> None:
    document = made(root, "linux", "linux", network="none")

    assert list(types(document)) == ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"]
    assert {entry["type"] for entry in document["linux"]["namespaces"]} == {"pid", "mount", "ipc", "uts", "network"}
    assert "/proc/kcore" in document["linux"]["maskedPaths"]
    assert "CAP_SYS_ADMIN" not in document["process"]["capabilities"]["bounding"]
    host = made(root, "linux", "linux")
    assert "network" not in {entry["type"] for entry in host["linux"]["namespaces"]}


def test_name_servers_of_the_host_are_shown_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").write_text("nameserver 127.0.0.1")
    (tmp_path / "resolv.conf").symlink_to("real")
    monkeypatch.setattr(default_mounts, "RESOLVER", str(tmp_path / "resolv.conf"))

    for host, kind in (("freebsd", "nullfs"), ("linux", "bind")):
        (mount,) = default_mounts.resolver(host)
        assert (mount["source"], mount["type"]) == (str(tmp_path / "real"), kind)
        assert "ro" in mount["options"]
    (tmp_path / "real").unlink()
    assert default_mounts.resolver("linux") == ()


@pytest.mark.parametrize(
    ("run", "args", "expected"),
    [
        ({"Cmd": ["a", "b"]}, [], ["a", "b"]),
        ({"cmd": ["a"]}, [], ["a"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, [], ["e", "c"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, ["x", "y"], ["e", "x", "y"]),
        ({"Entrypoint": ["e"], "Cmd": None}, [], ["e"]),
        ({"Entrypoint": None, "Cmd": ["c"]}, ["x"], ["x"]),
    ],
)
def test_entrypoint_and_cmd(root: str, run: dict[str, Any], args: list[str], expected: list[str]) -> None:
    assert made(root, run=run, args=args)["process"]["args"] == expected


def test_the_environment(root: str) -> None:
    document = made(root, run={"Cmd": ["a"], "Env": ["PATH=/mine", "X=1=2", "E=", "X=3"], "User": "www"})
    assert document["process"]["env"] == ["PATH=/mine", "X=3", "E=", "HOME=/var/www"]
    assert made(root, run={"Cmd": ["a"], "Env": ["HOME=/h"]})["process"]["env"][0] == "HOME=/h"
    assert made(root, "freebsd", "freebsd")["process"]["env"][0].startswith("PATH=/sbin:")


def test_who_runs_it_and_where(root: str) -> None:
    run = {"Cmd": ["a"], "User": "www", "WorkingDir": "/srv"}
    assert made(root, run=run)["process"]["user"] == {"uid": 80, "gid": 81, "additionalGids": [81, 20]}
    assert made(root, run=run)["process"]["cwd"] == "/srv"
    told = made(root, run=run, user="0:0", cwd="/tmp")["process"]
    assert (told["user"], told["cwd"]) == ({"uid": 0, "gid": 0, "additionalGids": [0]}, "/tmp")
    assert made(root)["process"]["cwd"] == "/"


def test_annotations(root: str) -> None:
    run = {"Cmd": ["a"], "StopSignal": "SIGQUIT", "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "unknown": [1],
           "Labels": {"mine": "1", "org.opencontainers.image.author": "label"}}  # fmt: skip
    said = image(
        "linux", run, author="config", created=CREATED, variant="v2", **{"os.features": ["x"], "os.version": "5"}
    )

    assert config(said, root, host="linux")["annotations"] == {
        "org.opencontainers.image.os": "linux",
        "org.opencontainers.image.architecture": "amd64",
        "org.opencontainers.image.variant": "v2",
        "org.opencontainers.image.os.version": "5",
        "org.opencontainers.image.os.features": "x",
        "org.opencontainers.image.author": "label",
        "org.opencontainers.image.created": CREATED,
        "org.opencontainers.image.stopSignal": "SIGQUIT",
        "org.opencontainers.image.exposedPorts": "80/tcp,53/udp",
        "mine": "1",
    }


@pytest.mark.parametrize(
    "label",
    ["org.freebsd.jail.allow.mount", "org.freebsd.parentJail", "org.runjail.zfs.dataset", "org.runjail.rctl.memoryuse",
     "org.opencontainers.image.os", "qos.class", "run.oci.hooks.stderr",
     "io.kubernetes.cri.sandbox-namespace"],
)  # fmt: skip
def test_a_label_grants_nothing(root: str, label: str) -> None:
    """Whoever builds an image writes its labels; what a container may do is the administrator's to say."""
    run = {"Cmd": ["a"], "Labels": {label: "true"}}

    assert made(root, "freebsd", "freebsd", run)["annotations"].get(label) != "true"


def test_volumes_are_writable_where_the_root_is_not(root: str) -> None:
    run = {"Cmd": ["a"], "Volumes": {"/var//lib/db/": {}, "/data": {}}}
    mounts = made(root, "freebsd", "freebsd", run, network="none", readonly=True)["mounts"][2:]

    assert [(mount["destination"], mount["type"]) for mount in mounts] == [("/data", "tmpfs"), ("/var/lib/db", "tmpfs")]
    assert all("tmpcopyup" in mount["options"] for mount in mounts), "with what the image has there"


@pytest.mark.parametrize(
    ("run", "why"),
    [
        ({}, "what to run"), ({"Cmd": []}, "what to run"), ({"Cmd": [""]}, "what to run"), ({"Cmd": "sh -c x"}, "Cmd"),
        ({"Cmd": [1]}, "Cmd"), ({"Cmd": ["a\0b"]}, "Cmd"), ({"Entrypoint": {"a": 1}}, "Entrypoint"),
        ({"Cmd": ["a"], "Env": ["=a"]}, "Env"),
        ({"Cmd": ["a"], "Env": ["A=\0"]}, "Env"), ({"Cmd": ["a"], "Env": "A=b"}, "Env"),
        ({"Cmd": ["a"], "WorkingDir": "srv"}, "WorkingDir"), ({"Cmd": ["a"], "WorkingDir": "/a\0"}, "WorkingDir"),
        ({"Cmd": ["a"], "WorkingDir": 5}, "WorkingDir"), ({"Cmd": ["a"], "User": "nobody"}, "nobody"),
        ({"Cmd": ["a"], "User": 5}, "User"), ({"Cmd": ["a"], "Volumes": {"data": {}}}, "Volumes"),
        ({"Cmd": ["a"], "Volumes": {"/a/../../etc": {}}}, "Volumes"), ({"Cmd": ["a"], "Volumes": {"/": {}}}, "Volumes"),
        ({"Cmd": ["a"], "Volumes": ["/a"]}, "Volumes"), ({"Cmd": ["a"], "Labels": {"a": 1}}, "Labels"),
        ({"Cmd": ["a"], "ExposedPorts": ["80"]}, "ExposedPorts"), ({"Cmd": ["a"], "StopSignal": 9}, "StopSignal"),
    ],
)  # fmt: skip
def test_a_config_that_means_nothing_is_one_error(root: str, run: dict[str, Any], why: str) -> None:
    with pytest.raises(ImageError, match=why) as caught:
        config(image("linux", run), root, host="linux")

    assert "\n" not in str(caught.value)
    assert "\0" not in str(caught.value)


def test_other_systems_cannot_run(root: str) -> None:
    with pytest.raises(ImageError, match="windows"):
        config(image("windows"), root, host="linux")
    assert config(image(""), root, host="freebsd")["annotations"]["org.opencontainers.image.os"] == "freebsd"


def test_a_root_that_is_gone_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot open the root"):
        config(image(), str(tmp_path / "absent"), host="linux")


def test_ipv6_of_a_network_that_a_program_fills_is_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else has its addresses; a kernel without IPv6 has no such setting, and `create` would fail."""
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/proc/sys/net/ipv6/conf/default/accept_dad")
    assert default_mounts.linux("private")["sysctl"] == {"net.ipv6.conf.default.accept_dad": "0"}
    assert "sysctl" not in default_mounts.linux("none")
    monkeypatch.setattr(os.path, "exists", lambda _path: False)
    assert "sysctl" not in default_mounts.linux("private")
