"""Numbers, sizes and durations in texts: read within bounds, and sizes written for people.

Readers return None for a text that has not the form, so that the caller's error can name the option or file it is from.
"""

from __future__ import annotations

MOST = 2**63 - 1  # what off_t holds
POWERS = "kmgtp"  # of 1024
DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
UNITS = ("B", "kB", "MB", "GB", "TB")


def read_number(text: str, most: int = MOST, least: int = 0) -> int | None:
    """Return a whole number in ASCII digits, with a minus where `least` has one; None outside of the bounds.

    No more digits than the larger bound has: `007` is not a number up to 10.
    """
    digits = text.removeprefix("-") if least < 0 else text
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > len(str(max(most, -least))):
        return None
    number = int(text)
    return number if least <= number <= most else None


def read_descriptor(text: str) -> int | None:
    """Return the number of an open file, as it may stand in /dev/fd/N."""
    return read_number(text, 999_999)


def read_size(text: str, most: int = MOST, least: int = 0, *, words: bool = False) -> int | None:
    """Return the bytes meant by `4096`, `64k`, `512M` or `1g`, and a negative number where `least` is one.

    words: also what people write, `64kB`, `1GiB` and `5b`. Units are powers of 1024.
    """
    number = text.lower()
    if words:
        number = number.removesuffix("b").removesuffix("i")
    power = POWERS.find(number[-1]) + 1 if number else 0
    count = read_number(number[:-1] if power else number, most, least)
    if count is None or not least <= count << 10 * power <= most:
        return None
    return count << 10 * power


def read_duration(text: str) -> float | None:
    """Return the seconds of a duration as Go writes it: `5s`, `1m30s`, `100ms`."""
    seconds, rest = 0.0, text
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        number, rest = rest[:digits], rest[digits:]
        unit = "ms" if rest.startswith("ms") else rest[:1]
        try:
            seconds += float(number) * DURATIONS[unit]
        except (ValueError, KeyError):
            return None
        rest = rest[len(unit) :]
    return seconds if text else None


def show_size(count: float) -> str:
    """Return a number of bytes for people, in powers of a thousand: `1.5 MB`."""
    unit = 0
    while count >= 999.5 and unit < len(UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.0f} {UNITS[unit]}" if unit == 0 or count >= 99.95 else f"{count:.1f} {UNITS[unit]}"
