"""Bars while work is done on layers, at a terminal and for who wants none."""

import os
from pathlib import Path

import pytest

from tests.support.cli.typed import on_terminal
from tests.support.story.cli import Cli, Keys

pytestmark = [pytest.mark.needs("root"), pytest.mark.parametrize("location", ["dir"], indirect=True)]


def typed(cli: Cli, directory: Path, words: str) -> str:
    """Return what a verb shows on a terminal."""
    program = f"{cli.runjail.program} --root {cli.runjail.root} --store {cli.location}"
    code, text = on_terminal(f"{program} {words}", directory, {"PATH": os.environ["PATH"], "TERM": "xterm"})
    assert code == 0, text
    return text


def test_every_verb_says_what_it_does(cli: Cli, hello: str, keys: Keys, tmp_path: Path) -> None:
    """A line of each is a bar, and the word behind it says what is done to the layer."""
    layer = cli.json("image", "inspect", hello)["layers"][0]["digest"].partition(":")[2][:12]

    def shows(words: str, *doing: str) -> None:
        text = typed(cli, tmp_path, words)
        assert f"\r{layer} [==" in text, text
        assert [word for word in doing if f"  {word}\x1b[K" not in text] == [], text
        assert "[==" not in typed(cli, tmp_path, f"{words} -q")

    shows(f"image encrypt {hello} {' '.join(keys.recipient)} secret", "encrypted")
    shows(f"image export {hello} oci:{tmp_path}/layout:one")
    cli.ok("image", "rm", hello)
    shows(f"image unpack oci:{tmp_path}/layout:one", "unpacked")
    layer = cli.json("image", "inspect", "secret")["layers"][0]["digest"].partition(":")[2][:12]
    shows(f"image decrypt secret {' '.join(keys.key)} plain", "verified", "decrypted")


def test_commit_has_no_end_to_show(cli: Cli, hello: str, tmp_path: Path) -> None:
    """Nobody knows how large the layer becomes; the line has the container's name."""
    cli.ok("run", "-d", "--image", hello, "--name", "web", "/bin/sh", "-c", "echo x >/x; exec sleep 600")
    while cli("exec", "web", "/bin/test", "-f", "/x").returncode:
        pass

    text = typed(cli, tmp_path, "commit web made")

    assert text.startswith("\rweb ")
    assert "  packed\x1b[K" in text
