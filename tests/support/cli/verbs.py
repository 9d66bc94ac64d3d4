"""The modules of all verbs, for tests that compare them with something."""

from importlib import import_module
from types import ModuleType

from runjail.cli.verbs import GROUPS, VERBS


def modules() -> dict[str, ModuleType]:
    """Return every verb's module by the words that call it: `image pull`."""
    found = {verb: import_module(module) for verb, module in VERBS.items()}
    for group, package in GROUPS.items():
        found |= {f"{group} {verb}": import_module(name) for verb, name in import_module(package).VERBS.items()}
    return found
