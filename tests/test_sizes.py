"""Numbers, sizes and durations in texts: within bounds or none at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.sizes import MOST, read_descriptor, read_duration, read_number, read_size, show_size


@given(st.integers(-20, 20))
def test_numbers_are_read_within_their_bounds(number: int) -> None:
    assert read_number(str(number), 12, -7) == (number if -7 <= number <= 12 else None)


@pytest.mark.parametrize("text", ["", "-", "--1", "+1", " 1", "1_0", "1.0", "0x1", "²", "\u0661", "007", "9" * 5000])
def test_what_is_no_number_up_to_ten(text: str) -> None:
    """Other scripts' digits, signs and blanks, what int() takes besides, and more digits than the bound has."""
    assert read_number(text, 10, -1) is None


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("64k", 1 << 16), ("1G", 1 << 30), ("2t", 2 << 40), ("1p", 1 << 50), (str(MOST), MOST)],
)
def test_sizes(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["64kb", "1GiB", "5b", "1 g", "g", "", "-1", "9000p", "8388608t"])
def test_what_the_kernel_reads_otherwise_is_no_size(text: str) -> None:
    assert read_size(text) is None


@pytest.mark.parametrize(("text", "size"), [("64kB", 1 << 16), ("1GiB", 1 << 30), ("5b", 5), ("5", 5), ("2m", 2 << 20)])
def test_sizes_in_words(text: str, size: int) -> None:
    assert read_size(text, words=True) == size


@given(st.text("0123456789kmgtpib-", max_size=24))
def test_any_size_fits(text: str) -> None:
    found = read_size(text, least=-1, words=True)

    assert found is None or -1 <= found <= MOST


def test_durations() -> None:
    assert [read_duration(text) for text in ("1m30s", "100ms", "1h", "", "5", "1y", "5 s")] == [
        *(90.0, pytest.approx(0.1), 3600.0),
        *(None, None, None, None),
    ]


def test_descriptors() -> None:
    assert [read_descriptor(text) for text in ("0", "999999", "1000000", "-1", "x")] == [0, 999_999, None, None, None]


def test_sizes_are_shown_in_powers_of_a_thousand() -> None:
    assert [show_size(count) for count in (0, 999, 1500, 99_960, 3e12)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "100 kB",
        "3.0 TB",
    ]
