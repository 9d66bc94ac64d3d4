"""policy.json: what it says of which image, and what makes all of it invalid."""

import json
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import ImageError, InvalidConfig
from runjail.image.reference import parse
from runjail.image.trust import policy as policies
from runjail.image.trust.origin import Origin, origin_of, resolved
from tests.support.image.policies import ACCEPT, INVALID, REJECT


def scopes(name: str) -> list[str]:
    """Return the scopes of an image of a registry, narrowest first."""
    return list(origin_of(parse(name)).scopes())


def test_scopes_of_a_registry() -> None:
    """In the order of containers-policy.json(5): image, repository, what that is in, host, domains."""
    expected = ["r.example.org:5000/a/b:1", "r.example.org:5000/a/b", "r.example.org:5000/a", "r.example.org:5000"]

    assert scopes("r.example.org:5000/a/b:1") == [*expected, "*.example.org", "*.org"]
    assert scopes("web")[:3] == ["docker.io/library/web:latest", "docker.io/library/web", "docker.io/library"]
    assert scopes("localhost:5000/web")[:3] == ["localhost:5000/web:latest", "localhost:5000/web", "localhost:5000"]


def test_a_tag_beside_a_digest_does_not_count() -> None:
    digest = "sha256:" + "a" * 64

    assert scopes(f"r.test/web:1@{digest}")[:2] == [f"r.test/web@{digest}", "r.test/web"]


def test_scopes_of_a_path(tmp_path: Path) -> None:
    """Of what the path leads to, up to the root, which is the transport's own."""
    (tmp_path / "link").symlink_to(tmp_path)
    found = list(origin_of(resolved(parse(f"oci:{tmp_path}/link/layout:1"))).scopes())

    assert found[:2] == [f"{tmp_path}/layout", str(tmp_path)]
    assert found[-1].count("/") == 1
    assert list(origin_of(parse(f"docker-archive:{tmp_path}/a.tar")).scopes()) == [""]


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("docker://r.test/a/web:1", "place 1"),
        ("docker://r.test/a/web:2", "place 2"),
        ("docker://r.test/a/other:1", "place 3"),
        ("docker://r.test/b:1", "place 4"),
        ("docker://sub.r.test/b:1", "place 5"),
        ("docker://elsewhere.example/b:1", "place 6"),
        ("oci:/srv/a:1", "default"),
    ],
)
def test_the_narrowest_scope_counts(image: str, kind: str) -> None:
    """And nothing else of what holds the image."""
    places = ["r.test/a/web:1", "r.test/a/web", "r.test/a", "r.test", "*.r.test", ""]
    transports = {"docker": dict.fromkeys(places, REJECT), "oci": {"/srv/b": REJECT}}
    policy = policies.parse(json.dumps({"default": ACCEPT, "transports": transports}).encode(), "p")

    (found,) = policy.requirements(origin_of(parse(image)))

    expected = {"default": "default[0]"} | {
        f"place {number}": f'transports.docker["{place}"][0]' for number, place in enumerate(places, 1)
    }
    assert found.place == expected[kind]


@pytest.mark.parametrize(("document", "problem"), INVALID)
def test_an_invalid_policy_names_its_mistake(document: Any, problem: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        policies.parse(json.dumps(document).encode(), "/etc/p.json")

    assert str(caught.value).startswith(f"invalid /etc/p.json: {problem}")


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(InvalidConfig) as caught:
        policies.parse(json.dumps({"default": [{}], "transports": {"x": 1}}).encode(), "p")

    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '{"default": [{"type": "reject"}], "default": [{"type": "insecureAcceptAnything"}]}',
            "default: is there twice",
        ),
        ('{"default": [{"type": "reject", "type": "insecureAcceptAnything"}]}', "type: is there twice"),
        ("{", "not JSON"),
        ("\udcff", "not JSON"),
    ],
)
def test_what_can_be_read_in_two_ways_is_no_policy(text: str, problem: str) -> None:
    with pytest.raises(InvalidConfig, match=problem):
        policies.parse(text.encode("utf-8", "surrogateescape"), "p")


def test_where_a_policy_is_looked_for(tmp_path: Path) -> None:
    """What was named, the user's own, the system's; one that is there and cannot be read is not passed over."""
    system, home = tmp_path / "system.json", tmp_path / "home"
    own = home / ".config/containers/policy.json"

    assert policies.find("named", str(home), (str(system),)) == "named"
    assert policies.find("", str(home), (str(system),)) == ""
    system.write_text("{}", encoding="utf-8")
    assert policies.find("", str(home), (str(system),)) == str(system)
    own.parent.mkdir(parents=True)
    own.symlink_to("nowhere")
    assert policies.find("", str(home), (str(system),)) == str(own)
    assert policies.find("", "", (str(system),)) == str(system)
    with pytest.raises(ImageError, match="cannot look for"):
        policies.find("", "", (f"{tmp_path}/{'x' * 300}",))


def test_a_policy_that_accepts_all() -> None:
    accepting = {"default": ACCEPT, "transports": {"docker": {"a": ACCEPT}}}

    assert policies.parse(json.dumps(accepting).encode(), "p").accepts_all
    assert not policies.parse(
        json.dumps({"default": ACCEPT, "transports": {"docker": {"a": REJECT}}}).encode(), "p"
    ).accepts_all
    assert Origin("docker", "r.test/a:1").made is False
