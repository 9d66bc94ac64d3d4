"""Where credentials are found, in which order, and what is never told."""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runjail import log
from runjail.errors import ImageError
from runjail.image.registry import credentials
from runjail.image.registry.credentials import Credentials, CredentialStore
from tests.support.needs import ORDINARY

HUB = "https://index.docker.io/v1/"


def entry(user: str, password: str = "pw") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def write(path: Path, document: object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return str(path)


def user(found: Credentials | None) -> str:
    return found.username if found else ""


def look(document: object, host: str, repository: str = "a/b", **more: Any) -> Credentials | None:
    """Look into one document, as an environment variable gives it."""
    keyring = CredentialStore(environ={"HOME": "/nonexistent", "DOCKER_AUTH_CONFIG": json.dumps(document)}, **more)
    return keyring.find(host, repository)


# Places -----------------------------------------------------------------------------------------------------------


def test_order_of_files(home: Path) -> None:
    """The first file that knows the registry wins; what an earlier one lacks comes from a later one."""
    environ = {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "DOCKER_CONFIG": str(home / "docker"),
    }
    keyring = CredentialStore(environ=environ)
    places = [
        home / "run" / "containers" / "auth.json",
        home / "config" / "containers" / "auth.json",
        home / "docker" / "config.json",
        home / ".dockercfg",
    ]
    assert keyring.files == [str(path) for path in places]
    assert keyring.find("r.test", "web") is None

    for number, path in reversed(list(enumerate(places))):
        auths = {"r.test": entry(f"user{number}"), f"only{number}.test": entry("only")}
        write(path, auths if path.name == ".dockercfg" else {"auths": auths})
        assert user(keyring.find("r.test", "web")) == f"user{number}"
    for number in range(len(places)):
        assert user(keyring.find(f"only{number}.test", "web")) == "only"
    assert (keyring.find("r.test", "web") or Credentials()).origin == str(places[0])


def test_places_without_variables(home: Path) -> None:
    assert CredentialStore(environ={"HOME": str(home)}).files == [
        f"/run/containers/{os.getuid()}/auth.json",
        f"{home}/.config/containers/auth.json",
        f"{home}/.docker/config.json",
        f"{home}/.dockercfg",
    ]


def test_a_file_that_is_named_is_the_only_one(home: Path) -> None:
    """Named by an option before the environment, and by the environment before everything else."""
    write(home / ".docker" / "config.json", {"auths": {"r.test": entry("docker")}})
    one = write(home / "one.json", {"auths": {"r.test": entry("one")}})
    two = write(home / "two.json", {"auths": {}})
    inline = json.dumps({"auths": {"r.test": entry("inline")}})
    environ = {"HOME": str(home), "REGISTRY_AUTH_FILE": one, "DOCKER_AUTH_CONFIG": inline}

    assert user(CredentialStore(environ=environ).find("r.test", "web")) == "one"
    assert CredentialStore(two, environ).find("r.test", "web") is None
    del environ["REGISTRY_AUTH_FILE"]
    assert user(CredentialStore(environ=environ).find("r.test", "web")) == "inline"
    del environ["DOCKER_AUTH_CONFIG"]
    assert user(CredentialStore(environ=environ).find("r.test", "web")) == "docker"


def test_a_named_file_has_to_exist(home: Path) -> None:
    with pytest.raises(ImageError, match=f"^credentials file {home}/absent is missing$"):
        CredentialStore(f"{home}/absent", {}).find("r.test", "web")


def test_a_file_that_is_a_directory(home: Path) -> None:
    (home / ".docker" / "config.json").mkdir(parents=True)
    with pytest.raises(ImageError, match=r"config\.json is not a regular file"):
        CredentialStore(environ={"HOME": str(home)}).find("r.test", "web")


def test_a_place_that_one_may_not_enter_holds_nothing(home: Path) -> None:
    """Who is not root often may not enter /run/containers; a file that is named has to be readable."""
    (home / "run").mkdir(mode=0o000)
    environ = {"HOME": str(home / "absent"), "XDG_RUNTIME_DIR": str(home / "run")}
    before = os.geteuid()
    if before == 0:
        os.seteuid(ORDINARY)
    try:
        assert CredentialStore(environ=environ).find("r.test", "web") is None
        with pytest.raises(ImageError, match=r"auth\.json may not be read$"):
            CredentialStore(f"{home}/run/containers/auth.json", environ).find("r.test", "web")
    finally:
        os.seteuid(before)
        (home / "run").chmod(0o700)


@pytest.mark.parametrize("text", ["", "[]", '{"auths": {"r.test": s3cret', "5", "[" * 5000])
def test_a_file_that_is_not_json(home: Path, text: str) -> None:
    """The error names the file and quotes nothing."""
    path = write(home / "auth.json", text)
    with pytest.raises(ImageError, match=f"^credentials file {path}: not a JSON object$"):
        CredentialStore(path, {}).find("r.test", "web")


# Keys -------------------------------------------------------------------------------------------------------------


def test_most_specific_key() -> None:
    auths = {name: entry(name) for name in ("r.test", "r.test/a", "r.test/a/b", "r.test/a/b/c", "r.test/ab")}
    found = {
        repository: user(look({"auths": auths}, "r.test", repository)) for repository in ("a/b", "a/x/y", "x", "abc")
    }

    assert found == {"a/b": "r.test/a/b", "a/x/y": "r.test/a", "x": "r.test", "abc": "r.test"}


@pytest.mark.parametrize(
    "key", ["r.test", "https://r.test", "https://r.test/v1/", "http://r.test/v2/", "r.test/v1", "https://r.test/x/"]
)
def test_keys_as_docker_writes_them(key: str) -> None:
    assert user(look({"auths": {key: entry("u")}}, "r.test")) == "u"


@pytest.mark.parametrize("key", ["r.test:5000", "www.r.test", "https://r.test.evil/", "r.tes", "r.test/a/b/c", ""])
def test_keys_of_others(key: str) -> None:
    """Secrets are for exactly one host and port."""
    assert look({"auths": {key: entry("u")}}, "r.test") is None


@pytest.mark.parametrize("key", [HUB, "docker.io", "index.docker.io", "registry-1.docker.io", "docker.io/library"])
def test_names_of_docker_hub(key: str) -> None:
    assert user(look({"auths": {key: entry("u")}}, "docker.io", "library/web")) == "u"


# Entries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (entry("u", "p:w"), Credentials("u", "p:w")),
        (entry("u", "pw\0\0"), Credentials("u", "pw")),
        ({"username": "u", "password": "pw"}, Credentials("u", "pw")),
        ({"identitytoken": "t", **entry("u", "")}, Credentials("u", identity_token="t")),
        ({"registrytoken": "t"}, Credentials(registry_token="t")),
        ({}, None),
        ({"auth": ""}, None),
        ({"auth": None, "username": 5}, None),
        (None, None),
        ("x", None),
    ],
)
def test_entries(value: object, found: Credentials | None) -> None:
    expected = replace(found, origin="DOCKER_AUTH_CONFIG") if found else None
    assert look({"auths": {"r.test": value}}, "r.test") == expected


@pytest.mark.parametrize("auth", ["s3cret", "/////w==", "é"])
def test_entry_that_cannot_be_read(auth: str) -> None:
    with pytest.raises(ImageError, match=r"^DOCKER_AUTH_CONFIG: an entry's auth is not base64") as caught:
        look({"auths": {"r.test": {"auth": auth}}}, "r.test")
    assert auth not in str(caught.value)


@pytest.mark.parametrize("document", [{"auths": []}, {"auths": None}, {"credHelpers": 5, "credsStore": 7}, {}])
def test_documents_of_another_shape(document: object) -> None:
    assert look(document, "r.test") is None


def test_secrets_are_masked() -> None:
    secret = Credentials("alice", "s3cret", "s3cret", "s3cret", "here")

    assert repr(secret) == "Credentials('alice' from 'here')"
    assert "s3cret" not in f"{secret} {[secret]} {(secret,)!r}"


# Helpers ----------------------------------------------------------------------------------------------------------


class Helper:
    """Answers for some (suffix, server), and remembers what it was asked."""

    def __init__(self, known: dict[tuple[str, str], tuple[str, str]]) -> None:
        self.known = known
        self.asked: list[tuple[str, str]] = []

    def __call__(self, suffix: str, server: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
        self.asked.append((suffix, server))
        return self.known.get((suffix, server))


def test_helper_of_one_host() -> None:
    helper = Helper({("own", "r.test"): ("u", "pw"), ("all", "r.test"): ("x", "x"), ("all", "s.test"): ("all", "pw")})
    document = {"credHelpers": {"r.test": "own"}, "credsStore": "all", "auths": {"s.test": entry("file")}}

    assert look(document, "r.test", helper=helper) == Credentials("u", "pw", origin="docker-credential-own")
    assert user(look(document, "s.test", helper=helper)) == "all"
    assert helper.asked == [("own", "r.test"), ("all", "s.test")]


def test_store_that_knows_nothing() -> None:
    """Then the file's own entry counts."""
    document = {"credsStore": "all", "auths": {"r.test": entry("file"), "s.test": {}}}

    assert user(look(document, "r.test", helper=Helper({}))) == "file"
    assert look(document, "s.test", helper=Helper({})) is None


def test_identity_token_of_a_helper() -> None:
    helper = Helper({("own", "r.test"): ("<token>", "long-lived")})
    found = look({"credHelpers": {"r.test": "own"}}, "r.test", helper=helper)

    assert found == Credentials(identity_token="long-lived", origin="docker-credential-own")


def test_helper_and_docker_hub() -> None:
    """Docker's name for it is asked first, then ours."""
    helper = Helper({("own", "docker.io"): ("u", "pw")})

    assert user(look({"credsStore": "own"}, "docker.io", helper=helper)) == "u"
    assert helper.asked == [("own", HUB), ("own", "docker.io")]


def program(home: Path, body: str, name: str = "docker-credential-mine") -> dict[str, str]:
    """Write a helper and return an environment in which it is found."""
    path = home / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return {"PATH": f"relative:{home}:/usr/bin:/bin", "MINE": "seen", "HOME": str(home)}


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(log, "warning", said.append)
    return said


def test_a_real_helper(home: Path, warnings: list[str]) -> None:
    """It reads the server on its input, and sees the user's environment."""
    said = '{"ServerURL":"%s","Username":"%s","Secret":"pw"}'
    body = f"""read server; [ "$1" = get ] && printf '{said}' "$server" "$server-$MINE\""""
    environ = program(home, body)

    assert credentials.ask_helper("mine", "r.test", environ) == ("r.test-seen", "pw")
    assert warnings == []


@pytest.mark.parametrize(
    ("body", "warned"),
    [
        ("echo credentials not found in native keychain; exit 1", ""),
        ("echo s3cret; exit 3", "credential helper docker-credential-mine returned 3 for r.test"),
        ("echo s3cret", "credential helper docker-credential-mine: no answer that can be read"),
        ("echo '[]'", ""),
        ('echo \'{"Username": "s3cret"}\'', ""),
        ("printf '\\377'", "credential helper docker-credential-mine: no answer that can be read"),
    ],
)
def test_a_real_helper_that_fails(home: Path, body: str, warned: str, warnings: list[str]) -> None:
    """It may be that nothing is needed: a warning without a word of what was said."""
    assert credentials.ask_helper("mine", "r.test", program(home, body)) is None
    assert warnings == ([warned] if warned else [])


def test_a_helper_that_hangs(home: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "HELPER_TIME", 0.1)

    assert credentials.ask_helper("mine", "r.test", program(home, "exec sleep 60")) is None
    assert len(warnings) == 1


@pytest.mark.parametrize("suffix", ["absent", "../mine", "/mine", ""])
def test_no_such_helper(home: Path, suffix: str, warnings: list[str]) -> None:
    """Only names in PATH are run, and only those of helpers."""
    environ = program(home, 'echo \'{"Secret": "x"}\'')
    (home / "docker-credential-..").mkdir()
    program(home / "docker-credential-..", 'echo \'{"Secret": "x"}\'', "mine")

    assert credentials.ask_helper(suffix, "r.test", environ) is None
    assert warnings == [f"credential helper docker-credential-{suffix}: not found in PATH"]


def test_a_helper_that_is_no_program(home: Path, warnings: list[str]) -> None:
    environ = program(home, "")
    (home / "docker-credential-mine").write_bytes(b"\x7fELF")

    assert credentials.ask_helper("mine", "r.test", environ) is None
    assert "cannot be run" in warnings[0]
