"""Layer keys wrapped by key providers: their configuration, programs, and gRPC services on the loopback interface."""

import base64
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import InvalidConfig, RunjailError
from runjail.host import programs
from runjail.image.crypto import keyprovider, keyprovider_config
from runjail.image.crypto.keyprovider_config import Provider, Tls
from runjail.image.crypto.options import SchemeError
from tests.support.image import encrypted_images
from tests.support.image.key_providers import PARAMETERS
from tests.support.peers.commands import processes_naming

# A provider that turns options round, and notes what it was asked and what it could see.
SCRIPT = """\
#!{python} -IS
import base64, json, os, sys
text = sys.stdin.read()
asked = json.loads(text)
with open("{directory}/asked", "w") as file:
    json.dump({{"asked": asked, "argv": sys.argv, "env": dict(os.environ)}}, file)
if asked["op"] == "keywrap":
    turned = base64.b64decode(asked["keywrapparams"]["optsdata"])[::-1]
    print(json.dumps({{"keywrapresults": {{"annotation": base64.b64encode(turned).decode()}}}}))
else:
    turned = base64.b64decode(asked["keyunwrapparams"]["annotation"])[::-1]
    print(json.dumps({{"keyunwrapresults": {{"optsdata": base64.b64encode(turned).decode()}}}}))
"""
Make = Callable[[str], Provider]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Return a function that makes a provider out of shell commands; "" makes the one above. Nobody of them stays."""

    def provider(commands: str = "") -> Provider:
        path = tmp_path / "provider"
        text = f"#!/bin/sh\n{commands}\n" if commands else SCRIPT.format(python=sys.executable, directory=tmp_path)
        path.write_text(text, encoding="ascii")
        path.chmod(0o755)
        return Provider((str(path), "one", "two words"))

    yield provider
    if sys.platform == "linux":
        assert processes_naming(f"{tmp_path}/provider") == []


# Programs ---------------------------------------------------------------------------------------------------------


def test_a_program_wraps_and_unwraps(make: Make) -> None:
    provider = make("")

    packet = keyprovider.wrap("vault", provider, encrypted_images.OPTIONS, PARAMETERS)

    assert packet == encrypted_images.OPTIONS[::-1]
    assert keyprovider.unwrap("vault", provider, packet, {}) == encrypted_images.OPTIONS


def test_a_program_is_asked_in_ocicrypts_words(make: Make, tmp_path: Path) -> None:
    """Both kinds of parameters are in every question, the unused one without content; capitals as in Go's structs."""
    provider = make("")
    keyprovider.wrap("vault", provider, b"options", PARAMETERS, {"x509s": (b"c",)})
    wrapping = json.loads((tmp_path / "asked").read_bytes())
    keyprovider.unwrap("vault", provider, b"packet", PARAMETERS)
    unwrapping = json.loads((tmp_path / "asked").read_bytes())

    listed = {"vault": ["YXR0cmlidXRlcw=="], "privkeys": ["a2V5"], "privkeys-passwords": [None]}
    assert wrapping["asked"] == {
        "op": "keywrap",
        "keywrapparams": {
            "ec": {"Parameters": listed, "DecryptConfig": {"Parameters": {"x509s": ["Yw=="]}}},
            "optsdata": "b3B0aW9ucw==",
        },
        "keyunwrapparams": {"dc": None, "annotation": None},
    }
    assert unwrapping["asked"] == {
        "op": "keyunwrap",
        "keywrapparams": {"ec": None, "optsdata": None},
        "keyunwrapparams": {"dc": {"Parameters": listed}, "annotation": "cGFja2V0"},
    }
    assert wrapping["argv"][1:] == ["one", "two words"]
    assert wrapping["env"].keys() - {"LC_CTYPE"} == {"PATH", "LC_ALL"}, "Python itself may add the first"


def test_a_layer_is_opened_by_a_provider(make: Make) -> None:
    """Whatever other keys there are: a provider is asked whenever there is a packet of its."""
    providers = {"vault": make("")}
    ciphertext, descriptor = encrypted_images.seal(
        b"layer", encrypted_images.LAYER, {"vault": (b"Enabled",)}, providers=providers
    )

    assert set(descriptor.annotations) == {
        "org.opencontainers.image.enc.keys.provider.vault",
        "org.opencontainers.image.enc.pubopts",
    }
    assert encrypted_images.opened(ciphertext, descriptor, {}, providers=providers) == b"layer"


SECRET = base64.b64encode(encrypted_images.OPTIONS).decode()


@pytest.mark.parametrize(
    ("commands", "why"),
    [
        ("echo cannot reach the vault >&2; exit 3", "exit status 3. stderr: cannot reach the vault"),
        ("exit 1", "exit status 1. stderr: "),
        ("kill -9 $$", "exit status 137"),
        ("cat >/dev/null", "its answer is not JSON"),
        ("cat; echo", "its answer has no keywrapresults.annotation"),
        ("echo '{}'", "its answer has no keywrapresults.annotation"),
        ("echo '[1]'", "its answer has no keywrapresults.annotation"),
        ("""echo '{"keywrapresults":{"annotation":7}}'""", "its answer has no keywrapresults.annotation"),
        ("""echo '{"keywrapresults":{"annotation":""}}'""", "its answer has no keywrapresults.annotation"),
        ("""echo '{"keywrapresults":{"annotation":"="}}'""", "could not base64 decode"),
        ("""echo '{"keyunwrapresults":{"optsdata":"AAAA"}}'""", "its answer has no keywrapresults.annotation"),
    ],
)
def test_what_a_program_does_wrong_is_said(make: Make, commands: str, why: str) -> None:
    """Never with the options, even when its answer holds them."""
    with pytest.raises(RunjailError) as refused:
        keyprovider.wrap("vault", make(commands), encrypted_images.OPTIONS, PARAMETERS)

    assert "key provider vault" in str(refused.value) and why in str(refused.value)
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value) and "symkey" not in str(refused.value)


def test_a_program_that_hangs_is_ended(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """With everybody it started."""
    monkeypatch.setattr(keyprovider, "TIMEOUT", 0.3)
    began = time.monotonic()

    with pytest.raises(SchemeError, match=r"key provider vault: .*provider: no end after 0\.3 s"):
        keyprovider.wrap("vault", make("sleep 600 & sleep 600"), b"options", {})

    assert time.monotonic() - began < 200


def test_an_endless_answer_is_cut_off(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SchemeError, match="its answer is longer than 4 MiB"):
        keyprovider.wrap("vault", make("yes"), b"options", {})


@pytest.mark.parametrize("name", ["/no/such/program", "no-such-program-anywhere", "./provider", "", "/etc/passwd", "/"])
def test_a_program_that_is_not_there_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither our caller's PATH nor the working directory leads to one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "no-such-program-anywhere").symlink_to("/bin/sh")
    (tmp_path / "provider").symlink_to("/bin/sh")

    with pytest.raises(SchemeError, match="is not an executable program in /usr/local/bin:"):
        keyprovider.wrap("vault", Provider((name, "x")), b"options", {})


def test_a_program_is_found_by_its_name() -> None:
    found = programs.which("no-such-program", "sh")

    assert found is not None and found.endswith("/sh") and found.startswith("/")


def test_secrets_are_only_on_standard_input(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    run = programs.run

    def record(argv: Any, **more: Any) -> programs.Result:
        seen.append((argv, more))
        return run(argv, **more)

    monkeypatch.setattr(programs, "run", record)
    keyprovider.wrap("vault", make(""), encrypted_images.OPTIONS, {"privkeys": (b"key",)})

    ((argv, more),) = seen
    assert SECRET.encode() in more["input"]
    assert SECRET not in "\0".join([*argv, *more["env"].values()])
    assert more["leave"] is False


def test_a_command_is_preferred(make: Make) -> None:
    """Nobody listens at the service's address. A server in this process might not survive the fork."""
    provider = replace(make(""), grpc="127.0.0.1:1")

    assert keyprovider.wrap("vault", provider, b"options", {}) == b"snoitpo"


# Configuration ----------------------------------------------------------------------------------------------------


def configuration(tmp_path: Path, content: Any) -> str:
    path = tmp_path / "providers.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def test_a_configuration_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = configuration(
        tmp_path,
        {
            "key-providers": {
                "a": {"cmd": {"path": "/bin/a", "args": ["x", "y"]}, "grpc": "host:1"},
                "b.c_d-e": {"cmd": {"path": "b"}},
                "f": {"grpc": "host:50051"},
                "g": {"grpc": "host:2", "grpc-tls": {"root-ca-file": "/ca", "server-name": "vault"}, "more": 1},
            }
        },
    )
    expected = {
        "a": Provider(("/bin/a", "x", "y"), "host:1"),
        "b.c_d-e": Provider(("b",)),
        "f": Provider((), "host:50051"),
        "g": Provider((), "host:2", Tls(root_ca_file="/ca", server_name="vault")),
    }
    monkeypatch.setenv("OCICRYPT_KEYPROVIDER_CONFIG", path)

    assert keyprovider_config.read(path) == keyprovider_config.configured() == expected


def test_no_configuration_means_no_providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCICRYPT_KEYPROVIDER_CONFIG", raising=False)

    assert keyprovider_config.configured() == {}
    assert keyprovider_config.read(str(tmp_path / "absent")) == {}


PROVIDER = "key-providers.a"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not JSON"),
        ("[]", "key-providers: must be an object"),
        ({}, "key-providers: must be an object"),
        ({"key-providers": []}, "key-providers: must be an object"),
        ({"key-providers": {"a": 1}}, f"{PROVIDER}: must be an object"),
        ({"key-providers": {"a": {"path": "/x"}}}, f"{PROVIDER}: Unsupported keyprovider invocation. Supported"),
        ({"key-providers": {"a": {"cmd": "x"}}}, f"{PROVIDER}.cmd.path: must be"),
        ({"key-providers": {"a": {"cmd": {"path": ""}}}}, f"{PROVIDER}.cmd.path: must be"),
        ({"key-providers": {"a": {"cmd": {"path": "x", "args": "y"}}}}, f"{PROVIDER}.cmd.args: must be"),
        ({"key-providers": {"a": {"cmd": {"path": "x", "args": [1]}}}}, f"{PROVIDER}.cmd.args: must be"),
        ({"key-providers": {"a": {"grpc": 1}}}, f"{PROVIDER}.grpc: must be host:port"),
        ({"key-providers": {"a": {"grpc": "x", "grpc-tls": 1}}}, f"{PROVIDER}.grpc-tls: must be an object"),
        ({"key-providers": {"a": {"grpc": "x", "grpc-tls": {"cert-file": "x"}}}}, "belong together"),
        ({"key-providers": {"a": {"grpc": "x", "grpc-tls": {"key-file": 1}}}}, "key-file: must be a string"),
        ({"key-providers": {"a/b": {"grpc": "x"}}}, "key-providers.a/b: a name consists of"),
        ({"key-providers": {"": {"grpc": "x"}}}, "a name consists of"),
    ],
)
def test_mistakes_in_a_configuration_are_named(tmp_path: Path, content: Any, why: str) -> None:
    path = configuration(tmp_path, content)

    with pytest.raises(InvalidConfig) as refused:
        keyprovider_config.read(path)

    assert str(refused.value).startswith(f"invalid {path}: ") and why in str(refused.value)


def test_an_unreadable_configuration_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="is not a regular file"):
        keyprovider_config.read(str(tmp_path))
