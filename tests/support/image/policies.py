"""policy.json as people write it: what is none, with its first problem, and what is one."""

from typing import Any

ACCEPT, REJECT = [{"type": "insecureAcceptAnything"}], [{"type": "reject"}]
GOOD: dict[str, Any] = {"type": "sigstoreSigned", "keyPath": "/k"}
GPG: dict[str, Any] = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}
INVALID: list[tuple[Any, str]] = [
    ([], "must be an object"),
    ({}, "default: is required"),
    ({"default": []}, "default: must be a list of one requirement or more"),
    ({"default": ACCEPT, "more": 1}, "more: is not known"),
    ({"default": ACCEPT, "transports": []}, "transports: must be an object"),
    ({"default": ACCEPT, "transports": {"dokcer": {}}}, "transports.dokcer: is not known"),
    ({"default": ACCEPT, "transports": {"docker": []}}, "transports.docker: must be an object"),
    ({"default": ACCEPT, "transports": {"docker": {"a": []}}}, 'transports.docker["a"]: must be a list of one'),
    ({"default": ACCEPT, "transports": {"oci": {"a": REJECT}}}, 'transports.oci["a"]: must be an absolute path'),
    ({"default": ACCEPT, "transports": {"oci": {"/a/../b": REJECT}}}, 'transports.oci["/a/../b"]: must be'),
    ({"default": ACCEPT, "transports": {"docker-archive": {"/a": REJECT}}}, 'transports.docker-archive["/a"]: has'),
    ({"default": [1]}, "default[0]: must be an object"),
    ({"default": [{}]}, "default[0].type: must be one of insecureAcceptAnything, reject"),
    ({"default": [{"type": "acceptSome"}]}, "default[0].type: must be one of"),
    ({"default": [{"type": ["reject"]}]}, "default[0].type: must be one of"),
    ({"default": [{"type": "reject", "why": ""}]}, "default[0].why: is not known"),
    ({"default": [{"type": "Reject"}]}, "default[0].type: must be one of"),
    ({"default": [{"type": "sigstoreSigned"}]}, "default[0]: must have exactly one of keyPath"),
    ({"default": [GOOD | {"keyData": "AAAA"}]}, "default[0]: must have exactly one of keyPath"),
    ({"default": [GOOD | {"keyPath": ""}]}, "default[0].keyPath: must be a text"),
    ({"default": [{"type": "sigstoreSigned", "keyPaths": []}]}, "default[0].keyPaths: must be a list of one text"),
    ({"default": [{"type": "sigstoreSigned", "keyPaths": [1]}]}, "default[0].keyPaths: must be a list of one text"),
    ({"default": [GOOD | {"signedIdentity": "x"}]}, "default[0].signedIdentity: must be an object"),
    ({"default": [GOOD | {"signedIdentity": {}}]}, "default[0].signedIdentity.type: must be one of matchExact"),
    (
        {"default": [GOOD | {"signedIdentity": {"type": "matchExact", "x": 1}}]},
        "default[0].signedIdentity.x: is not known",
    ),
    (
        {"default": [GOOD | {"signedIdentity": {"type": "exactReference", "dockerReference": "r.test/a"}}]},
        "default[0].signedIdentity.dockerReference: must be an image's name with a tag or a digest",
    ),
    (
        {"default": [GOOD | {"signedIdentity": {"type": "exactRepository", "dockerRepository": "R.TEST/A B"}}]},
        "default[0].signedIdentity.dockerRepository: must be a repository's name",
    ),
    (
        {"default": [GOOD | {"signedIdentity": {"type": "remapIdentity", "prefix": "r.test"}}]},
        "default[0].signedIdentity.signedPrefix: must be a text",
    ),
    ({"default": [{"type": "signedBy", "keyPath": "/k"}]}, "default[0].keyType: must be one of GPGKeys"),
    ({"default": [GPG | {"keyDatas": ["x"]}]}, "default[0].keyDatas: is not known"),
    ({"default": [{"type": "signedBaseLayer"}]}, "default[0].baseLayerIdentity: is required"),
    ({"default": [{"type": "sigstoreSigned", "keyData": "%"}]}, "default[0].keyData: must be base64"),
    ({"default": [GPG | {"keyPath": 1}]}, "default[0].keyPath: must be a text"),
    (
        {"default": [{"type": "signedBaseLayer", "baseLayerIdentity": {}}]},
        "default[0].baseLayerIdentity.type: must be one of matchExact",
    ),
    ({"default": None}, "default: must be a list of one requirement or more"),
    ({"default": ACCEPT, "transports": {"docker": None}}, "transports.docker: must be an object"),
    ({"default": ACCEPT, "transports": {"tarball": {"x": REJECT}}}, 'transports.tarball["x"]: has no scopes'),
]


def signed(**more: Any) -> list[dict[str, Any]]:
    """Return a requirement of a signature. more: further members."""
    return [GOOD | more]


# What is valid, for an image in an OCI layout in the directory DIR
VALID: list[Any] = [
    {"default": ACCEPT},
    {"default": REJECT},
    {"default": ACCEPT, "transports": {}},
    {"default": [*ACCEPT, *REJECT]},
    {"default": REJECT, "transports": {"oci": {"DIR": ACCEPT}}},
    {"default": REJECT, "transports": {"oci": {"DIR/layout": ACCEPT}}},
    {"default": REJECT, "transports": {"oci": {"DIR/lay": ACCEPT}}},
    {"default": ACCEPT, "transports": {"oci": {"DIR/layout": REJECT, "": ACCEPT}}},
    {"default": ACCEPT, "transports": {"oci": {"DIR/layout/": REJECT}}},
    {"default": ACCEPT, "transports": {"oci": {"": REJECT}}},
    {"default": ACCEPT, "transports": {"oci-archive": {"": REJECT}}},
    {"default": ACCEPT, "transports": {"docker": {"example.org:5000/a": REJECT, "A b": REJECT}}},
    {"default": ACCEPT, "transports": {"docker-daemon": {"": REJECT}}},
    {"default": signed()},
    {"default": ACCEPT, "transports": {"docker": {"": signed(signedIdentity={"type": "matchRepository"})}}},
    {
        "default": ACCEPT,
        "transports": {
            "docker": {
                "a": signed(signedIdentity={"type": "remapIdentity", "prefix": "a.b", "signedPrefix": "c.d/e"}),
                "b": signed(signedIdentity={"type": "exactRepository", "dockerRepository": "busybox"}),
                "b2": signed(signedIdentity={"type": "exactRepository", "dockerRepository": "busybox:1"}),
                "c": signed(signedIdentity={"type": "exactReference", "dockerReference": "busybox:1"}),
                "d": [GPG],
                "e": [{"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}}],
            }
        },
    },
    {"default": [{"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}}]},
]
