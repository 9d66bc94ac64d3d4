"""check --containerd: what leads to us, what does not, and the line that mends it."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from runjail.cli.containerd_config import rows
from runjail.errors import UsageError
from tests.support.program import Runjail

TAR = "application/vnd.oci.image.layer.v1.tar"
GOOD = f"""
version = 2
[stream_processors."io.containerd.ocicrypt.decoder.v1.tar.gzip"]
  accepts = ["{TAR}+gzip+encrypted", "{TAR}+zstd+encrypted"]
  returns = "{TAR}+gzip"
  path = "PROGRAMS/ctd-decoder"
  args = ["--decryption-keys-path", "KEYS"]
[stream_processors."io.containerd.ocicrypt.decoder.v1.tar"]
  accepts = ["{TAR}+encrypted"]
  returns = "{TAR}"
  path = "ctd-decoder"
  env = ["OCICRYPT_KEYPROVIDER_CONFIG=KEYS/key.pem"]
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runjail]
  runtime_type = "io.containerd.runjail.v1"
[plugins."io.containerd.grpc.v1.cri".image_decryption]
  key_model = "node"
"""


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A configuration in which nothing is missing."""
    programs, keys = tmp_path / "programs", tmp_path / "keys"
    programs.mkdir()
    keys.mkdir()
    (keys / "key.pem").write_text("a key", encoding="utf-8")
    for name in ("ctd-decoder", "containerd-shim-runjail-v1"):
        (programs / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    return GOOD.replace("PROGRAMS", str(programs)).replace("KEYS", str(keys))


def looked(tmp_path: Path, text: str) -> dict[str, tuple[bool, str, str]]:
    tomllib.loads(text)  # what the test writes is TOML
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    return {what: (works, found, remedy) for what, works, found, remedy in rows(str(tmp_path / "config.toml"))}


def test_a_whole_configuration_works(tmp_path: Path, good: str) -> None:
    found = looked(tmp_path, good)

    assert [what for what, (works, _found, _remedy) in found.items() if not works] == []
    assert all(not remedy for _works, _found, remedy in found.values())
    assert found["CRI runtime"][1] == "runtimes.runjail of io.containerd.grpc.v1.cri"


@pytest.mark.parametrize(
    ("old", "new", "what", "remedy"),
    [
        ("version = 2", "version = 1", "version", "version = 2 (containerd 1.x) or 3 (2.x) at its top"),
        (
            "io.containerd.runjail.v1",
            "io.containerd.runc.v2",
            "CRI runtime",
            "runtime_type = 'io.containerd.runjail.v1'",
        ),
        ('"node"', '"x"', "CRI image_decryption", "key_model = 'node'"),
        (f', "{TAR}+zstd+encrypted"', "", "encrypted zstd layers", "to accepts of io.containerd.ocicrypt"),
        ('path = "ctd-decoder"', 'path = "other"', "io.containerd.ocicrypt.decoder.v1.tar", "path = '"),
        (f'returns = "{TAR}"', 'returns = "x"', "io.containerd.ocicrypt.decoder.v1.tar", f"returns = '{TAR}'"),
        (f'["{TAR}+encrypted"]', "[]", "io.containerd.ocicrypt.decoder.v1.tar", f"accepts = ['{TAR}+encrypted']"),
        ("env =", "other =", "io.containerd.ocicrypt.decoder.v1.tar", "args = ['--decryption-keys-path'"),
        ("decoder.v1.tar.gzip", "decoder.v1.tar.zstd", "io.containerd.ocicrypt.decoder.v1.tar.zstd", "call it"),
        ("decoder.v1.tar.gzip", "decoder.v1.tar.zstd", "io.containerd.ocicrypt.decoder.v1.tar.gzip", "[stream_proc"),
    ],
)
def test_what_does_not_work_is_mended(tmp_path: Path, good: str, old: str, new: str, what: str, remedy: str) -> None:
    assert old in good
    works, _found, said = looked(tmp_path, good.replace(old, new))[what]

    assert not works
    assert remedy in said


def test_programs_and_keys_must_be_there(tmp_path: Path, good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys" / "key.pem").unlink()
    monkeypatch.setenv("PATH", "/nowhere")
    found = looked(tmp_path, good)

    assert found["containerd-shim-runjail-v1"] == (False, "not in PATH", "make install, or copy it into PATH")
    assert found["io.containerd.ocicrypt.decoder.v1.tar.gzip"][:2] == (False, "no keys")


def test_version_3_has_other_plugins(tmp_path: Path, good: str) -> None:
    text = good.replace("version = 2", "version = 3").replace(
        "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"
    )

    assert looked(tmp_path, text)["CRI runtime"][0]


LOCAL = "[plugins.'io.containerd.cri.v1.images']\n  use_local_image_pull = true\n"


@pytest.mark.parametrize(
    ("version", "arguments", "more", "works"),
    [
        (2, "", "", True),
        (3, "", "", False),
        (4, "", "", False),
        (3, "", LOCAL, True),
        (3, "", LOCAL.replace("true", "false"), False),
        (3, '"--content-store", "/content", ', "", True),
        (3, '"--content-store=/content", ', "", True),
    ],
)
def test_who_sends_a_payload(tmp_path: Path, good: str, version: int, arguments: str, more: str, works: bool) -> None:
    """Both decoders need the store of content where containerd says nothing of layers."""
    text = good.replace("version = 2", f"version = {version}").replace("env =", "args = []\n  env =")
    found = looked(tmp_path, text.replace("args = [", f"args = [{arguments}") + more)["CRI payload"]

    assert found[0] == works
    assert found[2].startswith("[plugins.'io.containerd.cri.v1.images'] use_local_image_pull = true") != works


def test_one_decoder_without_content_is_not_enough(tmp_path: Path, good: str) -> None:
    text = good.replace("version = 2", "version = 3")
    assert not looked(tmp_path, text.replace("args = [", 'args = ["--content-store", "/x", '))["CRI payload"][0]


@pytest.mark.parametrize(
    "text", ["", "plugins = 3\n", "stream_processors = []\n", "[plugins.x]\n[stream_processors.x]\n"]
)
def test_anything_is_looked_at(tmp_path: Path, text: str) -> None:
    assert not looked(tmp_path, text)["CRI runtime"][0]


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xff = [")
    for name in ("config.toml", "missing.toml"):
        with pytest.raises(UsageError, match=name):
            rows(str(tmp_path / name))


def test_the_verb_fails_when_something_is_missing(tmp_path: Path, runjail: Runjail) -> None:
    (tmp_path / "config.toml").write_text("version = 2\n", encoding="utf-8")
    result = runjail("check", "--containerd", str(tmp_path / "config.toml"), "--format", "json")

    assert result.returncode == 1
    said: list[dict[str, Any]] = json.loads(result.stdout)
    assert said[0] == {"what": "version", "works": True, "found": "2", "remedy": ""}
