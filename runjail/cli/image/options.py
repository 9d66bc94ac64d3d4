"""Options that more than one verb of images has. session.ImageSession reads most of them."""

from __future__ import annotations

from runjail.cli.args import FORMAT, Args, flag, number, value, values
from runjail.errors import UsageError
from runjail.sizes import read_number, read_size

LEVELS = {"gzip": 9, "zstd": 22, "none": 0}  # of compression, the highest

QUIET = flag("quiet", "q", "no progress; only names")
KEY = values("key", "", "FILE[:pass=…|:file=…|:fd=N]", "private key of an encrypted image; also provider:NAME")
PLATFORM = values("platform", "", "OS/ARCH", "for this platform (default: what this machine runs best)")
ALL = flag("all-platforms", "", "for all platforms of the image")
LAYER = values("layer", "", "N", "only this layer: 0 is the lowest, -1 the highest")
AUTH = value("authfile", "", "FILE", "credentials for registries")
INSECURE = flag("insecure", "", "also speak http, or TLS without verification")
JOBS = value("jobs", "j", "N", "layers at a time (default: 3)")
COMPRESSION = (
    value("compression", "", "gzip|zstd|none", "compress layers in this way"),
    value("level", "", "N", "how hard to compress: gzip 1 to 9, zstd 1 to 22"),
)
STORAGE = values("storage-opt", "", "size=BYTES", "limit of what the container may write")
SELECTED = (PLATFORM, ALL)  # which images of an index
POLICY = value("signature-policy", "", "FILE", "policy.json of containers: which images are taken")
REMOTE = (AUTH, INSECURE, JOBS, POLICY)  # how registries are reached, and what is taken from them
REPORT = (QUIET, FORMAT)


def storage_size(args: Args) -> int:
    """Return the bytes of --storage-opt size=, 0 without it."""
    found = 0
    for option in args.many("storage-opt"):
        name, _, text = option.partition("=")
        size = read_size(text, words=True)
        if name != "size" or size is None:
            raise UsageError(f"--storage-opt: not size=BYTES, with k, m, g or t: {option[:80]!r}")
        found = size
    return found


def layers(args: Args) -> list[int]:
    """Return the numbers of --layer."""
    found = []
    for text in args.many("layer"):
        layer = read_number(text, 9999, -9999)
        if layer is None:
            raise UsageError(f"--layer: not a number: {text[:40]!r}")
        found.append(layer)
    return found


def compression(args: Args) -> tuple[str, int | None]:
    """Return --compression, "" when layers stay as they are or the verb does not have it, and --level."""
    kind, level = (args.text(name) if args.takes(name) else "" for name in ("compression", "level"))
    if kind and kind not in LEVELS:
        raise UsageError(f"--compression: not gzip, zstd or none: {kind[:40]!r}")
    if level and not LEVELS.get(kind):
        raise UsageError("--level needs --compression gzip or zstd")
    return kind, number(level, "--level", LEVELS[kind], 1) if level else None
