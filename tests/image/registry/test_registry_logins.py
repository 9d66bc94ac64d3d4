"""image login and logout: what is kept where, and that podman's file stays podman's."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from runjail.errors import ImageError
from runjail.image.registry.credentials import CredentialStore
from runjail.image.registry.logins import LoginFile
from tests.support.image.registry_server import PASSWORD, USER, DockerRegistry, TokenServer, htpasswd
from tests.support.program import Runjail

KEPT = {"auths": {"a.test": {"auth": "YTpi"}}, "credHelpers": {"h.test": "box"}, "other": [1]}
HELPER = """#!/bin/sh
read -r line
echo "$1 $line" >>"$HOME/told"
[ "$1" != get ] || echo '{"Username": "carol", "Secret": "s"}'
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(KEPT), encoding="utf-8")
    return path


def test_what_else_a_file_says_stays(file: Path) -> None:
    """A login is added, found by pulls, and taken out; a link to the file stays one."""
    link = file.with_name("link")
    link.symlink_to(file)
    logins = LoginFile(str(link), {})
    assert logins.keep("r.test/team", "bob", "a:b") == str(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert link.is_symlink()
    assert logins.username("r.test/team") == "bob"
    found = CredentialStore(str(file), {}).find("r.test", "team/web")
    assert found
    assert (found.username, found.password) == ("bob", "a:b")
    assert logins.drop("r.test/team")
    assert not logins.drop("r.test/team")
    assert json.loads(file.read_text(encoding="utf-8")) == KEPT
    assert sorted(each.name for each in file.parent.iterdir()) == ["auth.json", "link"]


def test_a_helper_keeps_what_its_registry_is_given(file: Path, tmp_path: Path) -> None:
    """Nothing of it is in the file; drop_all takes it out, too."""
    helper = tmp_path / "bin" / "docker-credential-box"
    helper.parent.mkdir()
    helper.write_text(HELPER, encoding="utf-8")
    helper.chmod(0o755)
    logins = LoginFile(str(file), {"PATH": f"{helper.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)})
    assert logins.keep("h.test", "carol", "s") == "docker-credential-box"
    assert logins.username("h.test") == "carol"
    assert json.loads(file.read_text(encoding="utf-8")) == KEPT
    logins.drop_all()
    assert json.loads(file.read_text(encoding="utf-8")) == KEPT | {"auths": {}}
    store, *others = (tmp_path / "told").read_text(encoding="utf-8").splitlines()
    assert json.loads(store.removeprefix("store ")) == {"ServerURL": "h.test", "Username": "carol", "Secret": "s"}
    assert others == ["get h.test", "get h.test", "erase h.test"]


@pytest.mark.parametrize("content", ["[]", "{", '{"auths": []}'])
def test_a_file_that_is_no_file_of_credentials_is_left_alone(file: Path, content: str) -> None:
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ImageError, match=r"credentials file .*auth.json: "):
        LoginFile(str(file), {}).keep("r.test", "bob", "pw")
    assert file.read_text(encoding="utf-8") == content


def test_where_it_goes(tmp_path: Path) -> None:
    """As podman: a named file, $REGISTRY_AUTH_FILE, or the first of its own places, which is made."""
    assert LoginFile("/x/a", {"REGISTRY_AUTH_FILE": "/x/b"}).path == "/x/a"
    assert LoginFile("", {"REGISTRY_AUTH_FILE": "/x/b"}).path == "/x/b"
    logins = LoginFile("", {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert logins.keep("r.test", "bob", "pw") == f"{tmp_path}/containers/auth.json"


# By the program ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["basic", "token"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DockerRegistry]:
    pytest.importorskip("urllib3", reason="needs urllib3")
    directory = tmp_path / "registry"
    directory.mkdir()
    tokens = TokenServer(directory) if request.param == "token" else None
    running = DockerRegistry(directory, tokens.configuration if tokens else htpasswd(directory))
    yield running
    running.stop()
    if tokens:
        tokens.stop()


@pytest.mark.needs("docker-registry", "loopback")
def test_only_what_the_registry_takes_is_kept(registry: DockerRegistry, file: Path, runjail: Runjail) -> None:
    """A wrong password changes nothing; texts are podman's."""
    there = ("--authfile", str(file), registry.host)

    def run(*words: str, password: str = "") -> tuple[int, str, str]:
        found = runjail("image", *words, *there, stdin=password)
        return found.returncode, found.stdout, found.stderr.strip()

    login = ("login", "-u", USER, "--password-stdin")
    wrong = f"runjail: logging into {registry.host}: invalid username/password"
    assert run(*login, password="no\n") == (1, "", wrong)
    assert json.loads(file.read_text(encoding="utf-8")) == KEPT
    assert run(*login, password=f"{PASSWORD}\n") == (0, "Login Succeeded!\n", "")
    assert run("login", "--get-login") == (0, f"{USER}\n", "")
    assert run("logout") == (0, f"Removed login credentials for {registry.host}\n", "")
    assert run("login", "--get-login") == (1, "", f"runjail: not logged into {registry.host}")
    assert run("logout") == (1, "", f"runjail: not logged into {registry.host}")
