"""What one module does, so that it is done in one way everywhere: programs, locks, numbers, systems."""

import ast
from collections.abc import Iterator

from tests.support.imports import imports, modules, without_type_checking
from tests.test_imports import room_of


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


def test_a_word_that_names_an_image_is_parsed_where_it_is_read() -> None:
    """Commands parse what their callers wrote, and pass it on taken apart: nobody below reads the same word again."""
    readers = {
        name
        for name, package, tree in modules()
        if {"runjail.image.reference", "runjail.image.reference.parse"} & set(imports(tree, package))
        and any(ast.unparse(node.func) in ("parse", "reference.parse", "references.parse") for node in calls(tree))
    }

    below = {name for name in readers if not name.startswith("runjail.cli.")}
    # The names of an archive, those that signatures and policies hold, and those that registries.conf makes of others
    assert below == {
        f"runjail.image.{name}" for name in ("content.docker_archive", "registry.places", "trust.identity")
    }
    assert len(readers) > len(below)


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield every call."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


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


def names_a_system(node: ast.AST) -> bool:
    """Whether a piece of code decides by the name of an operating system, or passes one on."""
    inside: list[ast.AST] = []
    if isinstance(node, ast.Compare):
        inside = [node.left, *node.comparators]
        inside += [part for each in inside for part in getattr(each, "elts", ())]
    elif isinstance(node, ast.keyword):
        inside = [node.value]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "startswith":
        inside = list(node.args)
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):
        inside = list(filter(None, node.value.keys))
    return any(isinstance(each, ast.Constant) and each.value in ("freebsd", "linux") for each in inside)


def test_systems_are_told_apart_by_their_facts() -> None:
    """Below `cli` only runjail.target knows what systems are called, and which this is. Each host knows its own."""
    askers = {
        name
        for name, _package, tree in modules()
        if room_of(name) != "cli"
        and not name.startswith(("runjail.host.freebsd", "runjail.host.linux"))
        and any(map(names_a_system, ast.walk(tree)))
    }

    assert askers == set()
