"""policy.json: what skopeo takes for one is one, and both take the same images by it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runjail.errors import InvalidConfig, NotTrusted
from runjail.image.reference import parse
from runjail.image.trust import check
from runjail.image.trust import policy as policies
from runjail.image.trust.origin import origin_of, resolved
from runjail.image.trust.records import Arrival
from tests.support.image.images import Layout
from tests.support.image.policies import INVALID, VALID

pytestmark = pytest.mark.peers("skopeo")
OURS = "transports.dokcer: is not known"  # skopeo passes over a transport that it does not know, and so a misspelt one
NEWER = ("keyPaths", '"keyPath": ""')  # Debian 12's skopeo knows one key only, and takes a path that is empty


def verdict(document: Any, image: str) -> str:
    """Return what is done with an image in a layout: taken, refused, or the policy is invalid."""
    try:
        policy = policies.parse(json.dumps(document).encode(), "policy.json")
        check.require(policy, "sha256:" + "0" * 64, [Arrival(origin_of(resolved(parse(image))))])
    except InvalidConfig:
        return "invalid"
    except NotTrusted:
        return "refused"
    return "taken"


def theirs(directory: Path, document: Any, image: str) -> str:
    """Return what skopeo does."""
    (directory / "policy.json").write_text(json.dumps(document), encoding="utf-8")
    command = ["skopeo", "--policy", f"{directory}/policy.json", "copy", image, f"dir:{directory}/out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "Error loading trust policy: invalid policy" in done.stderr:
        return "invalid"
    assert not done.returncode or "rejected" in done.stderr, done.stderr
    return "refused" if done.returncode else "taken"


def is_newer(document: Any) -> bool:
    """Say whether a document has what not every skopeo knows."""
    return any(text in json.dumps(document) for text in NEWER)


BOTH = [document for document, problem in INVALID if problem != OURS and not is_newer(document)] + VALID


@pytest.mark.parametrize("document", BOTH)
def test_both_say_the_same(document: Any, tmp_path: Path) -> None:
    Layout(tmp_path / "layout").image("1")
    image = f"oci:{tmp_path}/layout:1"
    document = json.loads(json.dumps(document).replace("DIR", str(tmp_path)))

    assert verdict(document, image) == theirs(tmp_path, document, image)
