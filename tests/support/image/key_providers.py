"""Parameters that name a key provider called vault, among others."""

PARAMETERS = {"vault": (b"attributes",), "privkeys": (b"key",), "privkeys-passwords": (None,)}
