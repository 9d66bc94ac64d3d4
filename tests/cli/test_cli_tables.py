"""Tables: as wide as their cells, and no wider than the terminal that they go to."""

import pytest

from runjail.cli import output
from runjail.cli.output import table

ROWS = [("ID", "IMAGE", "WHAT IT SAYS"), ("web", "registry.test/" + "a" * 60, "one two three four five")]


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(output, "terminal_columns", lambda: request.param)


@pytest.mark.parametrize("wide", [0], indirect=True)
def test_nothing_is_cut_for_programs(wide: None) -> None:
    heading, row = table(ROWS).splitlines()
    assert row == "  ".join(ROWS[1])
    assert heading.index("WHAT") == row.index("one")


@pytest.mark.parametrize("wide", [80, 60], indirect=True)
def test_the_widest_column_gives_way(wide: None) -> None:
    heading, row = table(ROWS).splitlines()
    assert len(row) == output.terminal_columns()
    assert row.endswith("…  one two three four five")
    assert heading.index("WHAT") == row.index("one")


@pytest.mark.parametrize("wide", [40], indirect=True)
def test_what_has_to_be_whole_goes_on_below(wide: None) -> None:
    lines = table(ROWS, fit=output.FOLD).splitlines()
    assert max(map(len, lines)) <= 40
    start = lines[0].index("IMAGE")
    end = lines[0].index("WHAT")
    assert "".join(line[start:end].strip() for line in lines[1:]) == ROWS[1][1]
    assert " ".join(line[end:].strip() for line in lines[1:] if line[end:].strip()) == ROWS[1][2]


@pytest.mark.parametrize("wide", [40], indirect=True)
def test_what_is_copied_stays_as_it_is(wide: None) -> None:
    assert table(ROWS, fit=output.AS_IS).splitlines()[1] == "  ".join(ROWS[1])


@pytest.mark.parametrize("wide", [5], indirect=True)
def test_columns_stay_readable(wide: None) -> None:
    """A terminal that is too narrow for any table folds lines itself."""
    assert table(ROWS).splitlines()[1] == "web  registr…  one two…"
