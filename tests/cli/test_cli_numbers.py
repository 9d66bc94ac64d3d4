"""Signals, durations, sizes, ids: what people write as numbers, bounded and checked."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.cli.args import number, size
from runjail.cli.verbs.events import interval
from runjail.container.container import check_id
from runjail.container.kill import signal_number
from runjail.errors import UsageError


@pytest.mark.parametrize("found", list(signal.Signals), ids=str)
def test_every_signal_by_every_name(found: signal.Signals) -> None:
    """With SIG and without, in any case, by number."""
    short = found.name.removeprefix("SIG")
    for text in (str(found.value), found.name, short, found.name.lower(), short.lower(), short.capitalize()):
        assert signal_number(text) == found.value


def test_real_time_signals() -> None:
    """systemd in a container stops at RTMIN+3."""
    if hasattr(signal, "SIGRTMIN"):
        assert signal_number("RTMIN+3") == signal.SIGRTMIN + 3
        assert signal_number("SIGRTMIN") == signal.SIGRTMIN
    with pytest.raises(UsageError):
        signal_number("RTMIN+500")


@given(st.one_of(st.text(max_size=8), st.integers().map(str), st.text("0123456789SIGRTMINKILL+-_ ", max_size=12)))
def test_any_signal_is_known_or_refused(text: str) -> None:
    try:
        assert 0 <= signal_number(text) < signal.NSIG
    except UsageError as error:
        assert str(error).startswith("unknown signal ")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("100ms", 0.1), ("1m30s", 90), ("1h", 3600), ("1.5s", 1.5), ("24h", 86400), (".5s", 0.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert interval(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "0s", "5", "s", "-1s", "25h", "1x", "5 s", "1..5s", "inf", "nans", "9" * 400 + "s", "²s"]
)
def test_durations_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError):
        interval(text)


@given(st.one_of(st.text(max_size=10), st.text("0123456789.hms", max_size=10)))
def test_any_duration_is_bounded(text: str) -> None:
    try:
        assert 0 < interval(text) <= 86400
    except UsageError:
        pass


@pytest.mark.parametrize(
    ("text", "expected"), [("64m", 64 << 20), ("-1", -1), ("0", 0), ("1K", 1024), ("2g", 2 << 30), ("7b", 7)]
)
def test_sizes(text: str, expected: int) -> None:
    assert size(text, "--memory") == expected


@pytest.mark.parametrize(
    "text", ["", "m", "-2", "-1k", "1.5g", "0x10", "9" * 21, "9223372036854775808", "8589934592g", "²", "1 "]
)
def test_sizes_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match="--memory: not a size"):
        size(text, "--memory")


@given(st.text(max_size=30))
def test_any_size_fits_the_kernel(text: str) -> None:
    try:
        assert -1 <= size(text, "--memory") < 2**63
    except UsageError:
        pass


@given(st.one_of(st.text(max_size=30), st.integers().map(str)), st.integers(0, 2**32))
def test_any_number_is_in_its_range(text: str, most: int) -> None:
    try:
        assert 0 <= number(text, "--user", most) <= most
    except UsageError:
        pass


@given(st.text(max_size=300))
def test_any_id_that_passes_is_a_plain_name(text: str) -> None:
    """It names a directory below the root and nothing else."""
    try:
        assert check_id(text) == text
    except UsageError as error:
        assert str(error).isprintable()
        return
    assert 1 <= len(text) <= 255
    assert "/" not in text and "\0" not in text
    assert text not in (".", "..")
    assert text.isascii() and text.isprintable() and " " not in text
