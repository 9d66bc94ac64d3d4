"""Which ids containers can have."""

import json
from pathlib import Path

import pytest

from tests.support.container.harness import Life, tree
from tests.support.program import Runjail

LONGEST = 255
BAD_IDS = ["", ".", "..", "../x", "a/b", "a" * 256, "a b", "a\nb", "ü", "*", "a:b"]
VERBS = ["create", "start", "state", "kill", "delete", "delete --force", "exec", "ps", "pause", "resume", "update"]


@pytest.mark.parametrize("verb", VERBS)
def test_ids_that_cannot_be(runjail: Runjail, tmp_path: Path, verb: str) -> None:
    """They are refused before anything is looked at, so that nothing outside the state directory is touched."""
    (tmp_path / "runjail" / "x").mkdir()
    (tmp_path / "runjail" / "x" / "precious").touch()
    (runjail.root / "other").mkdir(parents=True)
    (tmp_path / "config.json").write_text(json.dumps({"ociVersion": "1.0.0"}))
    before = tree(runjail.root), tree(tmp_path / "runjail" / "x")
    for id in BAD_IDS:
        result = runjail(*verb.split(), "--", id, *(["true"] if verb == "exec" else []), cwd=tmp_path)

        assert result.returncode == (255 if verb == "exec" else 1)
        assert result.stderr.startswith("runjail: invalid container ID format")
        assert (tree(runjail.root), tree(tmp_path / "runjail" / "x")) == before


def test_an_id_as_long_as_it_may_be(life: Life) -> None:
    """It works, also where a socket's path would be too long, as does every character that is allowed."""
    for id in ("b" * LONGEST, "1234", "a.b_c+d-e", "-"):
        life.runjail.ok("create", "-b", life.bundle.write(), "--", id)
        life.runjail.ok("start", "--", id)
        life.runjail.ok("delete", "--force", "--", id)
