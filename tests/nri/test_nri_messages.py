"""What plugins are told, and how their answers are read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.nri.config import Plugin
from runjail.nri.messages import ContainerInfo, Result, group, read_result, request

PLUGIN = Plugin("konfine", '{"systemReserved": [0]}', "0.1", "f")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
SUBJECTS = st.builds(
    ContainerInfo,
    id=TEXTS,
    pid=st.integers(0, 99999),
    annotations=st.dictionaries(TEXTS, TEXTS, max_size=3),
    resources=st.none() | st.dictionaries(TEXTS, st.integers(), max_size=2),
    namespaces=st.dictionaries(st.sampled_from(["pid", "network", "mount"]), TEXTS, max_size=3),
    cgroups_path=TEXTS,
    jail=TEXTS,
    jid=st.integers(0, 99),
)
RESULTS = st.lists(st.builds(Result, plugin=TEXTS, version=TEXTS, metadata=st.dictionaries(TEXTS, TEXTS)), max_size=3)


def test_the_request_of_the_documentation() -> None:
    """All that NRI's README shows, and what its code sends beside."""
    annotations = {"qos.class": "ls"}
    subject = ContainerInfo(
        "redis",
        1234,
        annotations,
        {"cpu": {}},
        {"pid": "/proc/44/ns/pid", "network": "/proc/44/ns/net"},
        "default/redis",
    )

    assert request(PLUGIN, "create", subject, [Result("first", "0.1")]) == {
        "conf": {"systemReserved": [0]},
        "version": "0.1",
        "state": "create",
        "id": "redis",
        "pid": 1234,
        "spec": {
            "resources": {"cpu": {}},
            "namespaces": {"pid": "/proc/44/ns/pid", "network": "/proc/44/ns/net", "net": "/proc/44/ns/net"},
            "cgroupsPath": "default/redis",
            "annotations": annotations,
        },
        "results": [{"plugin": "first", "version": "0.1", "error": ""}],
    }


def test_what_is_empty_is_left_out() -> None:
    assert request(Plugin("a"), "delete", ContainerInfo("web")) == {
        "version": "0.1",
        "state": "delete",
        "id": "web",
        "spec": {"resources": None},
    }


def test_a_jail_is_named_in_annotations() -> None:
    spec = request(PLUGIN, "create", ContainerInfo("a.b", 7, {"x": "y"}, jail="a%2Eb", jid=12))["spec"]

    assert spec["annotations"] == {"x": "y", "org.runjail.jail.name": "a%2Eb", "org.runjail.jail.jid": "12"}


def test_config_json_cannot_name_another_jail() -> None:
    annotations = {"org.runjail.jail.name": "other", "org.runjail.jail.jid": "1", "x": "y"}

    assert request(PLUGIN, "create", ContainerInfo("web", 7, annotations))["spec"]["annotations"] == {"x": "y"}


def test_pods_come_from_cri_annotations() -> None:
    annotations = {
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.sandbox-id": "pod7",
        "io.kubernetes.cri.sandbox-name": "cache",
        "io.kubernetes.cri.sandbox-namespace": "shop",
    }
    made = request(PLUGIN, "create", ContainerInfo("web", annotations=annotations))

    assert made["sandboxID"] == "pod7"
    assert made["labels"] == {"io.kubernetes.pod.name": "cache", "io.kubernetes.pod.namespace": "shop"}


def test_the_sandbox_itself_is_its_own() -> None:
    annotations = {"io.kubernetes.cri.container-type": "sandbox"}

    assert request(PLUGIN, "create", ContainerInfo("pod7", annotations=annotations))["sandboxID"] == "pod7"


@given(subject=SUBJECTS, results=RESULTS, state=st.sampled_from(["create", "delete"]))
def test_every_request_is_json_that_says_what_the_container_is(
    subject: ContainerInfo, results: list[Result], state: str
) -> None:
    made = request(PLUGIN, state, subject, results)

    assert json.loads(json.dumps(made)) == made
    assert made["id"] == subject.id and made["spec"]["resources"] == subject.resources
    assert made.get("pid", 0) == subject.pid
    assert made["spec"].get("cgroupsPath", "") == subject.cgroups_path
    assert len(made.get("results", [])) == len(results)
    told = made["spec"].get("annotations", {})
    assert all(told[key] == value for key, value in subject.annotations.items() if not key.startswith("org.runjail."))
    assert None not in made.values() and "" not in {made.get("sandboxID", "x")}


@given(
    result=st.builds(Result, plugin=TEXTS, version=TEXTS, metadata=st.dictionaries(TEXTS, TEXTS), cgroups_path=TEXTS)
)
def test_a_result_is_read_as_it_was_written(result: Result) -> None:
    read = read_result(json.dumps(result.to_data()).encode(), PLUGIN)

    assert read == result.replace(plugin=result.plugin or "konfine", version=result.version or "0.1")


def test_the_answer_of_the_documentation() -> None:
    answer = b'{"version": "0.1", "state": "create", "id": "redis", "pid": 1234, "cgroupsPath": "qos-ls/default/redis"}'

    assert read_result(answer, PLUGIN) == Result("konfine", "0.1", "", {}, "qos-ls/default/redis")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "it answered nothing"),
        (b" \n", "it answered nothing"),
        (b"ok\n", "its answer is no JSON: 'ok'"),
        (b"\xff\xfe", "its answer is no JSON: "),
        (b"[1]", "its answer is no JSON object: [1]"),
        (b"{} {}", "its answer is no JSON: '{} {}'"),
        (b'{"error": {}}', "its answer's error must be a string"),
        (b'{"plugin": 1}', "its answer's plugin must be a string"),
        (b'{"metadata": [1]}', "its answer's metadata must be an object of strings"),
        (b'{"metadata": {"a": 1}}', "its answer's metadata must be an object of strings"),
        (b'{"cgroupsPath": 1}', "its answer's cgroupsPath must be a string"),
    ],
)
def test_garbage_is_named(answer: bytes, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_result(answer, PLUGIN)

    assert str(caught.value).startswith(why)


@given(
    answer=st.binary(max_size=100) | st.recursive(st.none() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_no_answer_breaks_the_reader(answer: bytes) -> None:
    try:
        read_result(answer, PLUGIN)
    except ValueError as error:
        assert str(error).isprintable()


@pytest.mark.parametrize("path", ["..", "a/../b", "/", "", "a\nb", "a/\0"])
def test_a_group_does_not_lead_out(path: str) -> None:
    with pytest.raises(ValueError, match="cgroupsPath is no path of a group"):
        group(path)


@given(path=st.text(st.sampled_from("ab./"), max_size=12))
def test_a_group_is_a_plain_relative_path(path: str) -> None:
    made: Any = None
    try:
        made = group(path)
    except ValueError:
        return
    assert made == group(made) == group("/" + made) and not made.startswith("/") and ".." not in made.split("/")
