"""Documents of images: what is read, what is refused, and that unknown members survive."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runjail.errors import Corrupt, ImageError
from runjail.image import digest, media_types, model

DIGEST = "sha256:" + "0" * 64
LAYER = {"mediaType": media_types.OCI_LAYER, "digest": DIGEST, "size": 3}
CONFIG = {"mediaType": media_types.OCI_CONFIG, "digest": DIGEST, "size": 2}
MANIFEST: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": media_types.OCI_MANIFEST,
    "config": CONFIG,
    "layers": [{**LAYER, "annotations": {"a": "b"}, "urls": ["https://example/"]}],
    "subject": {"digest": DIGEST},
}


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


def test_a_manifest_is_written_as_it_was_read() -> None:
    manifest = model.parse_manifest(encoded(MANIFEST))

    assert isinstance(manifest, model.Manifest)
    assert manifest.document() == MANIFEST


def test_an_index_keeps_platforms_and_unknown_members() -> None:
    platform = {"os": "freebsd", "architecture": "amd64", "variant": "v2", "os.version": "15.1", "os.features": ["x"]}
    entry = {**CONFIG, "mediaType": media_types.OCI_MANIFEST, "platform": platform, "artifactType": "text/x"}
    document = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [entry], "annotations": {"k": "v"}}
    index = model.parse_manifest(encoded(document), media_types.OCI_INDEX)

    assert isinstance(index, model.Index)
    assert index.manifests[0].platform == model.Platform("freebsd", "amd64", "v2", "15.1", ("x",))
    assert index.document() == document


@pytest.mark.parametrize(
    ("change", "announced", "why"),
    [
        ({"Manifests": []}, "", "index and manifest at once"),
        ({"layers": None}, "", "neither an index nor a manifest"),
        ({}, media_types.DOCKER_MANIFEST, "announced as"),
        ({"mediaType": media_types.OCI_INDEX}, "", "is not supported"),
        ({"mediaType": 3}, "", "mediaType must be a text"),
        ({"layers": {}}, "", "layers must be an array"),
        ({"layers": [LAYER] * 1025}, "", "at most 1024"),
        ({"layers": [3]}, "", "layers[0]: not a descriptor"),
        ({"layers": [{**LAYER, "size": True}]}, "", "size must be a number"),
        ({"layers": [{**LAYER, "size": -1}]}, "", "size must be a number"),
        ({"layers": [{**LAYER, "digest": "sha256:../../x"}]}, "", "not a digest"),
        ({"layers": [{**LAYER, "annotations": {"a": 1}}]}, "", "annotations must be texts"),
        ({"layers": [{**LAYER, "annotations": {"a": "x" * (1 << 20)}}]}, "", "annotations are longer"),
        ({"config": None}, "", "config: not a descriptor"),
    ],
)
def test_what_is_no_manifest_is_refused(change: dict[str, Any], announced: str, why: str) -> None:
    with pytest.raises(ImageError) as caught:
        model.parse_manifest(encoded(MANIFEST | change), announced)

    assert why in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b" " * (model.LARGEST + 1)])
def test_what_is_no_json_object_is_refused(content: bytes) -> None:
    with pytest.raises(Corrupt):
        model.parse_manifest(content)


def test_embedded_content_goes_with_its_digest() -> None:
    """An encrypted layer's descriptor must not carry the plain one's content, or tell where that is."""
    layer = {
        "mediaType": media_types.OCI_LAYER,
        "digest": digest.of(b"plain"),
        "size": 5,
        "data": "cGxhaW4=",
        "urls": ["x"],
    }
    read = model.parse_descriptor({**layer, "artifactType": "y"}, "layer")

    assert read.document() == {**layer, "artifactType": "y"}
    other = read.replace(digest=digest.of(b"other")).document()
    assert (other.get("data"), other.get("urls"), other["artifactType"]) == (None, None, "y")


def test_members_are_found_whatever_their_case() -> None:
    """FreeBSD's official images write `cmd`; an exact name wins."""
    content = encoded({"os": "freebsd", "rootfs": {"type": "layers", "diff_ids": [DIGEST]}, "config": {"cmd": ["sh"]}})
    config = model.parse_config(content, 1)

    assert config.run("Cmd") == ["sh"]
    assert config.run("Env") is None
    assert model.get({"cmd": 1, "Cmd": 2}, "Cmd") == 2
    assert model.get({"Cmd": None, "cmd": 1}, "Cmd") == 1


@pytest.mark.parametrize(
    "rootfs", [None, {}, {"type": "x"}, {"type": "layers"}, {"type": "layers", "diff_ids": [DIGEST, "x"]}]
)
def test_a_config_names_its_layers(rootfs: object) -> None:
    with pytest.raises(Corrupt, match="rootfs"):
        model.parse_config(encoded({"rootfs": rootfs}), 2)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([DIGEST, media_types.OCI_LAYER]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*MANIFEST, *LAYER]), inner),
    max_leaves=6,
)


@given(document=st.dictionaries(st.sampled_from([*MANIFEST, "manifests", "os.features", "rootfs"]), VALUES))
def test_every_document_is_read_or_refused(document: dict[str, Any]) -> None:
    for parse in (model.parse_manifest, lambda content: model.parse_config(content, 1)):
        try:
            parse(encoded(document))
        except ImageError:
            pass


def test_digests() -> None:
    empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    assert digest.of(b"") == empty
    digest.verify(b"", empty, "nothing")
    with pytest.raises(Corrupt, match="nothing: content has digest sha256:6e34"):
        digest.verify(b"\0", empty, "nothing")
    for wrong in (None, 3, "", "sha256:", empty.upper(), empty + "0", "md5:" + "0" * 32, "sha256:" + "/" * 64):
        with pytest.raises(ImageError, match="not a digest"):
            digest.parse(wrong)


def test_chain_ids_are_the_specification_s() -> None:
    """Two layers: the digest of the text of both, with a space between."""
    low, high = digest.of(b"low"), digest.of(b"high")

    assert digest.chain_ids([low, high]) == [low, digest.of(f"{low} {high}".encode())]
    assert digest.chain_ids([]) == []


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [
        (media_types.OCI_LAYER, ""),
        (media_types.OCI_LAYER + "+gzip", "gzip"),
        (media_types.OCI_LAYER + "+zstd+encrypted", "zstd"),
        (media_types.OCI_LAYER + "+encrypted", ""),
        (media_types.DOCKER_LAYER + ".gzip", "gzip"),
        (media_types.DOCKER_LAYER + "+gzip", None),
        (media_types.OCI_FOREIGN + "+gzip", "gzip"),
        (media_types.OCI_LAYER + "+bzip2", None),
        ("application/vnd.in-toto+json", None),
        ("", None),
    ],
)
def test_layers_are_known_by_their_types(media_type: str, compression: str | None) -> None:
    assert media_types.layer_compression(media_type) == compression
    assert media_types.is_layer(media_type) is (compression is not None)
    assert media_types.is_encrypted(media_type) is media_type.endswith("+encrypted")
