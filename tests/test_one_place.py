"""What one module does, so that it is done in one way everywhere: starting programs, locking files, reading numbers."""

import ast

from tests.test_imports import imports, modules, room_of, without_type_checking


def test_one_module_starts_programs() -> None:
    """Only host.programs starts programs, so failures read alike and the environment is always cleaned."""
    starters = {
        name
        for name, package, tree in modules()
        if {"subprocess", "_posixsubprocess"} & set(imports(without_type_checking(tree), package))
        or any(isinstance(node, ast.Attribute) and node.attr.startswith("posix_spawn") for node in ast.walk(tree))
    }

    assert starters <= {"runjail.host.programs"}


def test_one_module_locks_files() -> None:
    """So every lock waits, gives up and names its kind in the same way."""
    takers = {
        name
        for name, _package, tree in modules()
        if any(isinstance(node, ast.Attribute) and node.attr in ("flock", "lockf") for node in ast.walk(tree))
    }

    assert takers == {"runjail.locks"}


# Formats that have numbers of their own; `host` reads what the kernel and the system's programs write
OWN_NUMBERS = {
    *("runjail.jsonio", "runjail.sizes", "runjail.cli.modules", "runjail.container.kill", "runjail.plan.jail_name"),
    *("runjail.image.bundle.users", "runjail.image.crypto.pkcs11_uri", "runjail.image.layers.pax"),
    *("runjail.image.platform", "runjail.image.registry.retry", "runjail.image.registry.sink", "runjail.spec.parse"),
}


def test_one_module_reads_numbers() -> None:
    """A number in a text is read within bounds by runjail.sizes; the list of others only becomes shorter."""
    readers = {
        name
        for name, _package, tree in modules()
        if any(isinstance(node, ast.Attribute) and node.attr in ("isdigit", "isdecimal") for node in ast.walk(tree))
    }

    assert {name for name in readers if room_of(name).partition(".")[0] != "host"} <= OWN_NUMBERS
