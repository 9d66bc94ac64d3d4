"""The verbs of `runjail image`, each a module as in `cli/verbs`."""

from __future__ import annotations

HELP = "work with images: pull, push, encrypt, unpack and more"
VERBS = {
    verb: f"{__name__}.{verb}"
    for verb in (
        *("pull", "push", "export", "ls", "inspect", "layerinfo", "tag", "rm", "encrypt", "decrypt", "unpack"),
        *("bundle", "prune", "login", "logout"),
    )
}
VERBS["import"] = f"{__name__}.import_"  # `import` is a word of Python's
