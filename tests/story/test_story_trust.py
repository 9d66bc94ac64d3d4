"""Ways around policy.json: the file itself, names, places, and what becomes of an image between pull and run.

Each has its control: the same image is taken where the policy allows it.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.story.cli import Cli, Keys

pytestmark = [
    pytest.mark.needs("root"),
    pytest.mark.parametrize("location", ["dir"], indirect=True),
]
ACCEPT, REJECT = [{"type": "insecureAcceptAnything"}], [{"type": "reject"}]


@pytest.fixture
def layout(cli: Cli, hello: str, tmp_path: Path) -> str:
    """An image in a layout, as it could come from anybody."""
    cli.ok("image", "export", "hello", f"oci:{tmp_path}/layout:1")
    return f"oci:{tmp_path}/layout:1"


@pytest.fixture
def policy(tmp_path: Path) -> Any:
    """Write a policy and return the words that name it."""

    def write(default: Any, name: str = "policy.json", **transports: Any) -> tuple[str, str]:
        path = tmp_path / name
        path.write_text(json.dumps({"default": default, "transports": transports}), encoding="utf-8")
        return "--signature-policy", str(path)

    return write


def forget_what_was_made_here(cli: Cli) -> None:
    """hello itself was made here, and is the same manifest as what came in from the layout: only that is to count."""
    for record in Path(cli.store.content()).glob("arrivals/*"):
        document = json.loads(record.read_text(encoding="utf-8"))
        document["arrivals"] = [each for each in document["arrivals"] if each["transport"] != "here"]
        record.write_text(json.dumps(document), encoding="utf-8")


def test_every_verb_that_fetches_or_runs_asks(cli: Cli, layout: str, policy: Any, tmp_path: Path) -> None:
    """Nothing is fetched, unpacked, made or run of what is refused, and nothing stays of the try."""
    cli.ok("image", "rm", "hello")
    before = cli.left()
    refusing = policy(REJECT)
    expected = f"image is not trusted: oci:{tmp_path}/layout: {tmp_path}/policy.json: default[0]: reject"

    for words in (
        ("image", "import", *refusing, layout, "web"),
        ("image", "unpack", *refusing, layout),
        ("image", "bundle", *refusing, layout, f"{tmp_path}/bundle"),
        ("image", "export", *refusing, layout, f"oci:{tmp_path}/other:1"),
        ("run", *refusing, "--image", layout, "one"),
    ):
        assert expected == cli.refused(*words), words
    assert cli.left() == before
    assert not (tmp_path / "bundle").exists()
    assert not (tmp_path / "other").exists()

    accepting = policy(REJECT, oci={str(tmp_path): ACCEPT})
    assert cli.ok("run", *accepting, "--image", layout, "one") == "Hello World!\n"


def test_an_image_of_the_store_under_another_name(cli: Cli, layout: str, policy: Any) -> None:
    """It was fetched while nobody asked; its new name is one that would be taken."""
    cli.ok("image", "import", layout, "bad.test/web:1")
    cli.ok("image", "rm", "hello")
    cli.ok("image", "tag", "bad.test/web:1", "good.test/web:1")
    words = ("run", *policy(REJECT, docker={"good.test": ACCEPT}), "--image", "good.test/web:1", "one")

    forget_what_was_made_here(cli)

    assert "image is not trusted: oci:" in cli.refused(*words)
    assert cli.ok("run", *policy(REJECT, oci={"": ACCEPT}), *words[3:]) == "Hello World!\n"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "is missing"),
        ("link", "is missing"),
        ("fifo", "is not a regular file"),
        ("directory", "is not a regular file"),
        ("device", "is not a regular file"),
        ("huge", "is larger than 1048576 bytes"),
        ("empty", "not JSON"),
        ("unknown", "is not known"),
    ],
)
def test_a_policy_that_cannot_be_read_refuses(cli: Cli, hello: str, tmp_path: Path, kind: str, said: str) -> None:
    """As the user's own one: the system's is not asked instead, and nothing waits."""
    path = tmp_path / "home/.config/containers/policy.json"
    path.parent.mkdir(parents=True)
    if kind == "link":
        path.symlink_to("nowhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind != "missing":
        texts = {"huge": " " * (1 << 20) + "{}", "empty": "", "unknown": '{"default": [{"type": "reject"}], "x": 1}'}
        path.write_text(texts[kind], encoding="utf-8")
    cli.env["HOME"] = f"{tmp_path}/home"
    named = ("--signature-policy", str(path)) if kind == "missing" else ()

    assert said in cli.refused("run", *named, "--image", "hello", "one")

    if kind == "directory":
        path.rmdir()
    elif kind != "missing":
        path.unlink()
    path.write_text(json.dumps({"default": ACCEPT}), encoding="utf-8")
    assert cli.ok("run", "--image", "hello", "one") == "Hello World!\n"


def test_what_was_made_of_a_refused_image(cli: Cli, layout: str, policy: Any, keys: Keys) -> None:
    """It would be taken as made here, so the image that it is made of is asked for first."""
    cli.ok("image", "import", layout, "bad.test/web:1")
    cli.ok("image", "rm", "hello")
    forget_what_was_made_here(cli)
    refusing, accepting = policy(REJECT), policy(REJECT, oci={"": ACCEPT}, name="other.json")
    cli.ok("run", "--keep", *accepting, "--image", "bad.test/web:1", "one")

    for words in (("image", "encrypt", *keys.recipient, "bad.test/web:1", "mine:1"), ("commit", "one", "mine:1")):
        place = 2 if words[0] == "image" else 1
        assert "default[0]: reject" in cli.refused(*words[:place], *refusing, *words[place:])
        assert [image["name"] for image in cli.json("image", "ls")] == ["bad.test/web:1"]
        cli.ok(*words[:place], *accepting, *words[place:])
        key = keys.key if place == 2 else ()
        assert cli.ok("run", *refusing, *key, "--image", "mine:1", f"two-{place}") == "Hello World!\n"
        cli.ok("image", "rm", "mine:1")
    cli.ok("delete", "one")


def test_a_root_file_system_is_taken_and_a_broken_policy_makes_nothing(
    cli: Cli, machine_rootfs: Path, policy: Any, tmp_path: Path
) -> None:
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    words = ("image", "import", "--cmd", "/bin/echo", "--cmd", "hi", f"rootfs:{machine_rootfs}", "mine")

    assert "not JSON" in cli.refused(*words[:2], "--signature-policy", f"{tmp_path}/broken.json", *words[2:])
    assert not (tmp_path / "store").exists()
    cli.ok(*words[:2], *policy(REJECT), *words[2:])
    assert cli.ok("run", *policy(REJECT), "--image", "mine", "one") == "hi\n"
