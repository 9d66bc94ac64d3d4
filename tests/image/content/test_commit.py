"""commit --change: instructions of a Containerfile, as they change an image's config."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import UsageError
from runjail.image import media_types, model
from runjail.image.content import commit
from runjail.image.content.store import ContentStore
from runjail.image.model import Descriptor, Manifest
from runjail.image.resolve import Image


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("CMD=/bin/sh -l", "Cmd", ["/bin/sh", "-c", "/bin/sh -l"]),
        ('entrypoint ["/x", "y"]', "Entrypoint", ["/x", "y"]),
        ("ENV A=c d", "Env", ["Z=1", "A=c d"]),
        ("ENV=A=c", "Env", ["Z=1", "A=c"]),
        ("LABEL a b", "Labels", {"k": "v", "a": "b"}),
        ('LABEL a="b c"', "Labels", {"k": "v", "a": "b c"}),
        ("EXPOSE 80 53/udp", "ExposedPorts", {"80/tcp": {}, "53/udp": {}}),
        ('VOLUME ["/a", "/b"]', "Volumes", {"/a": {}, "/b": {}}),
        ("USER www", "User", "www"),
        ("WORKDIR /x y", "WorkingDir", "/x y"),
        ("STOPSIGNAL=QUIT", "StopSignal", "QUIT"),
    ],
)
def test_instructions(text: str, key: str, value: object) -> None:
    document = {"config": {"Env": ["A=b", "Z=1"], "Labels": {"k": "v"}, "Cmd": ["x"]}}

    commit.change(document, text)

    assert document["config"][key] == value
    assert ("Cmd" in document["config"]) is (key != "Entrypoint")


@pytest.mark.parametrize("spell", [str.lower, str.upper, str])
def test_names_of_members_in_any_case_are_the_same_member(spell: Callable[[str], str]) -> None:
    """FreeBSD's official images write them in lower case."""
    old = {"Cmd": ["x"], "Env": ["A=b"], "Labels": {"k": "v"}, "Volumes": None, "Other": 1}
    document: dict[str, Any] = {"config": {spell(key): value for key, value in old.items()}}

    for text in ("ENV C=d", "LABEL a=b", "VOLUME /v", 'ENTRYPOINT ["/x"]'):
        commit.change(document, text)

    assert document["config"] == {
        "Env": ["A=b", "C=d"],
        "Labels": {"k": "v", "a": "b"},
        "Volumes": {"/v": {}},
        "Entrypoint": ["/x"],
        spell("Other"): 1,
    }


def test_a_config_without_anything_to_run(tmp_path: Path) -> None:
    """A null is as good as an absent key."""
    content = ContentStore(str(tmp_path / "content"))
    data = {"os": "freebsd", "architecture": "amd64", "config": None, "History": None}
    layerless = model.parse_config(model.encode({**data, "RootFS": {"type": "layers", "diff_ids": []}}), 0)
    manifest = Manifest(content.add(b"{}", media_types.OCI_CONFIG), ())
    top = Descriptor("", "", 0)
    image = Image("x", top, top, manifest, layerless)
    with content.lease():
        made = commit.commit(content, image, [bytes(1024)], ["CMD=x"], commit.Note("x"), set())
        found = model.parse_manifest(content.read(made))
        assert isinstance(found, Manifest)
        document = json.loads(content.read(found.config))

    assert document["config"] == {"Cmd": ["/bin/sh", "-c", "x"]}
    assert len(document["rootfs"]["diff_ids"]) == len(document["history"]) == 1
    assert set(document) == {"os", "architecture", "config", "rootfs", "history", "created"}


@pytest.mark.parametrize("text", ["", "CMD", "RUN x", "ENV", "LABEL a", "ENV A", "FROM scratch"])
def test_what_is_no_instruction(text: str) -> None:
    with pytest.raises(UsageError, match="--change: "):
        commit.change({}, text)
