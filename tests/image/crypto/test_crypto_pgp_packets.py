"""OpenPGP's packets: keyrings are told from other files, and every way to write a length is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.image.crypto import pgp, pgp_packets
from runjail.image.crypto.options import SchemeError

needs_gpg = pytest.mark.needs("gpg")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"0\x82\x01\x00", b"-----BEGIN PRIVATE KEY-----\n", b"\x99", b"\xc6\xff"]
)
def test_other_files_are_no_keyrings(content: bytes) -> None:
    assert not pgp.is_secret_keyring(content)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    if pgp.is_secret_keyring(data):
        assert data[:1] in (b"\x94", b"\x95", b"\x96", b"\x97", b"\xc5") or pgp_packets.SECRET_ARMOR in data
    try:
        found = pgp.recipients(data)
    except SchemeError:
        return
    assert all(name.startswith("0x") for name in found)


@pytest.mark.parametrize("encoded", ["c105", "c1ff00000005", "8405", "850005", "8600000005"])
def test_every_way_to_write_a_length_is_read(encoded: str) -> None:
    """RFC 4880, 4.2: new format with one and five bytes, old format with one, two and four."""
    data = bytes.fromhex(encoded) + b"12345"

    assert list(pgp_packets.packets(data)) == [(1, b"12345")]


def test_parts_of_a_body_are_put_together() -> None:
    """RFC 4880, 4.2.2.4, with a final length of two bytes; and the old format's length up to the end."""
    parts = bytes.fromhex("d2e9") + b"a" * 512 + bytes.fromhex("c010") + b"b" * 208
    old = bytes.fromhex("a7") + b"rest"

    assert list(pgp_packets.packets(parts + old)) == [(18, b"a" * 512 + b"b" * 208), (9, b"rest")]
