"""Documents of benches: what a later run says of an older one."""

import json
from pathlib import Path

from tests.bench.results import changes, document

OLD = {"state": {"runjail": [20.0, 30.0, 10.0], "runc": [10.0, 10.0, 10.0]}, "gone": {"runjail": [1.0]}}
NOW = {"state": {"runjail": [15.0, 14.0, 40.0], "runc": [5.0, 6.0, 4.0]}, "new": {"runjail": [1.0]}}


def test_a_document_has_medians_and_the_machine() -> None:
    made = document(OLD, 3)

    assert made["rows"]["state"] == {"runjail": {"min": 10.0, "median": 20.0}, "runc": {"min": 10.0, "median": 10.0}}
    assert made["rounds"] == 3
    assert {"processor", "system", "python", "load"} <= set(made["machine"])


def test_a_comparison_says_what_was(tmp_path: Path) -> None:
    """Of rows that both have, and beside the peer of each run: the machine may have been busier."""
    (tmp_path / "old.json").write_text(json.dumps(document(OLD, 3)), encoding="utf-8")

    (line,) = changes(NOW, str(tmp_path / "old.json"))

    assert line.split() == "state was 20.0 ms: 0.75 of it; was 2.00 of runc's, is 3.00".split()


def test_a_runtime_that_was_not_there_is_compared_with_nobody(tmp_path: Path) -> None:
    alone = {"state": {"runjail": [20.0]}}
    (tmp_path / "old.json").write_text(json.dumps(document(alone, 1)), encoding="utf-8")

    assert [line.split()[-3:] for line in changes(NOW, str(tmp_path / "old.json"))] == [["0.75", "of", "it"]]
