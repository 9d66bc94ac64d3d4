"""The verbs of `runjail image`, in the form of `table`."""

from __future__ import annotations

_FORM = ("format", "f", "table|json", "form of the output")
_QUIET = ("quiet", "q", "", "no progress; only names")
_KEY = ("key", "", "FILE[:pass=…|:file=…|:fd=N]...", "private key of an encrypted image; also provider:NAME")
_PLATFORM = ("platform", "", "OS/ARCH...", "for this platform (default: what this machine runs best)")
_ALL = ("all-platforms", "", "", "for all platforms of the image")
_LAYER = ("layer", "", "N...", "only this layer: 0 is the lowest, -1 the highest")
_RECIPIENT = (
    "recipient",
    "",
    "SCHEME:WHO...",
    "who can decrypt: jwe:FILE, pkcs7:FILE, pgp:MAIL, pkcs11:FILE, provider:NAME",
)
_AUTH = ("authfile", "", "FILE", "credentials for registries")
_INSECURE = ("insecure", "", "", "also speak http, or TLS without verification")
_JOBS = ("jobs", "j", "N", "layers at a time (default: 3)")
_COMPRESSION = (
    ("compression", "", "gzip|zstd|none", "compress layers in this way"),
    ("level", "", "N", "how hard to compress: gzip 1 to 9, zstd 1 to 22"),
)

VERBS = {
    "pull": (
        "runjail.cli.image.transfer:pull",
        ("REF", "[NAME]"),
        (_PLATFORM, _ALL, _AUTH, _INSECURE, _JOBS, _QUIET, _FORM),
        "fetch an image from a registry",
    ),
    "push": (
        "runjail.cli.image.transfer:push",
        ("SRC", "[DST]"),
        (_PLATFORM, _ALL, *_COMPRESSION, _AUTH, _INSECURE, _JOBS, _QUIET, _FORM),
        "store an image in a registry",
    ),
    "import": (
        "runjail.cli.image.transfer:import_",
        ("SRC", "[NAME]"),
        (
            *(_PLATFORM, _ALL, _JOBS, _QUIET, _FORM),
            ("cmd", "", "WORD...", "with rootfs: the command that the image runs, word by word"),
            ("env", "e", "NAME=VALUE...", "with rootfs: the environment of the image"),
            *_COMPRESSION,
        ),
        "take one from oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:TAG]; make one of rootfs:PATH",
    ),
    "export": (
        "runjail.cli.image.transfer:export",
        ("SRC", "DST"),
        (_PLATFORM, _ALL, *_COMPRESSION, _QUIET, _FORM),
        "write an image to oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:TAG]",
    ),
    "ls": ("runjail.cli.image.reports:list_", (), (_FORM, ("quiet", "q", "", "only names")), "list images"),
    "inspect": (
        "runjail.cli.image.reports:inspect",
        ("SRC",),
        (_PLATFORM, _AUTH, _INSECURE, _FORM),
        "show layers, sizes, encryption, recipients and datasets",
    ),
    "layerinfo": (
        "runjail.cli.image.reports:layerinfo",
        ("SRC",),
        (_LAYER, _PLATFORM, _AUTH, _INSECURE, ("n", "n", "", ""), _FORM),
        "show how each layer is encrypted, and to whom",
    ),
    "tag": ("runjail.cli.image.manage:tag", ("SRC", "NAME"), (), "give an image one more name"),
    "rm": (
        "runjail.cli.image.manage:remove",
        ("NAME", "MORE..."),
        (("force", "f", "", "an unknown name is no error"),),
        "take a name away",
    ),
    "encrypt": (
        "runjail.cli.image.encrypt:encrypt",
        ("SRC", "[DST]"),
        (_RECIPIENT, _KEY, _LAYER, _PLATFORM, _ALL, _QUIET, _FORM),
        "encrypt layers, or with --key add recipients to encrypted ones",
    ),
    "decrypt": (
        "runjail.cli.image.encrypt:decrypt",
        ("SRC", "[DST]"),
        (_KEY, _LAYER, _PLATFORM, _ALL, _QUIET, _FORM),
        "decrypt layers",
    ),
    "unpack": (
        "runjail.cli.image.manage:unpack",
        ("SRC",),
        (_KEY, _PLATFORM, _AUTH, _INSECURE, _JOBS, _QUIET, _FORM),
        "unpack the layers into the store and print the chainID and where it is",
    ),
    "bundle": (
        "runjail.cli.image.manage:bundle",
        ("SRC", "DIR", "CMD..."),
        (
            _KEY,
            _PLATFORM,
            _AUTH,
            _INSECURE,
            _JOBS,
            _QUIET,
            ("storage-opt", "", "size=BYTES...", "limit of what the container may write"),
        ),
        "make a bundle: config.json and a root file system of its own",
    ),
    "prune": (
        "runjail.cli.image.manage:prune",
        (),
        (("all", "a", "", "also layers and blobs of images that no container uses"), _FORM),
        "remove what is half-made, unused or left behind",
    ),
}
