"""Reading and writing DER."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.errors import Corrupt
from runjail.image.crypto import der


@given(st.integers(min_value=0, max_value=1 << 2100))
def test_integers(value: int) -> None:
    assert der.read(der.integer(value)).number() == value


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_lengths(size: int) -> None:
    element = der.read(der.write(der.OCTETS, b"x" * size) + b"more")

    assert element.expect(der.OCTETS) == b"x" * size
    assert len(element.whole) == size + 2 + (0 if size < 128 else (size.bit_length() + 7) // 8)


def test_identifiers() -> None:
    assert der.identifier("1.2.840.113549.1.7.3").hex() == "2a864886f70d010703"
    assert der.identifier("2.16.840.1.101.3.4.1.6").hex() == "608648016503040106"


@pytest.mark.parametrize(
    "data", ["", "30", "3080", "30850000000001", "3f0100", "3002", "0482", "300102", "04840fffffff"], ids=repr
)
def test_elements_that_are_not_whole(data: str) -> None:
    """Long tags, indefinite lengths, and lengths beyond the end."""
    with pytest.raises(Corrupt, match="DER: "):
        der.read(bytes.fromhex(data)).children(der.SEQUENCE)


def test_what_does_not_belong() -> None:
    with pytest.raises(Corrupt, match="tag 0x04 where 0x30 belongs"):
        der.read(der.write(der.OCTETS)).children(der.SEQUENCE)
    with pytest.raises(Corrupt, match="1 elements where 2 belong"):
        der.read(der.write(der.SEQUENCE, der.integer(1))).children(der.SEQUENCE, 2)
    with pytest.raises(Corrupt, match="more than 1024 elements"):
        der.read_all(b"\x05\x00" * 1025)
