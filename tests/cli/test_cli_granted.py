"""What annotations ask for beyond the specification is given when the settings say so, and only then."""

import json
import os
from pathlib import Path

import pytest

from tests.support.program import Bundle, Runjail

KEY = "org.freebsd.jail.allow.read_msgbuf"


@pytest.fixture
def asking(tmp_path: Path) -> str:
    """Return a bundle that asks for something beyond the specification."""
    document = {
        "ociVersion": "1.3.0",
        "process": {"args": ["x"], "cwd": "/"},
        "root": {"path": "r"},
        "annotations": {KEY: "true"},
    }
    (tmp_path / "config.json").write_text(json.dumps(document))
    return str(tmp_path)


def settings(tmp_path: Path, *allowed_params: str) -> dict[str, str]:
    """Return the environment that names settings which grant these."""
    path = tmp_path / "runjail.toml"
    path.write_text(f"[jail]\nallow = {json.dumps(allowed_params)}\n")
    return {"RUNJAIL_CONFIG": str(path)}


@pytest.mark.parametrize("verb", ["plan", "validate"])
def test_what_is_not_granted_names_the_annotation_the_file_and_the_key(
    runjail: Runjail, tmp_path: Path, asking: str, verb: str
) -> None:
    env = settings(tmp_path, "allow.settime")
    result = runjail(verb, "-b", asking, "--os", "freebsd", env=env)

    assert result.returncode == 1
    assert result.stderr.removeprefix("runjail: ").removeprefix("invalid config.json: ") == (
        f'annotations["{KEY}"]: needs "allow.read_msgbuf" in the list allow of [jail] in {env["RUNJAIL_CONFIG"]}\n'
    )


@pytest.mark.skipif(os.path.exists("/usr/local/etc/runjail.toml"), reason="this machine has settings")
def test_without_settings_the_error_says_where_they_would_be(runjail: Runjail, asking: str) -> None:
    assert "in /usr/local/etc/runjail.toml" in runjail("validate", "-b", asking, "--os", "freebsd").stderr


def test_what_is_granted_becomes_a_parameter(runjail: Runjail, tmp_path: Path, asking: str) -> None:
    env = settings(tmp_path, "allow.read_msgbuf")

    assert "    allow.read_msgbuf;\n" in runjail.ok("plan", "-b", asking, "--os", "freebsd", env=env).stdout
    assert "is valid" in runjail.ok("validate", "-b", asking, "--os", "freebsd", env=env).stdout


def test_linux_has_no_such_permissions(runjail: Runjail, asking: str) -> None:
    runjail.ok("validate", "-b", asking, "--os", "linux")


def test_settings_are_read_only_where_they_decide(runjail: Runjail, tmp_path: Path, asking: str) -> None:
    """A mistake in them is no reason to refuse a container that asks for nothing."""
    (tmp_path / "bad.toml").write_text("[jail]\nallow = 5\n")
    env = {"RUNJAIL_CONFIG": str(tmp_path / "bad.toml")}
    assert (
        "line 2 column 1: jail.allow must be a list of texts"
        in runjail("validate", "-b", asking, "--os", "freebsd", env=env).stderr
    )
    document = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(document | {"annotations": {}}))

    runjail.ok("validate", "-b", asking, "--os", "freebsd", env=env)


@pytest.mark.freebsd
def test_create_asks_as_well_and_leaves_nothing(runjail: Runjail, tmp_path: Path, bundle: Bundle) -> None:
    bundle.config["annotations"] = {KEY: "true"}
    path = bundle.write()
    result = runjail("create", "-b", path, "c", env=settings(tmp_path))

    assert (result.returncode, runjail.ids()) == (1, [])
    assert f'annotations["{KEY}"]: needs "allow.read_msgbuf"' in result.stderr
    runjail.ok("create", "-b", path, "c", env=settings(tmp_path, "allow.read_msgbuf"))
