"""Options that more than one verb of images has. session.ImageSession reads most of them."""

from __future__ import annotations

from runjail.cli.args import FORMAT, flag, value, values

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
REMOTE = (AUTH, INSECURE, JOBS)  # how registries are reached
REPORT = (QUIET, FORMAT)
