"""How images are named."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.errors import UsageError
from runjail.image import reference
from runjail.image.reference import LONGEST, Reference, parse

DIGEST = "sha256:" + "a" * 64
REGISTRY = [
    ("busybox", "docker.io", "library/busybox", "latest", ""),
    ("busybox:1.36", "docker.io", "library/busybox", "1.36", ""),
    (f"busybox@{DIGEST}", "docker.io", "library/busybox", "", DIGEST),
    ("user/app", "docker.io", "user/app", "latest", ""),
    ("docker.io/app", "docker.io", "library/app", "latest", ""),
    ("index.docker.io/library/app:1", "docker.io", "library/app", "1", ""),
    ("docker://example.org/app", "example.org", "app", "latest", ""),
    ("localhost/app", "localhost", "app", "latest", ""),
    ("localhost:5000/x", "localhost:5000", "x", "latest", ""),
    (f"127.0.0.1:5000/x:tag@{DIGEST}", "127.0.0.1:5000", "x", "tag", DIGEST),
    ("[::1]:5000/a/b/c:V1", "[::1]:5000", "a/b/c", "V1", ""),
    ("Upper/app", "Upper", "app", "latest", ""),
    ("a.b/c__d/e-f--g:_t.-", "a.b", "c__d/e-f--g", "_t.-", ""),
]
PLACES = [
    ("oci:dir", "oci", "dir", ""),
    ("oci:/a/b:tag", "oci", "/a/b", "tag"),
    ("oci-archive:FreeBSD.txz:freebsd-runtime:15.0-release-amd64", "oci-archive", "FreeBSD.txz", None),
    ("docker-archive:x.tar:busybox:latest", "docker-archive", "x.tar", "busybox:latest"),
    ("docker-archive:x.tar:@1", "docker-archive", "x.tar", "@1"),
    ("rootfs:base.txz", "rootfs", "base.txz", ""),
    ("rootfs:/a:b", "rootfs", "/a:b", ""),
]
WRONG = [
    *("", "\0", "a\0b", ":", "@", "a:", "a@", "a@sha256:12", f"a@{DIGEST}x", "a@md5:" + "0" * 32),
    *("UPPER", "a/../b", "../b", "./b", "/b", "~/b", ".", "..", "a//b", "a/", "/", "-a", "a-", "a..b", "a___b"),
    *("a:tag/x", "a:-t", "a:" + "t" * 129, "a" * (LONGEST + 1), "host_.x/a", "h:123456/a", "a b", "ä", "a\n", "a:t\n"),
    *("oci:", "oci::t", "oci:a:", "oci:a:../b", "oci:a:/etc", "oci:a:b//c", "oci:a:-", "oci:a:b c", "rootfs:"),
    *(f"oci:a:{'b' * (LONGEST + 1)}", "docker-archive:", "oci-archive:x:y\n", "oci:a\0b"),
]


@pytest.mark.parametrize(("text", "host", "repository", "tag", "digest"), REGISTRY)
def test_names_in_registries(text: str, host: str, repository: str, tag: str, digest: str) -> None:
    reference = parse(text)

    assert reference == Reference("registry", "", host, repository, tag, digest, text)
    assert parse(reference.name).replace(word=text) == reference, "the canonical text names the same"


@pytest.mark.parametrize(("text", "kind", "path", "tag"), PLACES)
def test_places(text: str, kind: str, path: str, tag: str | None) -> None:
    reference = parse(text)
    tag = "freebsd-runtime:15.0-release-amd64" if tag is None else tag

    assert (reference.kind, reference.path, reference.tag) == (kind, path, tag)
    assert reference.name == text


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_name_is_refused_on_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)

    assert "\n" not in str(caught.value)
    assert "\0" not in str(caught.value)


def test_a_path_is_told_how_to_be_named() -> None:
    with pytest.raises(UsageError) as caught:
        parse("./image.tar")

    assert "oci-archive:./image.tar" in (caught.value.hint or "")


@given(st.text(alphabet="aA0.:/@-_[]~ \n", max_size=40))
def test_names_that_parse_are_canonical_once(text: str) -> None:
    try:
        reference = parse(text)
    except UsageError:
        return
    assert parse(reference.name).replace(word=text) == reference
    assert not {".", ".."} & set(reference.repository.split("/")), "nothing climbs in a URL"


COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
WORD = r"[A-Za-z0-9]+(?:(?:--|[-._:@+])[A-Za-z0-9]+)*"
PATTERNS = {  # of the specifications
    reference.is_repository: rf"{COMPONENT}(?:/{COMPONENT})*",
    reference.is_host: rf"(?:{LABEL}(?:\.{LABEL})*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?",
    reference.is_digits: r"[0-9a-f]{12,128}",
    reference._is_tag: r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}",
    reference._is_position: r"@[0-9]{1,4}",
    reference._is_inside: rf"{WORD}(?:/{WORD})*",
}


@pytest.mark.parametrize("rule", PATTERNS, ids=lambda rule: rule.__name__)
@given(text=st.one_of(st.text("aZ09._-:@+/[]\n²A", max_size=12), st.text("0af", min_size=10, max_size=14)))
def test_names_are_what_the_specifications_write_as_patterns(rule: Callable[[str], bool], text: str) -> None:
    assert rule(text) == bool(re.fullmatch(PATTERNS[rule], text))
