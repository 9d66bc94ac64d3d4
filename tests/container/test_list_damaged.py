"""`list` shows what is there: also containers whose facts cannot be read, and names that would steer a terminal."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runjail.host.base import HostState
from tests.support.program import Runjail


@pytest.mark.parametrize("damage", ["not json", "emptied", "gone"])
def test_a_damaged_container_is_listed(runjail: Runjail, damage: str) -> None:
    """runc names it on standard error alone; who looks for what is left needs it in the list, and how to remove it."""
    place = runjail.root / "web"
    place.mkdir(parents=True, mode=0o700)
    (place / "undo").write_text("")
    facts = place / "state.json"
    if damage != "gone":
        facts.write_text("{broken" if damage == "not json" else "")

    result = runjail.ok("list")

    assert result.stdout.splitlines()[1].split()[:3] == ["web", "0", "damaged"]
    assert "state of web is damaged" in result.stderr
    listed = json.loads(runjail.ok("list", "-f", "json").stdout)
    assert [(row["id"], row["status"], row["pid"]) for row in listed] == [("web", "damaged", 0)]
    assert runjail.ok("list", "-q").stdout == "web\n"
    runjail.ok("delete", "--force", "web")
    assert len(runjail.ok("list").stdout.splitlines()) == 1


def test_control_characters_are_spelled_out(runjail: Runjail, tmp_path: Path) -> None:
    """A bundle's path is anybody's text: it must not move the cursor or fake a row."""
    evil = f"{tmp_path}/\x1b[2Ja\nfake 1 running"
    host_state = HostState("web", "", str(runjail.root / "web"), "", "")
    facts: dict[str, Any] = {"bundle": evil, "boot": "another", "creator": None, "box": host_state.to_data()}
    facts |= {"created": "2026-01-01T00:00:00Z", "owner": str(os.getuid()), "ociVersion": "1.3.0"}
    (runjail.root / "web").mkdir(parents=True, mode=0o700)
    (runjail.root / "web" / "state.json").write_text(json.dumps(facts | {"annotations": {}, "hooks": {}}))

    shown = runjail.ok("list").stdout

    assert "\x1b" not in shown
    assert [line.split()[0] for line in shown.splitlines()] == ["ID", "web"]
    assert json.loads(runjail.ok("list", "-f", "json").stdout)[0]["bundle"] == evil
