"""Descriptors, indexes, manifests and image configs, as records (image-spec).

Go matches the keys of JSON objects without regard to case, and FreeBSD's official images depend on it (`"cmd"`), so
reading does the same. A null is as good as an absent key. Unknown keys are kept where a document is written again.
"""

from __future__ import annotations

from runjail import jsonio
from runjail.errors import Corrupt, ImageError
from runjail.image import digest as digests
from runjail.image import media_types
from runjail.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

LARGEST = 8 << 20  # bytes of a manifest, index or config: registries take 4 MiB and more
MOST_LAYERS = 1024
MOST_ANNOTATIONS = 1 << 20  # bytes of one descriptor's annotations, wrapped keys included
REF_NAME = "org.opencontainers.image.ref.name"
_NO_MAPPING: Mapping[str, str] = {}


class Platform(Record):
    """For which system an image is: Go's names, e.g. freebsd and amd64."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()


class Descriptor(Record):
    """What content is called, how long it is, and what is said about it. size: bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = _NO_MAPPING
    platform: Platform | None = None
    data: Mapping[str, Any] = {}  # the whole object as it was read, for what we do not know

    @property
    def encrypted(self) -> bool:
        """Whether the content is an encrypted layer."""
        return media_types.is_encrypted(self.media_type)

    def document(self) -> dict[str, Any]:
        """Return the JSON object, unknown keys included."""
        known = {"mediatype", "digest", "size", "annotations", "platform"}
        if get(self.data, "digest") != self.digest:
            known |= {"data", "urls"}  # other content, and where that is: the plain layer of an encrypted one
        found: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        if self.platform:
            found["platform"] = platform_document(self.platform)
        return found | {key: value for key, value in self.data.items() if key.lower() not in known}


class Index(Record):
    """An index or docker's manifest list."""

    manifests: tuple[Descriptor, ...]
    media_type: str = media_types.OCI_INDEX
    annotations: Mapping[str, str] = _NO_MAPPING
    data: Mapping[str, Any] = {}

    def document(self) -> dict[str, Any]:
        """Return the JSON object, unknown keys included."""
        entries = [entry.document() for entry in self.manifests]
        return _written(self, {"manifests": entries})


class Manifest(Record):
    """An image manifest: its config and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = media_types.OCI_MANIFEST
    annotations: Mapping[str, str] = _NO_MAPPING
    data: Mapping[str, Any] = {}

    @property
    def encrypted(self) -> bool:
        """Whether any layer is encrypted."""
        return any(layer.encrypted for layer in self.layers)

    def document(self) -> dict[str, Any]:
        """Return the JSON object, unknown keys included."""
        layers = [layer.document() for layer in self.layers]
        return _written(self, {"config": self.config.document(), "layers": layers})


class ImageConfig(Record):
    """An image config: the platform, the layers' diffIDs and what to run. data: the whole object, as it was read."""

    platform: Platform
    diff_ids: tuple[str, ...]
    data: Mapping[str, Any] = {}

    def run(self, name: str) -> Any:
        """Return a member of `config`, e.g. "Cmd", whatever the case of its name; None when it is absent or null."""
        config = get(self.data, "config")
        return get(config, name) if isinstance(config, dict) else None


def _written(record: Index | Manifest, body: dict[str, Any]) -> dict[str, Any]:
    known = {"schemaversion", "mediatype", "manifests", "config", "layers", "annotations"}
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": record.media_type, **body}
    if record.annotations:
        document["annotations"] = dict(record.annotations)
    return document | {key: value for key, value in record.data.items() if key.lower() not in known}


def encode(document: dict[str, Any]) -> bytes:
    """Return the bytes of a document that we write: compact, so that equal documents have equal digests."""
    import json  # who only reads pays nothing for it

    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def get(document: Mapping[str, Any], name: str) -> Any:
    """Return a member by its name, the exact one first, then one that differs only in case; None without."""
    if document.get(name) is not None:
        return document[name]
    like = (value for key, value in document.items() if key.lower() == name.lower() and value is not None)
    return next(like, None)


def parse_document(content: bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object. Raises Corrupt for anything else."""
    if len(content) > LARGEST:
        raise Corrupt(f"{what}: longer than {LARGEST >> 20} MiB")
    try:
        document = jsonio.loads(content.decode())
        if b"\\u" in content:
            encode(document)  # half a surrogate pair is no text that could be written again
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{what}: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Corrupt(f"{what}: not a JSON object")
    return document


def parse_manifest(content: bytes, media_type: str = "", what: str = "manifest") -> Index | Manifest:
    """Parse an index or a manifest. media_type: as announced, "" when nobody did.

    Raises Corrupt for what is neither, or both, or of another type than announced.
    """
    document = parse_document(content, what)
    declared = _text(document, "mediaType", what)
    if declared and media_type and declared != media_type:
        raise Corrupt(f"{what}: announced as {media_type}, says that it is {declared}")
    if get(document, "schemaVersion") == 1:
        raise schema_1(what)
    many, layers = get(document, "manifests"), get(document, "layers")
    if (many is None) == (layers is None):
        raise Corrupt(
            f"{what}: neither an index nor a manifest" if many is None else f"{what}: index and manifest at once"
        )
    kind = declared or media_type or (media_types.OCI_INDEX if layers is None else media_types.OCI_MANIFEST)
    if kind not in (media_types.INDEXES if layers is None else media_types.MANIFESTS):
        raise ImageError(f"{what}: media type {kind} is not supported")
    annotations = parse_annotations(document, what)
    if layers is None:
        return Index(parse_list(many, "manifests", what), kind, annotations, document)
    config = parse_descriptor(get(document, "config"), f"{what}: config")
    return Manifest(config, parse_list(layers, "layers", what), kind, annotations, document)


def schema_1(what: str) -> ImageError:
    """Return what is said to a manifest as registries had them before 2016."""
    hint = "push it again with a tool of today, or convert it: skopeo copy --format oci"
    return ImageError(f"{what}: docker's schema 1 is not supported: it does not say what its layers hold", hint)


def parse_list(value: object, name: str, what: str) -> tuple[Descriptor, ...]:
    """Parse an array of descriptors. Raises Corrupt."""
    if not isinstance(value, list) or len(value) > MOST_LAYERS:
        raise Corrupt(f"{what}: {name} must be an array of at most {MOST_LAYERS}")
    return tuple(parse_descriptor(entry, f"{what}: {name}[{number}]") for number, entry in enumerate(value))


def parse_descriptor(value: object, what: str) -> Descriptor:
    """Parse a descriptor. Raises Corrupt."""
    if not isinstance(value, dict):
        raise Corrupt(f"{what}: not a descriptor")
    size = get(value, "size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
        raise Corrupt(f"{what}: size must be a number of bytes")
    digest = get(value, "digest")
    try:
        digests.parse(digest)
    except ImageError as error:
        raise Corrupt(f"{what}: {error}") from None
    platform = get(value, "platform")
    found = parse_platform(platform, f"{what}: platform") if isinstance(platform, dict) else None
    return Descriptor(_text(value, "mediaType", what), digest, size, parse_annotations(value, what), found, value)


def parse_annotations(document: dict[str, Any], what: str) -> dict[str, str]:
    """Return the annotations of a document. Raises Corrupt when they are not text, or too long."""
    found = get(document, "annotations") or {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Corrupt(f"{what}: annotations must be texts by name")
    if sum(len(key) + len(value) for key, value in found.items()) > MOST_ANNOTATIONS:
        raise Corrupt(f"{what}: annotations are longer than {MOST_ANNOTATIONS >> 20} MiB")
    return found


def parse_platform(document: dict[str, Any], what: str) -> Platform:
    """Read os, architecture and the rest of an object that has them: a platform, or an image config."""
    system, architecture = _text(document, "os", what), _text(document, "architecture", what)
    features = get(document, "os.features") or []
    if not isinstance(features, list) or not all(isinstance(word, str) for word in features):
        raise Corrupt(f"{what}: os.features must be an array of texts")
    variant, version = _text(document, "variant", what), _text(document, "os.version", what)
    return Platform(system, architecture, variant, version, tuple(features))


def platform_document(platform: Platform) -> dict[str, Any]:
    """Return the JSON object of a platform."""
    names = {"os": "os", "architecture": "architecture", "variant": "variant", "os_version": "os.version"}
    document: dict[str, Any] = {key: getattr(platform, name) for name, key in names.items() if getattr(platform, name)}
    return document | ({"os.features": list(platform.os_features)} if platform.os_features else {})


def parse_config(content: bytes, layers: int, what: str = "image config") -> ImageConfig:
    """Parse an image config that has to name the diffIDs of this many layers. Raises Corrupt."""
    document = parse_document(content, what)
    rootfs = get(document, "rootfs")
    if not isinstance(rootfs, dict) or get(rootfs, "type") != "layers":
        raise Corrupt(f"{what}: rootfs.type must be layers")
    diff_ids = get(rootfs, "diff_ids") or []
    if not isinstance(diff_ids, list) or len(diff_ids) != layers:
        raise Corrupt(f"{what}: rootfs.diff_ids must be {layers}, one for each layer")
    try:
        for diff_id in diff_ids:
            digests.parse(diff_id)
    except ImageError as error:
        raise Corrupt(f"{what}: rootfs.diff_ids: {error}") from None
    return ImageConfig(parse_platform(document, what), tuple(diff_ids), document)


def _text(document: dict[str, Any], name: str, what: str) -> str:
    value = get(document, name)
    if value is not None and not isinstance(value, str):
        raise Corrupt(f"{what}: {name} must be a text")
    return value or ""
