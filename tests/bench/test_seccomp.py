"""The bench of seccomp profiles: what a profile adds is a difference within a round, and the first one is apart."""

import pytest

from tests.bench.seccomp import Pair, report, row

ROUNDS: list[tuple[Pair, Pair]] = [((9.0, 9.0), (59.0, 99.0)), *[((10.0, 30.0 + at), (11.5, 34.0)) for at in range(3)]]


def test_a_row_is_of_differences() -> None:
    found = row(ROUNDS)

    assert found == {"without": 10.0, "cpu": 1.5, "low": 1.5, "high": 1.5, "wall": 3.0, "first": 50.0}


@pytest.mark.parametrize(("cpu", "word"), [(2.0, "met"), (2.1, "MISSED")])
def test_the_goal_is_judged(cpu: float, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {name: row(ROUNDS) | {"cpu": cpu} for name in ("runjail", "runc")}
    report({"machine": {"processor": "p", "load": "1"}, "rounds": 3, "rows": rows})
    lines = capsys.readouterr().out.splitlines()

    assert lines[-2].endswith(f"goal 2.0: {word}")
    assert "goal" not in lines[-1]
