"""Registries (distribution-spec): pull and push of manifests and blobs.

source  sink            what images are read from and written to
    client              one registry: its mirrors in their order, then itself
    places              which these are: runjail.toml first, then containers' registries.conf (registries_conf)
    referrers           the list of what refers to a manifest, where a registry keeps none
   endpoint             one server: its scheme, redirects, authorization, retries, error texts
auth  connections       who we are, without I/O · the only module that knows urllib3, whose pools it adapts
        urls  watch     the one parser of what servers name · an end for every wait
"""
