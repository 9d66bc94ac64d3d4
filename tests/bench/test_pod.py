"""The bench of pods: which goals are met by what was measured."""

import pytest

from tests.bench.pod import IDLE, REMOVAL, START, report


def rows(start: float, idle: float) -> dict[str, dict[str, list[float]]]:
    """Return measurements beside a peer that takes 100 of everything."""
    return {
        what: {"runjail": [value], "runc": [100.0]} for what, value in ((START, start), (REMOVAL, 50.0), (IDLE, idle))
    }


@pytest.mark.parametrize(("start", "idle", "words"), [(70.0, 99.0, ["pass", "pass"]), (71.0, 101.0, ["MISS", "MISS"])])
def test_goals_are_judged(start: float, idle: float, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    report(rows(start, idle), [])

    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if ": " in line] == words


@pytest.mark.parametrize(("last", "word"), [(11.9, "pass"), (12.1, "MISS"), (7.9, "MISS")])
def test_a_shim_that_grows_is_no_flat_one(last: float, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    report(rows(1.0, 1.0), [(0, 8.0, 13), (50, 10.0, 13), (100, last, 13)])

    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{word}: its memory")
