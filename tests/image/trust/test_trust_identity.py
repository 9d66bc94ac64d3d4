"""signedIdentity: which signed name stands for which image. The table is that of containers-policy.json(5)."""

from typing import Any

import pytest

from runjail.image.trust.identity import matches
from runjail.image.trust.origin import Origin

DIGEST = "sha256:" + "a" * 64
REMAP = {"type": "remapIdentity", "prefix": "mirror.test/a", "signedPrefix": "r.test"}


@pytest.mark.parametrize(
    ("identity", "image", "signed", "expected"),
    [
        ("matchExact", "r.test/web:1", "r.test/web:1", True),
        ("matchExact", "r.test/web:1", "r.test/web:2", False),
        ("matchExact", "r.test/web:1", "r.test/web", False),
        ("matchExact", f"r.test/web@{DIGEST}", "r.test/web:1", False),
        ("matchExact", f"r.test/web@{DIGEST}", f"r.test/web@{DIGEST}", True),
        ("matchExact", "docker.io/library/web:1", "web:1", True),
        ("matchRepoDigestOrExact", "r.test/web:1", "r.test/web:1", True),
        ("matchRepoDigestOrExact", "r.test/web:1", "r.test/web:2", False),
        ("matchRepoDigestOrExact", "r.test/web:1", "r.test/web", False),
        ("matchRepoDigestOrExact", f"r.test/web@{DIGEST}", "r.test/web:2", True),
        ("matchRepoDigestOrExact", f"r.test/web@{DIGEST}", "r.test/other:2", False),
        ("matchRepoDigestOrExact", f"r.test/web@{DIGEST}", "r.test/web", False),
        ("matchRepository", "r.test/web:1", "r.test/web:2", True),
        ("matchRepository", "r.test/web:1", "r.test/web", True),
        ("matchRepository", "r.test/web:1", "r.test/web/more:1", False),
        ("matchRepository", "r.test/web:1", "", False),
        ("matchRepository", "r.test/web:1", "not a name", False),
        ({"type": "exactReference", "dockerReference": "r.test/b:1"}, "r.test/web:1", "r.test/b:1", True),
        ({"type": "exactReference", "dockerReference": "r.test/b:1"}, "r.test/b:2", "r.test/b:2", False),
        ({"type": "exactReference", "dockerReference": "b:1"}, "r.test/web:1", "docker.io/library/b:1", True),
        ({"type": "exactRepository", "dockerRepository": "r.test/b"}, "r.test/web:1", "r.test/b:7", True),
        ({"type": "exactRepository", "dockerRepository": "r.test/b"}, "r.test/web:1", "r.test/web:1", False),
        (REMAP, "mirror.test/a/web:1", "r.test/web:1", True),
        (REMAP, "mirror.test/a/web:1", "mirror.test/a/web:1", False),
        (REMAP, "mirror.test/ab/web:1", "mirror.test/ab/web:1", True),
        (REMAP, "mirror.test/a/web:1", "r.test/web:2", False),
        (REMAP, f"mirror.test/a/web@{DIGEST}", "r.test/web:2", True),
        (REMAP, "other.test/web:1", "other.test/web:1", True),
    ],
)
def test_names(identity: Any, image: str, signed: str, expected: bool) -> None:
    rule = {"type": identity} if isinstance(identity, str) else identity

    assert matches(rule, Origin("docker", image), signed) is expected


def test_what_is_in_no_registry_has_no_name() -> None:
    """Only rules that say the name themselves can be met."""
    assert not matches({"type": "matchRepository"}, Origin("oci", "/srv/web"), "r.test/web:1")
    assert matches({"type": "exactRepository", "dockerRepository": "r.test/web"}, Origin("oci", "/srv"), "r.test/web:1")
