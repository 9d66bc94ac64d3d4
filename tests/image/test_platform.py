"""Platforms, and which image of an index fits."""

import os
from pathlib import Path

import pytest

from runjail.errors import ImageError, UsageError
from runjail.image import media_types
from runjail.image import platform as platforms
from runjail.image.content.layout import LayoutDirectory
from runjail.image.model import Descriptor, Index, Platform
from tests.support.image.images import FREEBSD, LINUX, Layout

DIGEST = "sha256:" + "0" * 62


def entry(number: int, text: str, **more: str) -> Descriptor:
    """Return an entry of an index, with a digest of its own."""
    system, architecture, variant = ([*text.split("/"), "", ""])[:3]
    said = Platform(system, architecture, variant, **more)
    return Descriptor(media_types.OCI_MANIFEST, f"{DIGEST}{number:02d}", 1, {}, said)


def unread(descriptor: Descriptor) -> bytes:
    raise AssertionError(f"{descriptor.digest} need not be read")


def pick(entries: list[Descriptor], *wanted: str, version: str = "") -> int:
    """Return the number of the chosen entry."""
    asked = [platforms.parse(text).replace(os_version=version) for text in wanted]
    return int(platforms.select(Index(tuple(entries)), asked, unread).digest[-2:])


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("linux/x86_64", "linux/amd64"), ("FreeBSD/AMD64", "freebsd/amd64"), ("linux/x86-64/v1", "linux/amd64"),
        ("linux/amd64/v2", "linux/amd64/v2"), ("freebsd/aarch64", "freebsd/arm64"), ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v8.0", "linux/arm64"), ("linux/arm64/v9", "linux/arm64/v9"), ("linux/i386", "linux/386"),
        ("linux/armhf", "linux/arm/v7"), ("linux/armel", "linux/arm/v6"), ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"), ("freebsd/armv7", "freebsd/arm/v7"), ("freebsd/riscv64", "freebsd/riscv64"),
        ("freebsd/powerpc64le", "freebsd/ppc64le"),
    ],
)  # fmt: skip
def test_names_are_normalised(said: str, meant: str) -> None:
    if "v8.0" in said:
        assert platforms.describe(platforms.normalise(Platform("linux", "arm64", "v8.0"))) == meant
    else:
        assert platforms.describe(platforms.parse(said)) == meant


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd 64", "*/amd64", "linux/../x"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        platforms.parse(text)


def test_this_machine_has_a_platform() -> None:
    here = platforms.host()

    assert here.os == os.uname().sysname.lower()
    assert here.os_version == os.uname().release
    assert here.architecture != "x86_64"


@pytest.mark.parametrize(
    ("machine", "expected"), [("amd64", "amd64"), ("arm64", "arm64"), ("arm", "arm/v7"), ("riscv", "riscv64")]
)
def test_machines_of_freebsd(machine: str, expected: str) -> None:
    """`uname -m` there names less than `uname -p`."""
    system = os.uname_result(("FreeBSD", "h", "15.1-RELEASE", "FreeBSD 15.1", machine))

    assert platforms.describe(platforms.host(system)) == f"freebsd/{expected}"


def test_freebsd_takes_its_own_images_first_then_linux_ones() -> None:
    wanted = platforms.accepted(Platform("freebsd", "amd64", os_version="15.1-RELEASE"))
    both = Index((entry(1, "linux/amd64"), entry(2, "freebsd/amd64")))
    linux_only = Index((entry(3, "linux/arm64"), entry(4, "linux/amd64")))

    assert platforms.select(both, wanted, unread).digest.endswith("02")
    assert platforms.select(linux_only, wanted, unread).digest.endswith("04")
    assert [platforms.describe(one) for one in platforms.accepted(LINUX)] == ["linux/amd64"]


def test_of_several_that_match_the_first_wins() -> None:
    assert pick([entry(1, "linux/arm64"), entry(2, "linux/amd64"), entry(3, "linux/amd64")], "linux/amd64") == 2


def test_the_highest_variant_that_the_machine_has_wins() -> None:
    arms = [entry(1, "linux/arm/v6"), entry(2, "linux/arm/v7"), entry(3, "linux/arm/v8")]

    assert pick(arms, "linux/arm") == 2
    assert pick(arms, "linux/arm/v6") == 1
    assert (
        pick([entry(1, "linux/amd64"), entry(2, "linux/amd64/v3"), entry(3, "linux/amd64/v2")], "linux/amd64/v2") == 3
    )
    assert pick([entry(1, "linux/amd64/v3"), entry(2, "linux/amd64")], "linux/amd64") == 2


@pytest.mark.parametrize(
    ("offered", "fits"),
    [
        *(("", True), ("15.0", True), ("15.1", True), ("15.2", False), ("16.0", False), ("14.9", True), ("16", False)),
        *(("15.0-RELEASE-p3", True), ("16.0-CURRENT", False), ("rolling", True), ("9" * 5000, True)),
    ],
)
def test_a_userland_newer_than_the_kernel_does_not_fit_freebsd(offered: str, fits: bool) -> None:
    host = Platform("freebsd", "amd64", os_version="15.1-RELEASE-p2")

    assert platforms.fits(FREEBSD.replace(os_version=offered), host) is fits
    assert platforms.fits(LINUX.replace(os_version=offered), LINUX.replace(os_version="5.4")), "not a rule for Linux"


def test_features_that_the_host_lacks_do_not_fit() -> None:
    assert not platforms.fits(LINUX.replace(os_features=("magic",)), LINUX)
    assert platforms.fits(LINUX, LINUX.replace(os_features=("magic",)))


def test_attestations_and_other_things_are_no_images() -> None:
    other = entry(2, "linux/amd64").replace(media_type="application/vnd.example")

    assert pick([entry(1, "unknown/unknown"), other, entry(3, "linux/amd64")], "linux/amd64") == 3


def test_without_a_fitting_image_the_error_lists_what_there_is() -> None:
    entries = [entry(1, "linux/arm64"), entry(2, "windows/amd64"), entry(3, "unknown/unknown")]

    with pytest.raises(ImageError, match=r"no image for freebsd/amd64 or linux/amd64 .* linux/arm64, windows/amd64$"):
        pick(entries, "freebsd/amd64", "linux/amd64")


def test_an_entry_without_platform_is_known_by_its_config(tmp_path: Path) -> None:
    """FreeBSD's own images say nothing in the index."""
    layout = Layout(tmp_path / "layout")
    linux = layout.image(None, said=False)
    freebsd = layout.image(None, platform=FREEBSD, said=False)
    read = LayoutDirectory(str(layout.path)).read

    assert platforms.select(Index((linux, freebsd)), [FREEBSD], read).digest == freebsd.digest


def test_nested_indexes_are_looked_through_to_a_depth(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    wanted = layout.image(None, platform=FREEBSD)
    inner = layout.index(None, [layout.image(None), wanted])
    outer = layout.index(None, [inner, inner])
    blobs = LayoutDirectory(str(layout.path))

    assert platforms.choose(blobs.read, outer, [FREEBSD]).digest == wanted.digest
    assert platforms.choose(blobs.read, wanted, [LINUX]).digest == wanted.digest, "a manifest is what it is"
    for _ in range(8):
        outer = layout.index(None, [outer] * 300)
    with pytest.raises(ImageError, match="no image"):
        platforms.choose(blobs.read, outer, [FREEBSD])
