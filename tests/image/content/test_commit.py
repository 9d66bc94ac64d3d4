"""commit --change: instructions of a Containerfile, as they change an image's config."""

import pytest

from runjail.errors import UsageError
from runjail.image.content import commit


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


@pytest.mark.parametrize("text", ["", "CMD", "RUN x", "ENV", "LABEL a", "ENV A", "FROM scratch"])
def test_what_is_no_instruction(text: str) -> None:
    with pytest.raises(UsageError, match="--change: "):
        commit.change({}, text)
